//! TCP and uTP raced, in paused time.

use std::future::ready;

use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, sleep};

use super::*;
use crate::clock::Clock;
use crate::datagrams::Datagrams;
use crate::net::{Held, NetworkOptions};

/// A stream that is somebody's, told apart by its port.
async fn stream(listener: &TcpListener) -> Stream {
    let addr = listener.local_addr().unwrap();
    let (made, _) = tokio::join!(TcpStream::connect(addr), listener.accept());
    Stream::Tcp(Held::unlisted(made.unwrap()))
}

fn refused() -> io::Result<Stream> {
    Err(io::ErrorKind::ConnectionRefused.into())
}

fn port(stream: &Stream) -> u16 {
    match stream {
        Stream::Tcp(stream) => stream.peer_addr().unwrap().port(),
        Stream::Utp(stream) => stream.remote.port(),
    }
}

async fn tcp_first(
    tcp: impl Future<Output = io::Result<Stream>>,
    utp: impl Future<Output = io::Result<Stream>>,
) -> io::Result<Stream> {
    let legs = Transports::TcpFirst.legs(true, true);
    run(Race::new(Duration::ZERO, legs), tcp, utp).await
}

#[tokio::test(start_paused = true)]
async fn the_first_to_arrive_is_taken_and_the_second_starts_later() {
    let listeners = [
        TcpListener::bind("127.0.0.1:0").await.unwrap(),
        TcpListener::bind("127.0.0.1:0").await.unwrap(),
    ];
    let ports = listeners.each_ref().map(|listener| listener.local_addr().unwrap().port());
    // When each arrives, in milliseconds after it began, and who is taken when.
    for (first_ms, second_ms, taken, at_ms) in
        [(50, 0, 0, 50), (300, 0, 0, 300), (2_000, 100, 1, 500), (450, 100, 0, 450)]
    {
        let (one, two) = (stream(&listeners[0]).await, stream(&listeners[1]).await);
        let start = Instant::now();
        let late = |ms, stream| async move {
            sleep(Duration::from_millis(ms)).await;
            Ok(stream)
        };
        let got = tcp_first(late(first_ms, one), late(second_ms, two)).await.unwrap();
        assert_eq!(port(&got), ports[taken]);
        assert_eq!(start.elapsed().as_millis(), at_ms, "{first_ms} and {second_ms}");
    }
}

#[tokio::test(start_paused = true)]
async fn one_that_fails_leaves_it_to_the_other() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let made = stream(&listener).await;
    assert!(tcp_first(ready(refused()), ready(Ok(made))).await.is_ok(), "at once");
    let made = stream(&listener).await;
    let late = async {
        sleep(Duration::from_secs(1)).await;
        refused()
    };
    let later = async {
        sleep(Duration::from_secs(5)).await;
        Ok(made)
    };
    assert!(tcp_first(late, later).await.is_ok(), "and later");
    let made = stream(&listener).await;
    let slow = async {
        sleep(Duration::from_secs(5)).await;
        Ok(made)
    };
    assert!(tcp_first(slow, ready(refused())).await.is_ok(), "and the other way round");
}

#[tokio::test(start_paused = true)]
async fn who_refused_tcp_is_not_waited_for_long() {
    let start = Instant::now();
    let error = tcp_first(ready(refused()), pending()).await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused, "what TCP said");
    assert_eq!(start.elapsed(), swarm::AFTER_REFUSAL);
}

#[tokio::test(start_paused = true)]
async fn utp_has_the_head_start_where_it_is_to_be_first() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let legs = Transports::UtpFirst.legs(true, true);
    let start = Instant::now();
    let tcp = async { Ok(stream(&listener).await) };
    run(Race::new(Duration::ZERO, legs), tcp, pending()).await.unwrap();
    assert_eq!(start.elapsed(), swarm::HEAD_START);
    let tcp = async { panic!("it has no turn") };
    let utp = ready(Ok(stream(&listener).await));
    run(Race::new(Duration::ZERO, legs), tcp, utp).await.unwrap();
}

#[tokio::test]
async fn utp_is_another_way_only_where_it_may_lead() {
    let known: SocketAddr = "192.0.2.7:6881".parse().unwrap();
    let named = SocketAddr::new(swarm::named_peer_ip(1), 6881);
    let proxy = "socks5://127.0.0.1:9".parse().unwrap();
    let plain = Network::default();
    let behind = Network::new(NetworkOptions::default().proxy(proxy));
    for (network, transport, addr, is_there) in [
        (&plain, Transport::Both, known, true),
        (&plain, Transport::Tcp, known, false),
        (&plain, Transport::Utp, known, false),
        (&plain, Transport::Both, named, false),
        // The proxy is not there, and relays nothing.
        (&behind, Transport::Both, known, false),
    ] {
        let hub = match network.proxy() {
            Some(proxy) => Datagrams::through(network, proxy),
            None => Datagrams::open(network, &["127.0.0.1:0".parse().unwrap()]),
        };
        let (utp, _) = Utp::start(Arc::clone(&hub), Clock::start(), utp::Config::new(1));
        let dialler = Dialler { network, gate: hub.gate(), utp: &utp, transport };
        assert_eq!(dialler.has_utp_beside(addr), is_there, "{transport:?} {addr}");
        hub.close();
    }
}
