//! A scripted SOCKS5 proxy, and what the hub makes of it.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Mutex;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::*;
use crate::datagrams::{Handler, Kind};
use crate::net::NetworkOptions;

/// Longer than any of this takes.
const DEADLINE: Duration = Duration::from_secs(30);

/// Stands before a datagram from or to `PEER`.
const HEAD: &[u8] = &[0, 0, 0, 1, 192, 0, 2, 7, 0x1a, 0xe1];
const PEER: &str = "192.0.2.7:6881";

struct Told(Mutex<mpsc::UnboundedSender<(Path, Vec<u8>)>>);

impl Handler for Told {
    fn datagram(&self, from: Path, bytes: &[u8]) {
        let _ = self.0.lock().unwrap().send((from, bytes.to_vec()));
    }
}

/// A proxy that says what the test has it say.
struct Scripted {
    listener: TcpListener,
    hub: Arc<Datagrams>,
    state: watch::Receiver<RelayState>,
    got: mpsc::UnboundedReceiver<(Path, Vec<u8>)>,
    _handler: Arc<Told>,
}

impl Scripted {
    async fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let url = format!("socks5://{}", listener.local_addr().unwrap());
        let network = Network::new(NetworkOptions::default().proxy(url.parse().unwrap()));
        let hub = Datagrams::through(&network, network.proxy().unwrap());
        let (sender, got) = mpsc::unbounded_channel();
        let handler = Arc::new(Told(Mutex::new(sender)));
        hub.register(Kind::Dht, &handler);
        let state = hub.relay_state().unwrap();
        Self { listener, hub, state, got, _handler: handler }
    }

    /// Is asked for an association and answers so.
    async fn asked(&self, answer: &[u8]) -> TcpStream {
        let accepted = timeout(DEADLINE, self.listener.accept()).await.unwrap();
        let (mut control, _) = accepted.unwrap();
        control.read_exact(&mut [0; 3]).await.unwrap();
        control.write_all(&[5, 0]).await.unwrap();
        let mut asked = [0; 10];
        control.read_exact(&mut asked).await.unwrap();
        assert_eq!(asked, [5, 3, 0, 1, 0, 0, 0, 0, 0, 0]);
        control.write_all(answer).await.unwrap();
        control
    }

    /// Is asked and relays by this socket from now on, as long as the stream lives.
    async fn relaying(&mut self) -> (TcpStream, UdpSocket) {
        let relay = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let port = relay.local_addr().unwrap().port().to_be_bytes();
        let control = self.asked(&[&[5, 0, 0, 1, 0, 0, 0, 0][..], &port].concat()).await;
        self.is(|state| *state == RelayState::Ready).await;
        (control, relay)
    }

    async fn is(&mut self, wanted: impl FnMut(&RelayState) -> bool) -> RelayState {
        timeout(DEADLINE, self.state.wait_for(wanted)).await.unwrap().unwrap().clone()
    }

    fn send(&self, bytes: &[u8], segment: usize) -> io::Result<()> {
        let to = Path { remote: PEER.parse().unwrap(), local: None };
        self.hub.try_send(to, bytes, segment)
    }

    async fn next(&mut self) -> (Path, Vec<u8>) {
        timeout(DEADLINE, self.got.recv()).await.unwrap().unwrap()
    }
}

async fn received(relay: &UdpSocket) -> (Vec<u8>, SocketAddr) {
    let mut buffer = [0; 2048];
    let received = timeout(DEADLINE, relay.recv_from(&mut buffer)).await.unwrap();
    let (length, from) = received.unwrap();
    (buffer[..length].to_vec(), from)
}

#[tokio::test]
async fn each_datagram_of_a_burst_has_its_head() {
    let mut proxy = Scripted::start().await;
    assert_eq!(proxy.send(b"d1e", 3).unwrap_err().kind(), io::ErrorKind::NotConnected);
    let (_control, relay) = proxy.relaying().await;
    proxy.send(b"d1ed2ed3", 3).unwrap();
    for part in [&b"d1e"[..], b"d2e", b"d3"] {
        assert_eq!(received(&relay).await.0, [HEAD, part].concat());
    }
    let name = ProxyTarget::new("node.test", 7).unwrap();
    proxy.hub.try_send_named(&name, b"ping").unwrap();
    assert_eq!(received(&relay).await.0, b"\0\0\0\x03\x09node.test\0\x07ping");
    assert_eq!(proxy.hub.port(), None, "nobody is told of a port");
}

#[tokio::test]
async fn only_whole_datagrams_from_the_relay_come_in() {
    let mut proxy = Scripted::start().await;
    let (_control, relay) = proxy.relaying().await;
    proxy.send(b"d1e", 3).unwrap();
    let (_, ours) = received(&relay).await;
    let stranger = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    stranger.send_to(&[HEAD, b"d8:strangere"].concat(), ours).await.unwrap();
    let mut fragment = [HEAD, b"d8:fragmente"].concat();
    fragment[2] = 1;
    let to_name = b"\0\0\0\x03\x04name\0\x50d4:namee";
    for junk in [&fragment[..], to_name, b"", b"\0\0\0", &HEAD[..9], HEAD, b"d3:raw1:xe"] {
        relay.send_to(junk, ours).await.unwrap();
    }
    relay.send_to(&[HEAD, b"d5:right1:xe"].concat(), ours).await.unwrap();
    let (from, bytes) = proxy.next().await;
    assert_eq!((from.remote, &bytes[..]), (PEER.parse().unwrap(), &b"d5:right1:xe"[..]));
    assert!(proxy.got.try_recv().is_err());
}

#[tokio::test]
async fn a_lost_association_is_made_anew_and_nothing_is_sent_meanwhile() {
    let mut proxy = Scripted::start().await;
    let (control, old) = proxy.relaying().await;
    proxy.send(b"d1e", 3).unwrap();
    let (_, before) = received(&old).await;
    drop(control);
    let state = proxy.is(|state| matches!(state, RelayState::Failing(_))).await;
    let RelayState::Failing(message) = state else { unreachable!() };
    assert!(
        message.contains("ended the relay") && message.contains("the DHT are off"),
        "{message}"
    );
    assert_eq!(proxy.send(b"d2e", 3).unwrap_err().kind(), io::ErrorKind::NotConnected);

    let (_control, new) = proxy.relaying().await;
    proxy.send(b"d3e", 3).unwrap();
    let (bytes, after) = received(&new).await;
    assert_eq!(bytes, [HEAD, b"d3e"].concat());
    assert!(old.try_recv(&mut [0; 9]).is_err(), "sent by what was lost");
    // The relay of before is a stranger by now.
    for to in [before, after] {
        let _ = old.send_to(&[HEAD, b"d3:old1:xe"].concat(), to).await; // nobody may be there
    }
    new.send_to(&[HEAD, b"d3:new1:xe"].concat(), after).await.unwrap();
    assert_eq!(proxy.next().await.1, b"d3:new1:xe");
}

#[tokio::test]
async fn a_refusal_switches_datagrams_off_until_the_network_is_another() {
    for code in [2, 7] {
        let mut proxy = Scripted::start().await;
        let _control = proxy.asked(&[5, code, 0, 1, 0, 0, 0, 0, 0, 0]).await;
        let state = proxy.is(|state| matches!(state, RelayState::Off(_))).await;
        let RelayState::Off(message) = state else { unreachable!() };
        assert!(message.contains("does not relay datagrams"), "{message}");
        assert!(message.contains("uTP and the DHT are off"), "{message}");
        let error = proxy.hub.ready().await.unwrap_err();
        assert_eq!((error.kind(), error.to_string()), (io::ErrorKind::Unsupported, message));

        proxy.hub.reopen();
        let (_control, relay) = proxy.relaying().await;
        proxy.hub.ready().await.unwrap();
        proxy.send(b"d1e", 3).unwrap();
        assert_eq!(received(&relay).await.0, [HEAD, b"d1e"].concat());
    }
}

#[tokio::test]
async fn another_failure_is_tried_again() {
    let mut proxy = Scripted::start().await;
    drop(proxy.asked(&[5, 1, 0, 1, 0, 0, 0, 0, 0, 0]).await); // a general failure
    proxy.is(|state| matches!(state, RelayState::Failing(_))).await;
    let _relaying = proxy.relaying().await;
    proxy.hub.ready().await.unwrap();
}

#[tokio::test]
async fn a_closed_hub_lets_go_of_the_association() {
    let mut proxy = Scripted::start().await;
    let (mut control, _relay) = proxy.relaying().await;
    proxy.hub.close();
    let end = timeout(DEADLINE, control.read(&mut [0; 9])).await.unwrap();
    assert_eq!(end.unwrap_or(0), 0, "the connection is over");
    assert!(proxy.send(b"d1e", 3).is_err());
}
