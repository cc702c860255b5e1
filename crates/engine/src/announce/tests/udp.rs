//! One question over UDP, with a tracker that is scripted datagram by datagram.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use tokio::net::UdpSocket;
use tokio::time::{Instant, advance, pause, resume, timeout};
use tracker::ReplyError;
use tracker::udp::UdpError;

use super::*;

/// A tracker's socket.
struct Script(UdpSocket);

/// A datagram that a client sent.
struct Asked {
    connection: u64,
    action: u32,
    transaction: u32,
    from: SocketAddr,
    /// Of an announce.
    port: Option<u16>,
}

/// How long a test waits for what should be there at once.
const PATIENCE: Duration = Duration::from_secs(10);

const PROTOCOL_ID: u64 = 0x0417_2710_1980;

impl Script {
    async fn on(ip: impl Into<IpAddr>, port: u16) -> Self {
        Self(UdpSocket::bind((ip.into(), port)).await.unwrap())
    }

    async fn start() -> Self {
        Self::on(Ipv4Addr::LOCALHOST, 0).await
    }

    fn url(&self) -> String {
        format!("udp://{}/announce", self.0.local_addr().unwrap())
    }

    async fn receive(&self) -> Asked {
        let mut buffer = [0; 2048];
        let received = timeout(PATIENCE, self.0.recv_from(&mut buffer)).await;
        let (length, from) = received.expect("a datagram").unwrap();
        assert!(length >= 16);
        let u32_at = |at: usize| u32::from_be_bytes(buffer[at..at + 4].try_into().unwrap());
        Asked {
            connection: u64::from_be_bytes(buffer[..8].try_into().unwrap()),
            action: u32_at(8),
            transaction: u32_at(12),
            from,
            port: buffer[..length]
                .get(96..98)
                .map(|port| u16::from_be_bytes(port.try_into().unwrap())),
        }
    }

    async fn answer(&self, asked: &Asked, action: u32, rest: &[u8]) {
        self.answer_as(asked.transaction, asked.from, action, rest).await;
    }

    async fn answer_as(&self, transaction: u32, to: SocketAddr, action: u32, rest: &[u8]) {
        let head = [action.to_be_bytes(), transaction.to_be_bytes()].concat();
        self.0.send_to(&[&head, rest].concat(), to).await.unwrap();
    }

    /// Gives out a connection id.
    async fn connect(&self, id: u64) {
        let asked = self.receive().await;
        assert_eq!((asked.action, asked.connection), (0, PROTOCOL_ID));
        self.answer(&asked, 0, &id.to_be_bytes()).await;
    }

    /// Answers an announce that carries `id`.
    async fn announce(&self, id: u64) {
        let asked = self.receive().await;
        assert_eq!((asked.action, asked.connection), (1, id));
        self.answer(&asked, 1, &reply()).await;
    }
}

/// Interval 1800, 1 leecher, 2 seeders, one IPv4 peer.
fn reply() -> Vec<u8> {
    let numbers = [1800_u32, 1, 2].map(u32::to_be_bytes).concat();
    [&numbers[..], &[10, 0, 0, 1, 0x1a, 0xe1]].concat()
}

/// Lets time jump without letting it run away: a paused clock would go on by itself whenever a
/// datagram is still on its way.
async fn skip(time: Duration) {
    pause();
    advance(time).await;
    resume();
}

async fn announce(
    client: &TrackerClient,
    url: &str,
) -> Result<tracker::AnnounceReply, AnnounceError> {
    client.announce(url, &request(6881), AskOptions::default()).await.merged()
}

#[tokio::test]
async fn connect_then_announce_and_the_id_is_kept() {
    let script = Script::start().await;
    let (client, url) = (client(), script.url());
    let tracker = async {
        script.connect(7).await;
        script.announce(7).await;
        script.announce(7).await;
    };
    let asking = async {
        let first = announce(&client, &url).await.unwrap();
        assert_eq!(first.peers, ["10.0.0.1:6881".parse().unwrap()]);
        assert_eq!((first.seeders, first.leechers), (Some(2), Some(1)));
        announce(&client, &url).await.unwrap();
    };
    tokio::join!(tracker, asking);
}

/// BEP 15 with BEP 7.
#[tokio::test]
async fn each_family_is_told_the_port_of_its_own() {
    let options = AskOptions { port_v6: Some(6881), ..allowing() };
    let locals: [(IpAddr, u16); 2] =
        [(Ipv4Addr::LOCALHOST.into(), 7000), (Ipv6Addr::LOCALHOST.into(), 6881)];
    for (ip, port) in locals {
        let script = Script::on(ip, 0).await;
        let tracker = async {
            script.connect(7).await;
            let asked = script.receive().await;
            assert_eq!(asked.port, Some(port));
            script.answer(&asked, 1, &[1800_u32, 0, 0].map(u32::to_be_bytes).concat()).await;
        };
        let (client, url, request) = (client(), script.url(), request(7000));
        let asking = client.announce(&url, &request, options);
        let ((), replies) = tokio::join!(tracker, asking);
        replies.merged().unwrap();
    }
}

#[tokio::test]
async fn an_id_is_not_used_after_its_minute() {
    let script = Script::start().await;
    let (client, url) = (client(), script.url());
    for id in [7, 8] {
        let tracker = async {
            script.connect(id).await;
            script.announce(id).await;
        };
        let ((), reply) = tokio::join!(tracker, announce(&client, &url));
        reply.unwrap();
        skip(Duration::from_mins(1)).await;
    }
}

#[tokio::test]
async fn lost_datagrams_are_sent_again() {
    let script = Script::start().await;
    let (client, url) = (client(), script.url());
    let tracker = async {
        let first = script.receive().await;
        skip(Duration::from_secs(15)).await;
        let second = script.receive().await;
        assert_eq!((first.action, second.action), (0, 0));
        assert_eq!(first.from, second.from);
        skip(Duration::from_secs(30)).await;
        script.connect(7).await;
        script.announce(7).await;
    };
    let ((), reply) = tokio::join!(tracker, announce(&client, &url));
    reply.unwrap();
}

#[tokio::test]
async fn a_silent_tracker_is_given_up_at_the_deadline() {
    let script = Script::start().await;
    let (client, url) = (client(), script.url());
    let tracker = async {
        script.receive().await;
        skip(Duration::from_secs(15)).await;
        script.receive().await;
        skip(Duration::from_secs(5)).await;
    };
    let options = AskOptions { deadline: Duration::from_secs(20), ..AskOptions::default() };
    let request = request(1);
    let ((), replies) = tokio::join!(tracker, client.announce(&url, &request, options));
    let error = replies.merged().unwrap_err();
    let timed_out = UdpError::TimedOut { sent: 2 };
    assert!(matches!(&error, AnnounceError::Udp(found) if *found == timed_out), "{error:?}");
}

#[tokio::test]
async fn forged_answers_are_ignored() {
    let script = Script::start().await;
    let rogue = Script::start().await;
    let (client, url) = (client(), script.url());
    let tracker = async {
        let asked = script.receive().await;
        // Right transaction, wrong source; then wrong transaction, right source; then noise.
        rogue.answer(&asked, 0, &666_u64.to_be_bytes()).await;
        let other = asked.transaction.wrapping_add(1);
        script.answer_as(other, asked.from, 0, &667_u64.to_be_bytes()).await;
        script.answer(&asked, 1, &reply()).await;
        script.answer(&asked, 0, b"short").await;
        script.0.send_to(b"", asked.from).await.unwrap();
        script.answer(&asked, 0, &7_u64.to_be_bytes()).await;
        script.announce(7).await;
    };
    let ((), reply) = tokio::join!(tracker, announce(&client, &url));
    reply.unwrap();
}

#[tokio::test]
async fn an_error_action_is_a_refusal() {
    let script = Script::start().await;
    let (client, url) = (client(), script.url());
    let tracker = async {
        script.connect(7).await;
        let asked = script.receive().await;
        script.answer(&asked, 3, b"not registered").await;
    };
    let ((), reply) = tokio::join!(tracker, announce(&client, &url));
    let Err(AnnounceError::Udp(UdpError::Reply(ReplyError::Refused { reason, .. }))) = reply else {
        panic!("{reply:?}")
    };
    assert_eq!(reason, "not registered");
}

#[tokio::test]
async fn a_stale_id_is_replaced() {
    let script = Script::start().await;
    let (client, url) = (client(), script.url());
    let tracker = async {
        script.connect(7).await;
        script.announce(7).await;
        let asked = script.receive().await; // the tracker has restarted and knows no 7
        assert_eq!((asked.action, asked.connection), (1, 7));
        script.answer(&asked, 3, b"connection id mismatch").await;
        script.connect(8).await;
        script.announce(8).await;
    };
    let asking = async {
        announce(&client, &url).await.unwrap();
        announce(&client, &url).await.unwrap();
    };
    tokio::join!(tracker, asking);
}

#[tokio::test]
async fn a_closed_port_is_told_at_once() {
    let url = Script::start().await.url();
    let error = announce(&client(), &url).await.unwrap_err();
    assert!(matches!(error, AnnounceError::Socket { .. }), "{error:?}");
}

#[tokio::test]
async fn the_next_address_is_tried() {
    let script = Script::start().await; // on 127.0.0.1; nobody is on 127.0.0.2
    let url = format!("udp://two.test:{}/announce", script.0.local_addr().unwrap().port());
    let client = client();
    let tracker = async {
        script.connect(7).await;
        script.announce(7).await;
    };
    let ((), reply) = tokio::join!(tracker, announce(&client, &url));
    reply.unwrap();
}

#[tokio::test]
async fn each_family_has_its_own_exchange() {
    let v4 = Script::start().await;
    let port = v4.0.local_addr().unwrap().port();
    let v6 = Script::on(Ipv6Addr::LOCALHOST, port).await;
    let url = format!("udp://both.test:{port}/announce");
    let client = client();
    let on_v4 = async {
        v4.connect(4).await;
        v4.announce(4).await;
    };
    let on_v6 = async {
        v6.connect(6).await;
        let asked = v6.receive().await;
        assert_eq!((asked.action, asked.connection), (1, 6));
        let numbers = [3600_u32, 0, 5].map(u32::to_be_bytes).concat();
        let peer: Ipv6Addr = "2001:db8::7".parse().unwrap();
        let rest = [&numbers[..], &peer.octets(), &[0x1a, 0xe1]].concat();
        v6.answer(&asked, 1, &rest).await;
    };
    let ((), (), reply) = tokio::join!(on_v4, on_v6, announce(&client, &url));
    let reply = reply.unwrap();
    assert_eq!(reply.interval, Duration::from_hours(1));
    assert_eq!((reply.seeders, reply.leechers), (Some(5), Some(1)));
    let peers = ["10.0.0.1:6881", "[2001:db8::7]:6881"].map(|peer| peer.parse().unwrap());
    assert_eq!(reply.peers, peers);
}

#[tokio::test]
async fn a_dead_family_does_not_hold_up_the_peers_of_the_other() {
    let v4 = Script::start().await;
    let port = v4.0.local_addr().unwrap().port();
    let v6 = Script::on(Ipv6Addr::LOCALHOST, port).await;
    let url = format!("udp://both.test:{port}/announce");
    let (client, request) = (client(), request(6881));
    let (early, mut seen) = tokio::sync::mpsc::unbounded_channel();
    let tell = |reply: &tracker::AnnounceReply| early.send(reply.peers.len()).unwrap();
    let asking = client.announce_each(&url, &request, AskOptions::default(), tell);
    let trackers = async {
        v4.connect(4).await;
        v4.announce(4).await;
        v6.receive().await; // and silence
        assert_eq!(seen.recv().await, Some(1));
        skip(Duration::from_secs(20)).await;
    };
    let began = Instant::now();
    let ((), replies) = tokio::join!(trackers, asking);
    assert!(began.elapsed() < Duration::from_secs(30), "it waited for the dead family");
    assert!(matches!(replies.v6, Some(Err(_))));
    assert_eq!(replies.merged().unwrap().peers.len(), 1);
}

#[tokio::test]
async fn scrape_over_udp() {
    let script = Script::start().await;
    let (client, url) = (client(), script.url());
    let tracker = async {
        script.connect(7).await;
        let asked = script.receive().await;
        assert_eq!((asked.action, asked.connection), (2, 7));
        script.answer(&asked, 2, &[5_u32, 6, 7].map(u32::to_be_bytes).concat()).await;
    };
    let hashes = [HASH];
    let ((), reply) = tokio::join!(tracker, client.scrape(&url, &hashes, AskOptions::default()));
    let counts = reply.unwrap().get(&HASH).unwrap();
    assert_eq!(
        (counts.complete, counts.downloaded, counts.incomplete),
        (Some(5), Some(6), Some(7))
    );
}
