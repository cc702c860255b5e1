//! One question over HTTP.

use tracker::{ReplyError, Retry};

use super::*;
use crate::http::scripted::{Answer, Scripted};
use crate::http::{AddressError, HttpError};

#[tokio::test]
async fn a_passkey_and_the_parameters_arrive() {
    let peer = [10, 0, 0, 1, 0x1a, 0xe1];
    let body = [b"d8:intervali900e5:peers6:", &peer[..], b"e"].concat();
    let mut server = Scripted::start([Answer::ok(body)]).await;
    let url = server.url("/announce?passkey=S3%2f");
    let replies = client().announce(&url, &request(6881), allowing()).await;
    assert!(replies.v6.is_none(), "an IPv4 literal has no IPv6 address");
    let reply = replies.merged().unwrap();
    assert_eq!(reply.peers, ["10.0.0.1:6881".parse().unwrap()]);
    let head = server.request().await;
    let hash = "%AB".repeat(20);
    let expected = format!(
        "GET /announce?passkey=S3%2f&info_hash={hash}&peer_id=-PL0100-abcdefghijkl&port=6881"
    );
    assert!(head.starts_with(&expected), "{head}");
    assert!(head.contains("&event=started"));
    assert_eq!(server.requests_left(), 0);
}

/// BEP 7: the port that a gateway maps over IPv4 leads nowhere over IPv6.
#[tokio::test]
async fn each_family_is_told_the_port_of_its_own() {
    let options = AskOptions { port_v6: Some(6881), ..allowing() };
    for (ip, port) in [("127.0.0.1", 7000), ("::1", 6881)] {
        let mut server =
            Scripted::start_on(ip.parse().unwrap(), [Answer::ok("d8:intervali900ee")]).await;
        let url = server.url("/announce");
        client().announce(&url, &request(7000), options).await.merged().unwrap();
        let head = server.request().await;
        assert!(head.contains(&format!("&port={port}&")), "{head}");
    }
}

#[tokio::test]
async fn refusals_keep_the_trackers_words() {
    let refusal = "d14:failure reason12:unregistered8:retry in5:nevere";
    for status in ["200 OK", "403 Forbidden"] {
        let server = Scripted::start([Answer::with(status, "", refusal)]).await;
        let replies = client().announce(&server.url("/announce"), &request(1), allowing()).await;
        let Err(AnnounceError::Reply(error)) = replies.merged() else { panic!("{status}") };
        let reason = "unregistered".to_owned();
        assert_eq!(error, ReplyError::Refused { reason, retry: Retry::Never });
    }
}

#[tokio::test]
async fn what_is_no_answer_is_named() {
    let html = "<html><title>For sale</title></html>";
    for (answer, error) in [
        (Answer::ok(html), ReplyError::Html),
        (Answer::ok(""), ReplyError::Empty),
        (Answer::with("404 Not Found", "", html), ReplyError::Status { status: 404 }),
    ] {
        let server = Scripted::start([answer]).await;
        let replies = client().announce(&server.url("/announce"), &request(1), allowing()).await;
        assert!(matches!(replies.merged(), Err(AnnounceError::Reply(found)) if found == error));
    }
}

#[tokio::test]
async fn the_trackers_own_url_is_judged_not_the_parameters() {
    let guarded = AskOptions::default();
    let mut server = Scripted::start([Answer::ok("d8:intervali900ee")]).await;
    let url = server.url("/announce");
    client().announce(&url, &request(1), guarded).await.merged().unwrap();
    server.request().await;
    for path in ["/announce?cmd=reboot", "/reboot"] {
        let refused = client().announce(&server.url(path), &request(1), guarded).await.merged();
        let Err(AnnounceError::Http(HttpError::Address(error))) = refused else { panic!() };
        assert!(matches!(error, AddressError::Forbidden { .. }));
        let udp = format!("udp://127.0.0.1:1{path}");
        let refused = client().announce(&udp, &request(1), guarded).await.merged();
        let Err(AnnounceError::Address(error)) = refused else { panic!() };
        assert!(matches!(error, AddressError::Forbidden { .. }));
    }
    assert_eq!(server.requests_left(), 0);
}

#[tokio::test]
async fn silence_ends_at_the_deadline() {
    let server = Scripted::start([Answer::Silence]).await;
    let options = AskOptions { deadline: Duration::from_millis(100), ..allowing() };
    let reply = client().announce(&server.url("/announce"), &request(1), options).await;
    let error = reply.merged().unwrap_err();
    assert!(matches!(error, AnnounceError::Http(HttpError::TimedOut { .. })), "{error:?}");
}

#[tokio::test]
async fn urls_that_are_no_trackers_are_refused() {
    for url in ["wss://tracker.test/announce", "udp://tracker.test/announce", "announce", ""] {
        let replies = client().announce(url, &request(1), allowing()).await;
        assert!(matches!(replies.merged(), Err(AnnounceError::Url(_))), "{url}");
    }
    let no_scrape = client().scrape("http://tracker.test/x", &[HASH], allowing()).await;
    assert!(matches!(no_scrape, Err(AnnounceError::NoScrape)));
}

#[tokio::test]
async fn questions_in_flight_are_limited() {
    let mut servers = Vec::new();
    for _ in 0..3 {
        servers.push(Scripted::start([Answer::Silence]).await); // one alone has fewer
    }
    let client = client();
    let mut tasks = tokio::task::JoinSet::new();
    for number in 0..55 {
        let (client, url) = (client.clone(), servers[number % 3].url("/announce"));
        tasks.spawn(async move { client.announce(&url, &request(1), allowing()).await });
    }
    for number in 0..50 {
        servers[number % 3].request().await;
    }
    // The fiftieth has been heard, so all permits are taken, and nobody gives one back.
    tokio::task::yield_now().await;
    assert_eq!(servers.iter().map(Scripted::requests_left).sum::<usize>(), 0);
    // Five seconds of silence make room for the next.
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(5)).await;
    tokio::time::resume();
    for number in 50..55 {
        servers[number % 3].request().await;
    }
}
