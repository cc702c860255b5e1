//! The resolver against a scripted server on loopback.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use tokio::net::{TcpListener, UdpSocket};

use super::*;
use crate::net::NetworkOptions;

/// What the server says to a question: flags, and the records' part of the message.
type Says = Vec<(u16, u16, Vec<u8>)>;

/// Answers the n-th question for a name and type with the n-th of what it was told to say, over TCP with
/// the last.
struct Script {
    addr: SocketAddr,
    asked: Arc<Mutex<Vec<(String, u16)>>>,
}

impl Script {
    async fn start(says: HashMap<(&'static str, u16), Says>) -> Self {
        let udp = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let addr = udp.local_addr().unwrap();
        let tcp = TcpListener::bind(addr).await.unwrap();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (seen, says) = (Arc::clone(&asked), Arc::new(says));
        let over_tcp = Arc::clone(&says);
        tokio::spawn(async move {
            let mut buffer = [0; 600];
            loop {
                let (length, from) = udp.recv_from(&mut buffer).await.unwrap();
                let (name, number) = question(&buffer[..length]);
                let so_far = {
                    let mut seen = seen.lock().unwrap();
                    let same = |it: &&(String, u16)| it.0 == name && it.1 == number;
                    let so_far = seen.iter().filter(same).count();
                    seen.push((name.clone(), number));
                    so_far
                };
                let mut stray = buffer[..length].to_vec();
                stray[0] ^= 1;
                udp.send_to(&stray, from).await.unwrap(); // an answer to nobody comes first
                let Some(lines) = says.get(&(name.as_str(), number)) else { continue };
                let line = &lines[so_far.min(lines.len() - 1)];
                udp.send_to(&reply(&buffer[..length], line), from).await.unwrap();
            }
        });
        tokio::spawn(async move {
            loop {
                let (mut stream, _) = tcp.accept().await.unwrap();
                let length = usize::from(stream.read_u16().await.unwrap());
                let mut query = vec![0; length];
                stream.read_exact(&mut query).await.unwrap();
                let (name, number) = question(&query);
                let line = over_tcp[&(name.as_str(), number)].last().unwrap();
                let reply = reply(&query, line);
                stream.write_u16(reply.len() as u16).await.unwrap();
                stream.write_all(&reply).await.unwrap();
            }
        });
        Self { addr, asked }
    }

    fn network(&self, others: &[SocketAddr]) -> Network {
        let servers = others.iter().copied().chain([self.addr]);
        let options = NetworkOptions::default().name_servers(servers);
        Network::new(options.bind(IpAddr::from([127, 0, 0, 1]).into()))
    }
}

fn question(query: &[u8]) -> (String, u16) {
    let (mut labels, mut at) = (Vec::new(), 12);
    while query[at] != 0 {
        let end = at + 1 + usize::from(query[at]);
        labels.push(String::from_utf8(query[at + 1..end].to_vec()).unwrap());
        at = end;
    }
    (labels.join("."), u16::from_be_bytes([query[at + 1], query[at + 2]]))
}

fn reply(query: &[u8], (flags, count, records): &(u16, u16, Vec<u8>)) -> Vec<u8> {
    let mut reply = query.to_vec();
    reply[2..4].copy_from_slice(&flags.to_be_bytes());
    reply[6..8].copy_from_slice(&count.to_be_bytes());
    reply.extend(records);
    reply
}

/// One record of the name that was asked for.
fn record(number: u16, data: &[u8]) -> Vec<u8> {
    let length = u16::try_from(data.len()).unwrap().to_be_bytes();
    [&[0xc0, 12][..], &number.to_be_bytes(), &[0, 1, 0, 0, 0, 9], &length, data].concat()
}

const GOOD: u16 = 0x8180;
const NO_SUCH_NAME: u16 = 0x8183;
const SERVER_FAILED: u16 = 0x8182;
const TRUNCATED: u16 = 0x8380;
const V4: u16 = 1;
const V6: u16 = 28;

fn ips(texts: &[&str]) -> Vec<IpAddr> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

#[tokio::test]
async fn both_families_aliases_and_long_answers() {
    let v6: [u8; 16] = std::net::Ipv6Addr::LOCALHOST.octets();
    let script = Script::start(HashMap::from([
        (("a.test", V4), vec![(GOOD, 1, record(V4, &[127, 0, 0, 9]))]),
        (("a.test", V6), vec![(GOOD, 1, record(V6, &v6))]),
        (("alias.test", V4), vec![(GOOD, 1, record(5, b"\x01a\x04test\0"))]),
        (("alias.test", V6), vec![(NO_SUCH_NAME, 0, Vec::new())]),
        (
            ("long.test", V4),
            vec![(TRUNCATED, 0, Vec::new()), (GOOD, 1, record(V4, &[127, 0, 0, 8]))],
        ),
        (("long.test", V6), vec![(GOOD, 0, Vec::new())]),
        (("none.test", V4), vec![(NO_SUCH_NAME, 0, Vec::new())]),
        (("none.test", V6), vec![(NO_SUCH_NAME, 0, Vec::new())]),
    ]))
    .await;
    let network = script.network(&[]);
    assert_eq!(resolve(&network, "A.test.").await.unwrap(), ips(&["127.0.0.9", "::1"]));
    assert_eq!(resolve(&network, "alias.test").await.unwrap(), ips(&["127.0.0.9"]));
    assert_eq!(resolve(&network, "long.test").await.unwrap(), ips(&["127.0.0.8"]));
    let error = resolve(&network, "none.test").await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::NotFound);
    let addrs = network.resolve_authority("a.test:80").await.unwrap();
    assert_eq!(addrs, ["127.0.0.9:80", "[::1]:80"].map(|addr| addr.parse().unwrap()));
    assert_eq!(network.sockets(), [], "none is left open");
}

#[tokio::test]
async fn a_server_that_fails_or_is_not_there_is_passed_over() {
    let v4 = |ip| (GOOD, 1, record(V4, ip));
    let broken = Script::start(HashMap::from([
        (("a.test", V4), vec![(SERVER_FAILED, 0, Vec::new())]),
        (("a.test", V6), vec![(SERVER_FAILED, 0, Vec::new())]),
    ]))
    .await;
    let good = Script::start(HashMap::from([
        (("a.test", V4), vec![v4(&[127, 0, 0, 9])]),
        (("a.test", V6), vec![(GOOD, 0, Vec::new())]),
    ]))
    .await;
    let closed = UdpSocket::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let network = good.network(&[closed, broken.addr]);
    assert_eq!(resolve(&network, "a.test").await.unwrap(), ips(&["127.0.0.9"]));
    assert_eq!(broken.asked.lock().unwrap().len(), 2, "once for each family");
    let error = resolve(&broken.network(&[]), "a.test").await.unwrap_err();
    assert!(error.to_string().contains("failed with code 2"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_silent_server_does_not_wait_for_ever() {
    let silent = Script::start(HashMap::new()).await;
    let begun = Instant::now();
    let error = resolve(&silent.network(&[]), "a.test").await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    assert_eq!(begun.elapsed().as_secs(), PATIENCE.as_secs() * ROUNDS as u64);
}

#[tokio::test]
async fn this_machine_is_known_without_a_server() {
    let network = Network::bound_to([127, 0, 0, 1].into());
    let found = resolve(&network, "localhost").await.unwrap();
    assert!(!found.is_empty() && found.iter().all(IpAddr::is_loopback));
    assert!(resolve(&network, "x.localhost").await.unwrap().iter().all(IpAddr::is_loopback));
    let error = resolve(&network, "no such name").await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
}
