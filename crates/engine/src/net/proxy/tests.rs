//! Through scripted proxies that serve, refuse and misbehave (RFC 1928, 1929, 9110), and never past them.

use std::net::{Ipv4Addr, SocketAddr};

use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use super::super::NetworkOptions;
use super::*;

/// A proxy that reads so many bytes, says something, and so on; then it closes. Gives all it was told.
async fn scripted(script: Vec<(usize, Vec<u8>)>) -> (SocketAddr, JoinHandle<Vec<u8>>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let addr = listener.local_addr().unwrap();
    let heard = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.set_nodelay(true).unwrap();
        let mut heard = Vec::new();
        for (length, answer) in script {
            let mut bytes = vec![0; length];
            if stream.read_exact(&mut bytes).await.is_err() {
                break;
            }
            heard.extend(bytes);
            for byte in answer {
                // A byte at a time, as a slow proxy might.
                if stream.write_all(&[byte]).await.is_err() {
                    break; // the other side has heard enough
                }
                tokio::task::yield_now().await;
            }
        }
        heard
    });
    (addr, heard)
}

fn network(url: &str) -> Network {
    Network::new(NetworkOptions::default().proxy(url.parse().unwrap()))
}

async fn connect(url: &str, host: &str) -> io::Result<Held<TcpStream>> {
    let network = network(url);
    network.connect_host(host, 80, Purpose::Http).await
}

/// What a connection by such a proxy fails with.
async fn failure(scheme: &str, script: Vec<(usize, Vec<u8>)>) -> String {
    let (addr, _heard) = scripted(script).await;
    let error = connect(&format!("{scheme}user:secret@{addr}"), "host.example").await.unwrap_err();
    let text = error.to_string();
    assert!(text.contains(&addr.to_string()) && !text.contains("secret"), "{text}");
    text
}

const ASK: usize = 4 + 1 + 12 + 2;
const LOGIN: usize = 3 + 4 + 6;

#[tokio::test]
async fn by_socks_with_a_password_and_a_name() {
    let granted = [&[5, 0, 0, 1, 127, 0, 0, 1, 0, 9][..], b"hello"].concat();
    let script = vec![(4, vec![5, 2]), (LOGIN, vec![1, 0]), (ASK, granted)];
    let (addr, heard) = scripted(script).await;
    let mut stream =
        connect(&format!("socks5://user:secret@{addr}"), "host.example").await.unwrap();
    let mut behind = String::new();
    stream.read_to_string(&mut behind).await.unwrap();
    assert_eq!(behind, "hello", "what the target says first is all there");
    let heard = heard.await.unwrap();
    assert!(heard.ends_with(b"\x03\x0chost.example\0\x50"), "{heard:?}");
}

#[tokio::test]
async fn by_http_with_a_password_and_a_name() {
    let request = "CONNECT host.example:80 HTTP/1.1\r\nHost: host.example:80\r\n\
                   Proxy-Authorization: Basic dXNlcjpzZWNyZXQ=\r\n\r\n";
    let answer = b"HTTP/1.0 200 Connection established\r\n\r\nhello".to_vec();
    let (addr, heard) = scripted(vec![(request.len(), answer)]).await;
    let mut stream = connect(&format!("http://user:secret@{addr}"), "host.example").await.unwrap();
    let mut behind = String::new();
    stream.read_to_string(&mut behind).await.unwrap();
    assert_eq!((behind.as_str(), heard.await.unwrap()), ("hello", request.as_bytes().to_vec()));
}

#[tokio::test]
async fn proxies_that_misbehave_are_named_and_say_why() {
    let socks = "socks5://";
    let after_login = |answer: Vec<u8>| vec![(4, vec![5, 2]), (LOGIN, vec![1, 0]), (ASK, answer)];
    for (script, says) in [
        (vec![(4, b"HTTP/1.1 400".to_vec())], "does not speak SOCKS5"),
        (vec![(4, vec![4, 0])], "does not speak SOCKS5"),
        (vec![(4, vec![5, 0xff])], "neither a password nor"),
        (vec![(4, vec![5, 2]), (LOGIN, vec![1, 1])], "refused the user or the password"),
        (vec![], "closed the connection before"),
        (vec![(4, vec![5])], "closed the connection before"),
        (after_login(vec![5, 2, 0, 1, 0]), "its rules don't allow"),
        (after_login(vec![5, 4, 0, 1, 0]), "the host can't be reached"),
        (after_login(vec![5, 0, 0, 7, 0]), "unknown kind 7"),
        (after_login(vec![5, 0, 0, 3, 255, 1, 2]), "closed the connection before"),
    ] {
        let text = failure(socks, script).await;
        assert!(text.contains(says), "{text}");
    }
    for (answer, says) in [
        (&b"SSH-2.0-OpenSSH\r\n"[..], "does not speak HTTP"),
        (b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n", "refused the user or the password"),
        (b"HTTP/1.1 403 Filtered\r\n\r\n", "don't allow CONNECT"),
        (b"HTTP/1.1 200 OK\r\n", "closed the connection before"),
    ] {
        let text = failure("http://", vec![(50, answer.to_vec())]).await;
        assert!(text.contains(says), "{text}");
    }
}

#[tokio::test]
async fn a_refusal_by_the_target_is_told_from_trouble_with_the_proxy() {
    let refused = vec![(3, vec![5, 0]), (10, vec![5, 5, 0, 1, 0])];
    let (addr, _heard) = scripted(refused).await;
    let network = network(&format!("socks5://{addr}"));
    let peer = "192.0.2.7:6881".parse().unwrap();
    let error = network.connect(peer, Purpose::Peers).await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
    assert_eq!(network.proxy_trouble(), None, "it did what it was to do");
    // And then nobody is there: an error, and no way around it.
    let error = network.connect(peer, Purpose::Peers).await.unwrap_err();
    assert!(error.to_string().contains("nothing is sent past it"), "{error}");
    assert_eq!(network.proxy_trouble(), Some(error.to_string()));
}

/// Who would use it rests, so it is tried by itself.
#[tokio::test]
async fn a_proxy_that_was_lost_is_found_again_without_anybody_asking() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    drop(listener);
    let network = network(&format!("socks5://{addr}"));
    let watched = network.clone();
    let proxy = network.proxy().unwrap().clone();
    let back = tokio::spawn(async move { watched.proxy_back(&proxy).await });
    for _ in 0..LOST_AFTER {
        network.connect("192.0.2.7:6881".parse().unwrap(), Purpose::Peers).await.unwrap_err();
    }
    network.proxy_lost().await;
    assert!(!back.is_finished());
    let _listener = TcpListener::bind(addr).await.unwrap();
    tokio::time::timeout(Duration::from_secs(30), back).await.expect("it is tried").unwrap();
}

#[test]
fn a_proxy_that_is_busy_now_and_then_is_not_lost() {
    let after = |tries: &[(bool, bool)]| {
        let step =
            |health: Health, (reached, is_probe): &(bool, bool)| health.after(*reached, *is_probe);
        tries.iter().fold(Health::Well, step)
    };
    let (good, bad, probe) = ((true, false), (false, false), (false, true));
    assert_eq!(after(&[bad]), Health::Failing(1));
    assert_eq!(after(&[bad, bad, good, bad, bad]), Health::Failing(2));
    assert_eq!(after(&[bad, bad, bad]), Health::Lost);
    assert_eq!(after(&[bad, probe]), Health::Lost, "it is not only busy");
    assert_eq!(after(&[bad, probe, good]), Health::Well);
    assert_eq!(after(&[probe]), Health::Failing(1), "nothing was wrong before");
}

#[tokio::test]
async fn nothing_goes_past_a_proxy() {
    let network = network("socks5://127.0.0.1:9");
    let remote = "127.0.0.1:53".parse().unwrap();
    let any = "127.0.0.1:0".parse().unwrap();
    assert!(network.udp_to(remote, Purpose::Tracker).await.is_err());
    assert!(network.udp(any, Purpose::Datagrams).is_err());
    assert!(
        network
            .multicast("239.192.152.143:6771".parse().unwrap(), Purpose::LocalDiscovery)
            .is_err()
    );
    assert!(network.listen(0, Purpose::Peers).is_err());
    let error = network.resolve_authority("host.example:80").await.unwrap_err();
    assert!(error.to_string().contains("looks names up"), "{error}");
    assert_eq!(network.resolve_authority("192.0.2.1:80").await.unwrap().len(), 1);
    assert_eq!(network.sockets(), []);
}

#[test]
fn urls() {
    let parsed = |text: &str| text.parse::<Proxy>().map(|proxy| proxy.to_string());
    assert_eq!(parsed("socks5://127.0.0.1:9050").unwrap(), "socks5://127.0.0.1:9050");
    assert_eq!(
        parsed("socks5h://user:p%40ss@proxy.example").unwrap(),
        "socks5://proxy.example:1080"
    );
    assert_eq!(parsed("http://u:p@[2001:db8::1]:3128/").unwrap(), "http://[2001:db8::1]:3128");
    assert_eq!(parsed("http://proxy.example:80").unwrap(), "http://proxy.example:80");
    assert_eq!(parsed("http://proxy.example").unwrap(), "http://proxy.example:8080");
    assert_eq!(parsed("https://x"), Err(ProxyUrlError::Kind));
    assert_eq!(parsed("socks4://x:1"), Err(ProxyUrlError::Kind));
    assert_eq!(parsed("127.0.0.1:1080"), Err(ProxyUrlError::NotAUrl));
    assert_eq!(parsed("socks5://:secret@x:1"), Err(ProxyUrlError::Credentials));
    let long = format!("socks5://u:{}@x:1", "a".repeat(256));
    assert_eq!(parsed(&long), Err(ProxyUrlError::Credentials));
    let proxy: Proxy = "socks5://user:secret@x:1".parse().unwrap();
    assert!(!format!("{proxy:?}{proxy}").contains("secret"));
    let exact: Proxy = "socks5://user:p%40ss@x:1".parse().unwrap();
    assert_eq!(exact.credentials, Credentials::new("user", "p@ss"));
}

#[tokio::test]
async fn datagrams_are_relayed_until_the_proxy_ends_that() {
    let udp = tokio::net::UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let port = udp.local_addr().unwrap().port().to_be_bytes();
    // It names an address that is not its own: nothing is sent there.
    let granted = [&[5, 0, 0, 1, 192, 0, 2, 1][..], &port].concat();
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let addr = listener.local_addr().unwrap();
    let serving = tokio::spawn(async move {
        let (mut control, _) = listener.accept().await.unwrap();
        control.read_exact(&mut [0; 3]).await.unwrap();
        control.write_all(&[5, 0]).await.unwrap();
        let mut asked = [0; 10];
        control.read_exact(&mut asked).await.unwrap();
        assert_eq!(asked, [5, 3, 0, 1, 0, 0, 0, 0, 0, 0]);
        control.write_all(&granted).await.unwrap();
        let mut buffer = [0; 100];
        let (length, from) = udp.recv_from(&mut buffer).await.unwrap();
        assert_eq!(buffer[..length], *b"\0\0\0\x03\x0chost.example\0\x50question");
        udp.send_to(b"\0\0\x01\x01\xc0\0\x02\x01\0\x50a fragment", from).await.unwrap();
        udp.send_to(b"\0\0\0\x01\xc0\0\x02\x01\0\x50answer", from).await.unwrap();
        // The control connection ends with this task.
    });
    let network = network(&format!("socks5://{addr}"));
    let proxy = network.proxy().unwrap();
    let target = ProxyTarget::new("host.example", 80).unwrap();
    let relay = network.relay(proxy, &target, Purpose::Tracker).await.unwrap();
    relay.send(b"question").await.unwrap();
    let mut buffer = [0; 100];
    serving.await.unwrap();
    // What came may be read first, or not at all; then there is no way any more.
    let error = loop {
        match relay.recv(&mut buffer).await {
            Ok((length, from)) => {
                assert_eq!(
                    (&buffer[..length], from),
                    (&b"answer"[..], "192.0.2.1:80".parse().unwrap())
                );
            }
            Err(error) => break error,
        }
    };
    assert!(error.to_string().contains("ended the relay"), "{error}");
    // And a proxy by HTTP has none to offer.
    let network = self::network("http://127.0.0.1:1");
    let proxy = network.proxy().unwrap();
    let refused = network.relay(proxy, &target, Purpose::Tracker).await.err().unwrap();
    assert!(refused.to_string().contains("datagrams can't go through the proxy"), "{refused}");
}
