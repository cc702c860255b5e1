//! Our own tracker, asked by our own client and by strangers.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{advance, pause, resume};
use tracker::server::{Registry, ServerLimits};

use super::*;
use crate::announce::server::CONNECTIONS_MAX;

fn serve(on: impl Into<IpAddr>) -> TrackerServer {
    let mut registry = Registry::new(ServerLimits::default(), 1);
    registry.allow(HASH);
    TrackerServer::bind(&Network::default(), SocketAddr::new(on.into(), 0), registry).unwrap()
}

/// Says `bytes` to the server and returns all that it answers.
async fn say(server: &TrackerServer, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(server.local_addr()).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await; // a reset is an answer too
    String::from_utf8(answer).unwrap()
}

#[tokio::test]
async fn three_peers_find_each_other_over_both_families() {
    let server = serve(Ipv6Addr::UNSPECIFIED);
    let url = format!("http://both.test:{}/announce", server.local_addr().port());
    let client = client();
    let mut last = None;
    for port in [1001, 1002, 1003] {
        let request = AnnounceRequest { left: u64::from(port == 1001), ..request(port) };
        let replies = client.announce(&url, &request, allowing()).await;
        assert!(matches!((&replies.v4, &replies.v6), (Some(Ok(_)), Some(Ok(_)))), "{replies:?}");
        let ours: Vec<IpAddr> = replies.external_ips().collect();
        assert_eq!(ours, ["127.0.0.1", "::1"].map(|ip| ip.parse::<IpAddr>().unwrap()));
        last = Some(replies.merged().unwrap());
    }
    let last = last.unwrap();
    // Seeds are not shown to a seed.
    let leecher = ["127.0.0.1:1001", "[::1]:1001"].map(|peer| peer.parse().unwrap());
    assert_eq!(last.peers, leecher);
    let again = AnnounceRequest { left: 1, ..request(1001) };
    let reply = client.announce(&url, &again, allowing()).await.merged().unwrap();
    for peer in ["127.0.0.1:1002", "127.0.0.1:1003", "[::1]:1002", "[::1]:1003"] {
        assert!(reply.peers.contains(&peer.parse().unwrap()), "{peer}");
    }
    let counts = client.scrape(&url, &[HASH], allowing()).await.unwrap().get(&HASH).unwrap();
    assert_eq!((counts.complete, counts.incomplete), (Some(4), Some(2)));
    assert_eq!(server.with_registry(|registry, now| registry.peers(now, &HASH)).len(), 6);
}

#[tokio::test]
async fn other_torrents_are_refused() {
    let server = serve([127, 0, 0, 1]);
    let url = format!("http://{}/announce", server.local_addr());
    let other = AnnounceRequest { info_hash: InfoHash([1; 20]), ..request(1) };
    let error = client().announce(&url, &other, allowing()).await.merged().unwrap_err();
    assert!(matches!(error, AnnounceError::Reply(tracker::ReplyError::Refused { .. })));
}

#[tokio::test]
async fn strangers_get_an_answer_and_no_more() {
    let server = serve([127, 0, 0, 1]);
    let long = format!("GET /announce?{} HTTP/1.1\r\n\r\n", "x".repeat(40_000));
    let fat = format!("GET / HTTP/1.1\r\nX: {}\r\n\r\n", "x".repeat(40_000));
    let many = format!("GET / HTTP/1.1\r\n{}\r\n", "X: y\r\n".repeat(100));
    for (said, status) in [
        ("GET / HTTP/1.1\r\n\r\n", "404"),
        ("GET http://elsewhere/ HTTP/1.1\r\n\r\n", "404"),
        ("GET /announce HTTP/1.0\r\n\r\n", "200"),
        ("POST /announce HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc", "405"),
        ("CONNECT a:1 HTTP/1.1\r\n\r\n", "405"),
        ("\x13BitTorrent protocol\r\n\r\n", "400"),
        (&many, "431"),
        (&fat, "431"),
        (&long, "4"), // 414 or 431
    ] {
        let answer = say(&server, said.as_bytes()).await;
        let start = &said[..said.len().min(30)];
        let line = answer.lines().next().unwrap_or_default();
        assert!(line.contains(&format!(" {status}")), "{start:?}: {line}");
    }
    // One request a connection.
    let twice = say(&server, &b"GET / HTTP/1.1\r\n\r\n".repeat(2)).await;
    assert_eq!(twice.matches("HTTP/1.1 404").count(), 1);
}

#[tokio::test]
async fn a_head_that_never_ends_ends_in_time() {
    let server = serve([127, 0, 0, 1]);
    let mut slow = TcpStream::connect(server.local_addr()).await.unwrap();
    slow.write_all(b"GET / HTTP/1.1\r\nX: ").await.unwrap();
    say(&server, b"GET / HTTP/1.1\r\n\r\n").await; // by now the slow one is accepted
    pause();
    advance(Duration::from_secs(10)).await;
    resume();
    let limit = Duration::from_secs(5);
    let end = tokio::time::timeout(limit, slow.read_to_end(&mut Vec::new())).await;
    assert!(end.is_ok(), "it is still open");
}

#[tokio::test]
async fn who_says_nothing_keeps_nobody_waiting() {
    let server = serve([127, 0, 0, 1]);
    let mut silent = Vec::new();
    for _ in 0..CONNECTIONS_MAX + 20 {
        silent.push(TcpStream::connect(server.local_addr()).await.unwrap());
    }
    // They would have twice as long to say something.
    let limit = Duration::from_secs(5);
    let answer = tokio::time::timeout(limit, say(&server, b"GET / HTTP/1.1\r\n\r\n")).await;
    assert!(answer.expect("an answer at once").starts_with("HTTP/1.1 404"));
    let ended = tokio::time::timeout(limit, silent[0].read(&mut [0])).await;
    assert_eq!(ended.expect("who came first has gone").unwrap_or_default(), 0);
}

#[tokio::test]
async fn shutdown_closes_everything() {
    let server = serve([127, 0, 0, 1]);
    let addr = server.local_addr();
    let mut open = TcpStream::connect(addr).await.unwrap();
    say(&server, b"GET / HTTP/1.1\r\n\r\n").await;
    server.shutdown().await;
    let _ = open.read_to_end(&mut Vec::new()).await; // would hang if it stayed open
    assert!(TcpStream::connect(addr).await.is_err());
}
