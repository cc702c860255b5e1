//! One torrent's announcing from `started` to `stopped`.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::mpsc;
use tracker::{Policy, Prompt, ScheduleConfig, TrackerState};

use super::*;
use crate::http::scripted::{Answer, Scripted};
use crate::own_ports::ToldPorts;

struct Announcing {
    handle: AnnouncerHandle,
    peers: mpsc::UnboundedReceiver<Vec<SocketAddr>>,
    external: mpsc::UnboundedReceiver<IpAddr>,
    news: mpsc::UnboundedReceiver<News>,
    left: Arc<AtomicU64>,
}

fn config() -> AnnouncerConfig {
    AnnouncerConfig {
        info_hash: HASH,
        peer_id: *b"-PL0100-abcdefghijkl",
        ports: Arc::new(ToldPorts::new(6881)),
        ask: allowing(),
    }
}

fn start(urls: &[String]) -> Announcing {
    let schedule = ScheduleConfig {
        tiers: urls.iter().map(|url| vec![url.clone()]).collect(),
        policy: Policy::AllTiers,
        complete: false,
        seed: 1,
    };
    let left = Arc::new(AtomicU64::new(100));
    let numbers = {
        let left = Arc::clone(&left);
        move || Numbers {
            uploaded: 5,
            downloaded: 6,
            left: left.load(Ordering::Relaxed),
            partial: false,
        }
    };
    let (tell, news) = mpsc::unbounded_channel();
    let (found, peers) = mpsc::unbounded_channel();
    let (seen, external) = mpsc::unbounded_channel();
    let news_of = move |one| match one {
        News::Peers { addrs, .. } => drop(found.send(addrs)),
        News::ExternalIp { ip, .. } => drop(seen.send(ip)),
        other => drop(tell.send(other)),
    };
    let handle = Announcer::spawn(client(), config(), schedule, numbers, news_of);
    Announcing { handle, peers, external, news, left }
}

fn reply() -> Vec<u8> {
    reply_seeing([203, 0, 113, 9])
}

fn reply_seeing(external: [u8; 4]) -> Vec<u8> {
    let peer = [10, 0, 0, 1, 0x1a, 0xe1];
    [
        b"d8:completei3e11:external ip4:",
        &external[..],
        b"10:incompletei4e8:intervali1800e5:peers6:",
        &peer,
        b"10:tracker id3:xyze",
    ]
    .concat()
}

fn event_of(head: &str) -> Option<&str> {
    let query = head.split(' ').nth(1)?.split_once('?')?.1;
    query.split('&').find_map(|pair| pair.strip_prefix("event="))
}

#[tokio::test]
async fn started_completed_stopped() {
    let mut tracker = Scripted::start([Answer::ok(reply())]).await;
    let mut torrent = start(&[tracker.url("/announce?passkey=S3")]);
    let head = tracker.request().await;
    assert_eq!(event_of(&head), Some("started"));
    assert!(head.contains("&uploaded=5&downloaded=6&left=100&"), "{head}");
    assert_eq!(torrent.peers.recv().await.unwrap(), ["10.0.0.1:6881".parse().unwrap()]);
    let host = tracker.addr.to_string();
    let news = News::Reply { tracker: host.clone(), peers: 1 };
    assert_eq!(torrent.news.recv().await.unwrap(), news);
    let [status] = &torrent.handle.statuses()[..] else { panic!() };
    assert_eq!(status.state, TrackerState::Working);
    assert_eq!((status.host.as_str(), status.seeders, status.peers), (host.as_str(), Some(3), 1));
    assert!(status.next_in.unwrap() > Duration::from_secs(1700));
    let external: IpAddr = "203.0.113.9".parse().unwrap();
    assert_eq!(torrent.external.recv().await, Some(external));
    assert_eq!(torrent.handle.error(), None);

    torrent.left.store(0, Ordering::Relaxed);
    torrent.handle.completed();
    let head = tracker.request().await;
    assert_eq!(event_of(&head), Some("completed"));
    assert!(head.contains("&left=0&") && head.contains("&trackerid=xyz"), "{head}");
    assert_eq!(torrent.news.recv().await.unwrap(), news);
    torrent.handle.completed(); // once is enough

    torrent.handle.stop(Duration::from_secs(20)).await;
    assert_eq!(event_of(&tracker.request().await), Some("stopped"));
    assert_eq!(tracker.requests_left(), 0);
    torrent.handle.stop(Duration::from_secs(20)).await; // harmless
}

#[tokio::test]
async fn who_completes_and_ends_at_once_says_both() {
    let mut tracker = Scripted::start([Answer::ok(reply())]).await;
    let mut torrent = start(&[tracker.url("/announce")]);
    tracker.request().await;
    torrent.news.recv().await.unwrap();
    torrent.handle.completed();
    torrent.handle.stop(Duration::from_secs(20)).await;
    assert_eq!(event_of(&tracker.request().await), Some("completed"));
    assert_eq!(event_of(&tracker.request().await), Some("stopped"));
    assert_eq!(tracker.requests_left(), 0);
}

#[tokio::test]
async fn a_tracker_that_hangs_does_not_hold_up_the_end() {
    let mut tracker = Scripted::start([Answer::ok(reply()), Answer::Silence]).await;
    let mut torrent = start(&[tracker.url("/announce")]);
    tracker.request().await;
    torrent.news.recv().await.unwrap();
    let began = std::time::Instant::now();
    torrent.handle.stop(Duration::from_millis(500)).await;
    assert!(began.elapsed() < Duration::from_secs(10));
    assert_eq!(event_of(&tracker.request().await), Some("stopped"));
}

#[tokio::test]
async fn a_started_on_its_way_is_dropped_for_the_stopped() {
    let mut tracker = Scripted::start([Answer::Silence, Answer::ok(reply())]).await;
    let torrent = start(&[tracker.url("/announce")]);
    assert_eq!(event_of(&tracker.request().await), Some("started"));
    torrent.handle.stop(Duration::from_secs(20)).await;
    assert_eq!(event_of(&tracker.request().await), Some("stopped"));
}

#[tokio::test]
async fn failures_are_told_and_shown_without_secrets() {
    let refusal = "d14:failure reason12:unregisterede";
    let tracker = Scripted::start([Answer::ok(refusal)]).await;
    let mut torrent = start(&[tracker.url("/announce?passkey=S3CRET")]);
    let News::Failure { tracker: host, message } = torrent.news.recv().await.unwrap() else {
        panic!()
    };
    assert_eq!(host, tracker.addr.to_string());
    assert_eq!(message, "the tracker refused: unregistered");
    assert_eq!(torrent.handle.error(), Some(message));
    assert_eq!(torrent.handle.statuses()[0].state, TrackerState::Failing);
}

#[tokio::test]
async fn every_tier_is_announced_to_and_each_tracker_says_who_we_are() {
    let mut trackers = Vec::new();
    for external in [[203, 0, 113, 9], [203, 0, 113, 1], [203, 0, 113, 9]] {
        trackers.push(Scripted::start([Answer::ok(reply_seeing(external))]).await);
    }
    let urls: Vec<String> = trackers.iter().map(|tracker| tracker.url("/announce")).collect();
    let mut torrent = start(&urls);
    for _ in 0..3 {
        torrent.news.recv().await.unwrap();
    }
    let votes = std::iter::from_fn(|| torrent.external.try_recv().ok());
    let mut votes: Vec<_> = votes.map(|ip| ip.to_string()).collect();
    votes.sort_unstable();
    assert_eq!(votes, ["203.0.113.1", "203.0.113.9", "203.0.113.9"]);
    assert_eq!(torrent.handle.statuses().len(), 3);
}

#[tokio::test]
async fn the_user_may_hurry_a_failed_tracker() {
    let refusal = "d14:failure reason12:unregisterede";
    let mut tracker = Scripted::start([Answer::ok(refusal), Answer::ok(reply())]).await;
    let mut torrent = start(&[tracker.url("/announce")]);
    tracker.request().await;
    torrent.news.recv().await.unwrap();
    tokio::time::pause();
    torrent.handle.announce_now(Prompt::User);
    tokio::time::advance(Duration::from_secs(6)).await;
    tokio::time::resume();
    assert_eq!(event_of(&tracker.request().await), Some("started"));
    assert!(matches!(torrent.news.recv().await, Some(News::Reply { .. })));
}

#[tokio::test]
async fn dropping_the_handle_ends_the_task() {
    let mut tracker = Scripted::start([Answer::Silence]).await;
    let torrent = start(&[tracker.url("/announce")]);
    tracker.request().await;
    let Announcing { handle, mut peers, .. } = torrent;
    drop(handle);
    assert_eq!(peers.recv().await, None);
}

/// Ten thousand torrents have ten thousand announcers.
#[test]
fn an_announcer_that_waits_keeps_little() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let _runtime = runtime.enter();
    let client = client();
    let spawn = || {
        let schedule = ScheduleConfig {
            tiers: vec![vec!["http://127.0.0.1:1/announce".to_owned()]],
            policy: Policy::AllTiers,
            complete: true,
            seed: 1,
        };
        Announcer::spawn(client.clone(), config(), schedule, Numbers::default, drop::<News>)
    };
    let _first = spawn(); // the runtime's own memory
    let mut handle = None;
    let spawned = allocation_counter::measure(|| handle = Some(spawn()));
    println!("{} bytes", spawned.bytes_current);
    assert!(spawned.bytes_current <= 3 * 1024, "{} bytes", spawned.bytes_current);
    drop(handle);
}
