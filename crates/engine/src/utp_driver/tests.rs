//! uTP (BEP 29) between two sockets on loopback, as streams.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UdpSocket;

use super::*;
use crate::net::Network;
use crate::stream::Stream;

fn start(accept: bool) -> (Arc<Utp>, mpsc::UnboundedReceiver<UtpStream>, SocketAddr) {
    let hub = Datagrams::open(&Network::default(), &["127.0.0.1:0".parse().unwrap()]);
    let addr = hub.local_addrs()[0];
    let config = Config { accept, ..Config::new(fastrand::u64(..)) };
    let (utp, incoming) = Utp::start(hub, Clock::start(), config);
    (utp, incoming, addr)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bytes_pass_both_ways_and_then_the_end() {
    const BYTES: usize = 3_000_000;
    let (ours, _, _) = start(true);
    let (theirs, mut incoming, addr) = start(true);
    let serving = tokio::spawn(async move {
        let mut stream = Stream::Utp(incoming.recv().await.unwrap());
        let mut got = vec![0; BYTES];
        stream.read_exact(&mut got).await.unwrap();
        stream.write_all(&got).await.unwrap();
        let end = stream.read(&mut [0; 9]).await;
        (got, end.unwrap())
    });
    let mut sent = vec![0; BYTES];
    fastrand::Rng::with_seed(1).fill(&mut sent);
    let mut stream = Stream::Utp(ours.connect(addr).await.unwrap());
    stream.write_all(&sent).await.unwrap();
    let mut echoed = vec![0; BYTES];
    stream.read_exact(&mut echoed).await.unwrap();
    assert!(echoed == sent);
    drop(stream);
    let (got, end) = serving.await.unwrap();
    assert!(got == sent);
    assert_eq!(end, 0);
    drop(theirs);
    // What was closed is forgotten, once the other side has heard of it.
    while ours.lock().endpoint.connections() > 0 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn what_was_written_arrives_though_the_stream_is_dropped() {
    let (ours, _, _) = start(true);
    let (_theirs, mut incoming, addr) = start(true);
    let mut stream = Stream::Utp(ours.connect(addr).await.unwrap());
    stream.write_all(b"last words").await.unwrap();
    drop(stream);
    let mut stream = Stream::Utp(incoming.recv().await.unwrap());
    let mut got = Vec::new();
    stream.read_to_end(&mut got).await.unwrap();
    assert_eq!(got, b"last words");
}

#[tokio::test]
async fn who_does_not_accept_refuses_at_once() {
    let (ours, _, _) = start(true);
    let (_theirs, _incoming, addr) = start(false);
    let error = ours.connect(addr).await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
}

#[tokio::test]
async fn a_syn_to_who_does_not_accept_is_reset() {
    let (_utp, _incoming, addr) = start(false);
    let theirs = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    theirs.connect(addr).await.unwrap();
    let mut syn = [0; 20];
    syn[0] = 0x41;
    syn[2..4].copy_from_slice(&[0xab, 0xcd]);
    syn[16..18].copy_from_slice(&[0x12, 0x34]);
    for packet in [&syn[..19], &[], &syn[..]] {
        theirs.send(packet).await.unwrap();
    }
    let mut reply = [0; 64];
    let received = theirs.recv(&mut reply).await.unwrap();
    assert_eq!(received, 20);
    assert_eq!((reply[0], &reply[2..4], &reply[18..20]), (0x31, &syn[2..4], &syn[16..18]));
    assert!(theirs.try_recv(&mut reply).is_err(), "one answer for one SYN");
}

#[tokio::test(start_paused = true)]
async fn nobody_there_is_an_error_in_time() {
    let (ours, _, _) = start(true);
    let silent = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let start = tokio::time::Instant::now();
    let error = ours.connect(silent.local_addr().unwrap()).await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    assert!((5..10).contains(&start.elapsed().as_secs()));
}

#[tokio::test]
async fn a_reader_that_waits_hears_of_a_reset() {
    let (ours, _, _) = start(true);
    let (theirs, mut incoming, addr) = start(true);
    let mut stream = Stream::Utp(ours.connect(addr).await.unwrap());
    stream.write_all(b"hello").await.unwrap();
    drop(incoming.recv().await.unwrap());
    drop(theirs);
    let mut got = [0; 9];
    // The other side closed in good order.
    assert_eq!(stream.read(&mut got).await.unwrap(), 0);
}
