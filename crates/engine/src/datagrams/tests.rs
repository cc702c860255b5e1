//! One UDP socket for several protocols: who gets what, and bursts.

use std::sync::Mutex;

use tokio::net::UdpSocket;
use tokio::sync::mpsc;

use super::*;

/// Tells what it got.
struct Told(mpsc::UnboundedSender<(Path, Vec<u8>)>, Mutex<usize>);

impl Handler for Told {
    fn datagram(&self, from: Path, bytes: &[u8]) {
        let _ = self.0.send((from, bytes.to_vec()));
    }

    fn drained(&self) {
        *self.1.lock().unwrap() += 1;
    }
}

fn told() -> (Arc<Told>, mpsc::UnboundedReceiver<(Path, Vec<u8>)>) {
    let (sender, receiver) = mpsc::unbounded_channel();
    (Arc::new(Told(sender, Mutex::default())), receiver)
}

fn utp(length: usize) -> Vec<u8> {
    let mut packet = vec![7; length];
    packet[0] = 0x01;
    packet
}

#[test]
fn the_first_byte_tells_what_a_datagram_is() {
    assert_eq!(Kind::of(b"d1:y1:qe"), Some(Kind::Dht));
    for first in [0x01, 0x11, 0x21, 0x31, 0x41] {
        let mut packet = utp(20);
        packet[0] = first;
        assert_eq!(Kind::of(&packet), Some(Kind::Utp), "{first:#x}");
        assert_eq!(Kind::of(&packet[..19]), None, "too short for a header");
    }
    for first in [0x00, 0x02, 0x51, 0xf1, 0x42, b'e', 0xff] {
        assert_eq!(Kind::of(&[first; 40]), None, "{first:#x}");
    }
    assert_eq!(Kind::of(&[]), None);
}

#[tokio::test]
async fn each_kind_goes_to_its_handler() {
    for host in ["127.0.0.1:0", "[::1]:0"] {
        let hub = Datagrams::open(&Network::default(), &[host.parse().unwrap()]);
        let Some(&addr) = hub.local_addrs().first() else { continue }; // no IPv6 here
        let ((dht, mut dht_got), (utp_handler, mut utp_got)) = (told(), told());
        hub.register(Kind::Dht, &dht);
        hub.register(Kind::Utp, &utp_handler);
        let theirs = UdpSocket::bind(host).await.unwrap();
        for packet in [&b"junk"[..], &utp(30), b"", b"de"] {
            theirs.send_to(packet, addr).await.unwrap();
        }
        let (from, bytes) = dht_got.recv().await.unwrap();
        assert_eq!((from.remote, &bytes[..]), (theirs.local_addr().unwrap(), &b"de"[..]));
        assert_eq!(from.local, Some(addr), "where it was sent to");
        assert_eq!(utp_got.recv().await.unwrap().1, utp(30));
        assert!(utp_got.try_recv().is_err());

        drop(utp_handler); // what comes for it is dropped from now on
        theirs.send_to(&utp(30), addr).await.unwrap();
        theirs.send_to(b"d2e", addr).await.unwrap();
        assert_eq!(dht_got.recv().await.unwrap().1, b"d2e");
        assert!(utp_got.recv().await.is_none());
    }
}

#[tokio::test]
async fn a_burst_arrives_as_its_datagrams_in_order() {
    let ours = Datagrams::open(&Network::default(), &["127.0.0.1:0".parse().unwrap()]);
    let theirs = Datagrams::open(&Network::default(), &["127.0.0.1:0".parse().unwrap()]);
    let (handler, mut got) = told();
    theirs.register(Kind::Utp, &handler);
    let to = Path { remote: theirs.local_addrs()[0], local: None };
    let mut burst = Vec::new();
    for number in 0..100_u8 {
        let mut packet = utp(500);
        packet[19] = number;
        burst.extend(packet);
    }
    burst.truncate(99 * 500 + 77);
    for half in burst.chunks(50 * 500) {
        ours.writable(to).await.unwrap();
        ours.try_send(to, half, 500).unwrap();
    }
    for (number, expected) in burst.chunks(500).enumerate() {
        let (from, bytes) = got.recv().await.unwrap();
        assert_eq!(from.remote, ours.local_addrs()[0]);
        assert_eq!(bytes, expected, "datagram {number}");
    }
    while *handler.1.lock().unwrap() == 0 {
        tokio::task::yield_now().await; // it is told when that was all
    }
}

#[tokio::test]
async fn what_has_no_socket_is_an_error() {
    let hub = Datagrams::open(&Network::default(), &["127.0.0.1:0".parse().unwrap()]);
    let to = Path { remote: "[::1]:1".parse().unwrap(), local: None };
    assert_eq!(hub.try_send(to, b"de", 2).unwrap_err().kind(), io::ErrorKind::AddrNotAvailable);
    let long = vec![0; 70_000];
    let to = Path { remote: hub.local_addrs()[0], local: None };
    hub.writable(to).await.unwrap();
    let error = hub.try_send(to, &long, long.len()).unwrap_err();
    assert_ne!(error.kind(), io::ErrorKind::WouldBlock, "no datagram is as long as that");
}

#[tokio::test]
async fn a_closed_hub_gives_its_port_back() {
    let hub = Datagrams::open(&Network::default(), &["127.0.0.1:0".parse().unwrap()]);
    let addr = hub.local_addrs()[0];
    hub.close();
    assert!(hub.local_addrs().is_empty());
    let again = async {
        while UdpSocket::bind(addr).await.is_err() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(20), again).await.unwrap();
}

/// The old socket is for who is connected by it: the other side knows no other.
#[tokio::test]
async fn another_port_leaves_the_old_one_to_who_is_connected() {
    let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
    let hub = Datagrams::open(&Network::default(), &[any]);
    let ((dht, mut dht_got), (handler, mut got)) = (told(), told());
    hub.register(Kind::Dht, &dht);
    hub.register(Kind::Utp, &handler);
    let old = hub.local_addrs()[0];
    let theirs = UdpSocket::bind(any).await.unwrap();
    let taken = theirs.local_addr().unwrap();
    assert!(hub.move_to(&[any, taken]).is_err());
    assert_eq!(hub.local_addrs(), [old], "nothing has changed");

    hub.move_to(&[any]).unwrap();
    let new = hub.local_addrs()[0];
    assert_ne!(new, old);
    let mut syn = utp(30);
    syn[0] = 0x41;
    for packet in [&syn[..], b"d1:ae", &utp(30)] {
        theirs.send_to(packet, old).await.unwrap();
    }
    let (from, bytes) = got.recv().await.unwrap();
    assert_eq!((from.local, bytes), (Some(old), utp(30)), "nobody is let in");
    hub.try_send(from, b"answer", 6).unwrap();
    let mut answer = [0; 9];
    assert_eq!(theirs.recv_from(&mut answer).await.unwrap(), (6, old));
    theirs.send_to(&syn, new).await.unwrap();
    assert_eq!(got.recv().await.unwrap(), (Path { local: Some(new), ..from }, syn.clone()));
    assert!(dht_got.try_recv().is_err());

    // Back to where it was, although its socket is still held.
    hub.move_to(&[old]).unwrap();
    hub.let_go(new.port());
    theirs.send_to(&syn, old).await.unwrap();
    assert_eq!(got.recv().await.unwrap().0.local, Some(old));
    hub.try_send(Path { local: Some(new), ..from }, b"late", 4).unwrap();
    assert_eq!(theirs.recv_from(&mut answer).await.unwrap(), (4, old), "that one is gone");
}
