//! The client against servers that behave well, badly, and worse.

mod secure;

use std::io::Write;
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;
use tokio::net::TcpListener;
use tracker::Forbidden;
use tracker::udp::Family;

use super::scripted::{Answer, Scripted};
use super::*;

/// Loopback is private; most tests are about something else.
fn allowing() -> GetOptions {
    GetOptions {
        private_addresses: PrivatePolicy::Allow,
        timeout: Duration::from_secs(10),
        ..GetOptions::default()
    }
}

async fn get(url: &str, options: GetOptions) -> Result<HttpReply, HttpError> {
    let settings = HttpSettings { user_agent: "Peerless/0.1".into(), ..HttpSettings::default() };
    HttpClient::new(settings).get(url, options).await
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[tokio::test]
async fn a_reply_and_its_request() {
    let mut server = Scripted::start([Answer::ok("d8:intervali60ee")]).await;
    let url = server.url("/announce?passkey=S3&info_hash=%aF%00'x");
    let reply = get(&url, allowing()).await.unwrap();
    assert_eq!(reply.status, 200);
    assert!(reply.is_success());
    assert_eq!(reply.body, b"d8:intervali60ee");
    let request = server.request().await;
    assert!(request.starts_with("GET /announce?passkey=S3&info_hash=%aF%00'x HTTP/1.1\r\n"));
    assert!(request.contains(&format!("host: {}\r\n", server.addr)), "{request}");
    assert!(request.contains("user-agent: Peerless/0.1\r\n"));
    assert!(request.contains("connection: close\r\n"));
}

#[tokio::test]
async fn old_servers_are_understood() {
    // HTTP/1.0, no length: the end of the stream is the end of the body.
    let server = Scripted::start([Answer::Bytes(b"HTTP/1.0 200 OK\r\n\r\nde".to_vec())]).await;
    assert_eq!(get(&server.url("/"), allowing()).await.unwrap().body, b"de");
}

#[tokio::test]
async fn a_body_comes_with_any_status() {
    let refusal = "d14:failure reason7:unknowne";
    for status in ["400 Bad Request", "404 Not Found", "503 Busy"] {
        let server = Scripted::start([Answer::with(status, "", refusal)]).await;
        let reply = get(&server.url("/announce"), allowing()).await.unwrap();
        assert_eq!(reply.status.to_string(), status[..3]);
        assert_eq!(reply.body, refusal.as_bytes());
    }
}

#[tokio::test]
async fn compressed_and_chunked_replies_are_undone() {
    let packed = gzip(b"de");
    let mut reply =
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Encoding: gzip\r\n\r\n".to_vec();
    for byte in packed {
        reply.extend([b'1', b'\r', b'\n', byte, b'\r', b'\n']);
    }
    reply.extend(b"0\r\n\r\n");
    let server = Scripted::start([Answer::Bytes(reply)]).await;
    assert_eq!(get(&server.url("/"), allowing()).await.unwrap().body, b"de");
}

#[tokio::test]
async fn credentials_in_the_url_are_sent_and_not_passed_on() {
    let mut other = Scripted::start([Answer::ok("de")]).await;
    let mut server = Scripted::start([Answer::redirect(&other.url("/there"))]).await;
    let url = format!("http://Aladdin:open%20sesame@{}/here", server.addr);
    get(&url, allowing()).await.unwrap();
    let first = server.request().await;
    assert!(first.contains("authorization: Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==\r\n"));
    assert!(!other.request().await.contains("authorization"));
}

#[tokio::test]
async fn endless_bodies_end_at_the_limit() {
    let endless = b"HTTP/1.1 200 OK\r\n\r\n".to_vec();
    let chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
    for answer in [
        Answer::Endless(endless, vec![b'd'; 1000]),
        Answer::Endless(
            chunked,
            b"3e8\r\n".iter().chain(&[b'd'; 1000]).chain(b"\r\n").copied().collect(),
        ),
    ] {
        let server = Scripted::start([answer]).await;
        let error = get(&server.url("/"), GetOptions { body_max: 50_000, ..allowing() }).await;
        assert!(matches!(error, Err(HttpError::BodyTooLong { body_max: 50_000, .. })), "{error:?}");
    }
}

#[tokio::test]
async fn a_length_beyond_the_limit_is_refused_before_the_body() {
    let head = "HTTP/1.1 200 OK\r\nContent-Length: 9000000000\r\n\r\n";
    let server = Scripted::start([Answer::Bytes(head.into())]).await;
    let error = get(&server.url("/"), GetOptions { body_max: 50_000, ..allowing() }).await;
    assert!(matches!(error, Err(HttpError::BodyTooLong { .. })), "{error:?}");
}

#[tokio::test]
async fn huge_chunks_end_at_the_limit() {
    for (length, overflows) in [("ffffffff", false), ("ffffffffffffffffff", true)] {
        let head = format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{length}\r\n");
        let server = Scripted::start([Answer::Endless(head.into(), vec![0; 4096])]).await;
        let error = get(&server.url("/"), GetOptions { body_max: 50_000, ..allowing() }).await;
        match error {
            Err(HttpError::BodyTooLong { .. }) => assert!(!overflows),
            Err(HttpError::Protocol { .. }) => assert!(overflows),
            other => panic!("{length}: {other:?}"),
        }
    }
}

#[tokio::test]
async fn a_gzip_bomb_stops_at_the_limit() {
    let bomb = gzip(&vec![b'd'; 30_000_000]);
    assert!(bomb.len() < 50_000);
    let server =
        Scripted::start([Answer::with("200 OK", "Content-Encoding: gzip\r\n", bomb)]).await;
    let error = get(&server.url("/"), GetOptions { body_max: 50_000, ..allowing() }).await;
    assert!(matches!(error, Err(HttpError::BodyTooLong { .. })), "{error:?}");
}

#[tokio::test]
async fn a_body_that_breaks_off_is_an_error() {
    for reply in [
        "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nd8:inter",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n10\r\nd8:inter",
        "HTTP/1.1 200 OK\r\nContent-Le",
        "",
    ] {
        let server = Scripted::start([Answer::Bytes(reply.into())]).await;
        let error = get(&server.url("/"), allowing()).await;
        assert!(matches!(error, Err(HttpError::Truncated { .. })), "{reply}: {error:?}");
    }
}

#[tokio::test]
async fn what_is_no_http_is_an_error() {
    let huge_head = format!("HTTP/1.1 200 OK\r\nX: {}\r\n\r\nde", "y".repeat(100_000));
    let many_headers = format!("HTTP/1.1 200 OK\r\n{}\r\nde", "X: y\r\n".repeat(1000));
    for reply in ["SSH-2.0-OpenSSH_9.9\r\n", &huge_head, &many_headers] {
        let server = Scripted::start([Answer::Bytes(reply.into())]).await;
        let error = get(&server.url("/"), allowing()).await;
        assert!(matches!(error, Err(HttpError::Protocol { .. })), "{error:?}");
    }
}

#[tokio::test]
async fn one_deadline_covers_slow_heads_slow_bodies_and_silence() {
    let head = b"HTTP/1.1 200 OK\r\nX: ".to_vec();
    let body = b"HTTP/1.1 200 OK\r\n\r\n".to_vec();
    for answer in [Answer::Drip(head, b'x'), Answer::Drip(body, b'x'), Answer::Silence] {
        let server = Scripted::start([answer]).await;
        let timeout = Duration::from_millis(100);
        let error = get(&server.url("/?passkey=S3"), GetOptions { timeout, ..allowing() }).await;
        let error = error.unwrap_err();
        assert!(matches!(error, HttpError::TimedOut { .. }), "{error:?}");
        let message = format!("{} did not reply in full within 0.1 s", server.addr);
        assert_eq!(error.to_string(), message);
    }
}

#[tokio::test]
async fn redirects_are_followed_and_counted() {
    let mut server = Scripted::start([
        Answer::redirect("/b?y=%2f"),
        Answer::redirect("c"),
        Answer::with("308 Permanent Redirect", "Location: ../d#e\r\n", ""),
        Answer::ok("de"),
    ])
    .await;
    let reply = get(&server.url("/a/"), allowing()).await.unwrap();
    assert_eq!(reply.body, b"de");
    for path in ["/a/", "/b?y=%2f", "/c", "/d"] {
        assert!(server.request().await.starts_with(&format!("GET {path} ")));
    }
    let options = GetOptions { redirects_max: 2, ..allowing() };
    let hops = (0..9).map(|hop| Answer::redirect(&format!("/{hop}")));
    let mut server = Scripted::start(hops).await;
    let error = get(&server.url("/"), options).await;
    assert!(matches!(error, Err(HttpError::TooManyRedirects { redirects_max: 2, .. })));
    for _ in 0..3 {
        server.request().await;
    }
    assert_eq!(server.requests_left(), 0);
}

#[tokio::test]
async fn a_circle_of_redirects_ends_at_once() {
    let mut server = Scripted::start([Answer::redirect("/b"), Answer::redirect("/a")]).await;
    let error = get(&server.url("/a"), allowing()).await;
    assert!(matches!(error, Err(HttpError::RedirectLoop { .. })));
    for _ in 0..2 {
        server.request().await;
    }
    assert_eq!(server.requests_left(), 0);
}

#[tokio::test]
async fn a_status_300_or_a_redirect_to_nowhere_is_a_reply() {
    let server = Scripted::start([Answer::with("301 Moved", "", "gone")]).await;
    assert_eq!(get(&server.url("/"), allowing()).await.unwrap().status, 301);
    let server = Scripted::start([Answer::redirect("ftp://elsewhere/")]).await;
    let error = get(&server.url("/"), allowing()).await;
    assert!(matches!(error, Err(HttpError::BadRedirect { .. })));
}

#[tokio::test]
async fn what_a_person_wrote_may_be_private_where_another_host_sends_us_may_not() {
    let options = || GetOptions { private_addresses: PrivatePolicy::AllowAsWritten, ..allowing() };
    let same = Scripted::start([Answer::redirect("/there"), Answer::ok("torrent")]).await;
    assert_eq!(get(&same.url("/here"), options()).await.unwrap().body, b"torrent");
    let victim = Scripted::start([Answer::ok("never")]).await;
    let elsewhere = format!("http://localhost:{}/reboot?now=1", victim.addr.port());
    let server = Scripted::start([Answer::redirect(&elsewhere)]).await;
    let error = get(&server.url("/here"), options()).await.unwrap_err();
    assert!(matches!(error, HttpError::Address(AddressError::Forbidden { .. })), "{error}");
}

#[tokio::test]
async fn private_addresses_are_refused_at_the_start_and_after_a_redirect() {
    let mut inner = Scripted::start([Answer::ok("secret")]).await;
    let guarded = GetOptions { timeout: Duration::from_secs(10), ..GetOptions::default() };
    let refused = |result: Result<HttpReply, HttpError>| {
        matches!(
            result,
            Err(HttpError::Address(AddressError::Forbidden {
                source: Forbidden::Private { .. },
                ..
            }))
        )
    };
    assert!(refused(get(&inner.url("/admin"), guarded.clone()).await));
    // By name too.
    let by_name = format!("http://localhost:{}/admin", inner.addr.port());
    assert!(refused(get(&by_name, guarded.clone()).await));
    // A tracker may be asked, but may not send us to another kind of page.
    for target in ["/admin", "/announce?reboot=1"] {
        let tracker = Scripted::start([Answer::redirect(&inner.url(target))]).await;
        assert!(refused(get(&tracker.url("/announce"), guarded.clone()).await), "{target}");
    }
    assert_eq!(inner.requests_left(), 0);
    // To another tracker it may.
    let tracker = Scripted::start([Answer::redirect(&inner.url("/announce"))]).await;
    let options = GetOptions { judged_url: Some(tracker.url("/announce")), ..guarded };
    let reply = get(&tracker.url("/announce?info_hash=x"), options).await.unwrap();
    assert_eq!(reply.body, b"secret");
    assert!(inner.request().await.starts_with("GET /announce "));
}

#[tokio::test]
async fn a_family_is_kept_to() {
    let server = Scripted::start([Answer::ok("de")]).await;
    let only = |family| GetOptions { family: Some(family), ..allowing() };
    get(&server.url("/"), only(Family::V4)).await.unwrap();
    let error = get(&server.url("/"), only(Family::V6)).await.unwrap_err();
    assert!(matches!(error, HttpError::Address(AddressError::OtherFamily { .. })));
    assert_eq!(error.to_string(), "127.0.0.1 has no ipv6 address");
}

#[tokio::test]
async fn ipv6_literals_work() {
    let ip = "::1".parse().unwrap();
    let mut server = Scripted::start_on(ip, [Answer::ok("de")]).await;
    get(&server.url("/"), allowing()).await.unwrap();
    let host = format!("host: [::1]:{}\r\n", server.addr.port());
    assert!(server.request().await.contains(&host));
}

#[tokio::test]
async fn errors_name_the_host_and_keep_the_secrets() {
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let loops = Scripted::start([Answer::redirect("?passkey=S3CRET")]).await;
    let html = Scripted::start([Answer::Bytes(b"S3CRET".to_vec())]).await;
    for url in [
        format!("http://user:S3CRET@{closed}/S3CRET/announce?passkey=S3CRET"),
        // No resolver is asked for a label this long.
        format!("http://{}/S3CRET?passkey=S3CRET", "a".repeat(70)),
        loops.url("/S3CRET/?passkey=S3CRET"),
        html.url("/S3CRET"),
        "ftp://host/S3CRET".into(),
        "http://:S3CRET".into(),
    ] {
        let error = get(&url, allowing()).await.unwrap_err();
        assert!(!format!("{error} {error:?}").contains("S3CRET"), "{url}: {error:?}");
    }
}
