//! Parts fetched from servers that say exactly what a test wants.

use std::time::Duration;

use webseed::{Failure, Request, Wanted};

use super::{Fetcher, Unfetched};
use crate::http::scripted::{Answer, Scripted};
use crate::http::{HttpClient, HttpSettings, Lines, PrivatePolicy};

fn fetcher() -> Fetcher {
    let http = HttpClient::new(HttpSettings::default());
    Fetcher::new(Lines::new(http, Duration::from_secs(10)), PrivatePolicy::AllowAsWritten)
}

/// Bytes 0 to 99 of a file of 100.
fn request(server: &Scripted) -> Request {
    let wanted = Wanted::Range { first: 0, last: 99, whole: 100 };
    Request { url: server.url("/f"), range: Some((0, 99)), wanted }
}

/// What came, and how it ended.
async fn fetched(answer: Answer) -> (Vec<u8>, Result<u64, Option<Failure>>) {
    let server = Scripted::start([answer]).await;
    let mut bytes = Vec::new();
    let mut fetcher = fetcher().impatient(Duration::from_millis(300));
    let request = request(&server);
    let done = fetcher.fetch(&request, |more| {
        bytes.extend_from_slice(more);
        true
    });
    let done = done.await.map_err(|Unfetched { came, failure }| {
        assert!(came <= 100);
        failure
    });
    (bytes, done)
}

fn head(lines: &str) -> Vec<u8> {
    format!("HTTP/1.1 206 P\r\nContent-Range: bytes 0-99/100\r\n{lines}\r\n").into_bytes()
}

fn body(lines: &str, bytes: &[u8]) -> Answer {
    Answer::Bytes([&head(lines)[..], bytes].concat())
}

#[tokio::test]
async fn a_part_is_handed_on_as_it_comes() {
    let all: Vec<u8> = (0..100).collect();
    assert_eq!(fetched(body("Content-Length: 100\r\n", &all)).await, (all.clone(), Ok(100)));
    assert_eq!(fetched(body("", &all)).await, (all.clone(), Ok(100)), "ended by the connection");
    let chunked = [b"64\r\n", &all[..], b"\r\n0\r\n\r\n"].concat();
    assert_eq!(fetched(body("Transfer-Encoding: chunked\r\n", &chunked)).await, (all, Ok(100)));
}

#[tokio::test]
async fn short_and_long_bodies_are_told_apart() {
    let (bytes, done) = fetched(body("Content-Length: 100\r\n", &[7; 60])).await;
    assert!(matches!(done, Err(Some(Failure::Broken(_)))), "{done:?}");
    assert_eq!(bytes, [7; 60], "what came is kept");
    let (bytes, done) = fetched(body("", &[7; 60])).await;
    assert_eq!(done, Err(Some(Failure::WrongLength { wanted: 100, given: 60 })));
    assert_eq!(bytes.len(), 60);
    let (bytes, done) = fetched(body("", &[7; 101])).await;
    assert!(matches!(done, Err(Some(Failure::WrongLength { wanted: 100, .. }))), "{done:?}");
    assert!(bytes.len() <= 100);
    let endless = Answer::Endless(head(""), vec![7; 1000]);
    let (bytes, done) = fetched(endless).await;
    assert!(matches!(done, Err(Some(Failure::WrongLength { .. }))), "{done:?}");
    assert!(bytes.len() <= 100);
}

#[tokio::test]
async fn drops_and_silence_are_given_up() {
    let drip = Answer::Drip(head("Content-Length: 100\r\n"), 7);
    let (bytes, done) = fetched(drip).await;
    assert_eq!(done, Err(Some(Failure::TooSlow)));
    assert!(bytes.len() < 100);
}

#[tokio::test]
async fn nothing_is_read_for_who_wants_nothing_more() {
    let server = Scripted::start([body("Content-Length: 100\r\n", &[7; 100])]).await;
    let stopped = fetcher().fetch(&request(&server), |_| false).await.unwrap_err();
    assert_eq!(stopped.failure, None);
}
