//! Local discovery (BEP 14): tells our network by multicast which torrents are here, and hears who else
//! has them. Private torrents (BEP 27) have no part in it. Those that only a link is known of do: which of
//! them are private shows when there is metadata, and then they leave the peers that came by this way.

use std::collections::{HashMap, HashSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Weak};
use std::time::Duration;

use metainfo::InfoHash;
use tokio::net::UdpSocket;
use wire::{LOCAL_GROUP_V4, LOCAL_GROUP_V6, LOCAL_TORRENTS_MAX, LocalSearch};

use crate::clock::Clock;
use crate::net::{Network, Purpose};
use crate::session::SessionShared;

/// How often each torrent is told of (BEP 14).
const EVERY: Duration = Duration::from_mins(5);
/// How often one datagram is sent, if there is anything to tell: ten thousand torrents are told of within
/// their five minutes, and a new one soon.
const STEP: Duration = Duration::from_millis(500);
/// Within this, so many datagrams of one address are looked at, and so many of all.
const WINDOW: Duration = Duration::from_secs(10);
const HEARD_OF_ONE_MAX: u32 = 50;
const HEARD_MAX: u32 = 500;
/// The largest datagram that is read whole; clients keep to what fits into a packet.
const DATAGRAM_BYTES: usize = 2048;

/// Tells and listens for as long as the session lives.
pub(crate) fn start(session: &Arc<SessionShared>) {
    let cookie = format!("{:016x}", fastrand::u64(..));
    for group in [SocketAddr::from(LOCAL_GROUP_V4), SocketAddr::from(LOCAL_GROUP_V6)] {
        let (network, weak) = (session.network.clone(), Arc::downgrade(session));
        tokio::spawn(discover(network, weak, group, cookie.clone()));
    }
}

/// By one group, and anew when the interface that we are bound to is another.
async fn discover(
    network: Network,
    session: Weak<SessionShared>,
    group: SocketAddr,
    cookie: String,
) {
    loop {
        let replaced = network.replaced();
        let socket = match network.multicast(group, Purpose::LocalDiscovery) {
            Ok(socket) => socket,
            Err(error) => {
                tracing::info!(%group, %error, "no local discovery by this group");
                replaced.await;
                continue;
            }
        };
        tokio::select! {
            () = tell(session.clone(), &socket, group, &cookie) => return,
            () = listen(session.clone(), &socket, &cookie) => return,
            () = replaced => {}
        }
    }
}

async fn tell(session: Weak<SessionShared>, socket: &UdpSocket, group: SocketAddr, cookie: &str) {
    let (mut told, mut told_port) = (Told::default(), 0);
    let clock = Clock::start();
    loop {
        tokio::time::sleep(STEP).await;
        let Some(session) = session.upgrade() else { return };
        let port = session.port_on_link();
        if std::mem::replace(&mut told_port, port) != port {
            told = Told::default();
        }
        let info_hashes = told.next(clock.now(), &not_private(&session));
        if port == 0 || info_hashes.is_empty() {
            continue;
        }
        let search = LocalSearch { port, info_hashes, cookie: Some(cookie.to_owned()) };
        if let Err(error) = socket.send_to(&search.encode(group), group).await {
            tracing::debug!(%group, %error, "the network was not told of our torrents");
        }
    }
}

async fn listen(session: Weak<SessionShared>, socket: &UdpSocket, cookie: &str) {
    let mut bytes = [0; DATAGRAM_BYTES];
    let mut patience = Patience::default();
    loop {
        let received = socket.recv_from(&mut bytes).await;
        let Some(session) = session.upgrade() else { return };
        let (length, from) = match received {
            Ok(received) => received,
            Err(error) => {
                tracing::debug!(%error, "nothing heard of our network");
                tokio::time::sleep(STEP).await;
                continue;
            }
        };
        if patience.hears(session.clock.now(), from.ip()) {
            hear(&session, from, &bytes[..length], cookie);
        }
    }
}

/// Somebody on our network says what it has.
fn hear(session: &SessionShared, from: SocketAddr, datagram: &[u8], cookie: &str) {
    let Some(search) = LocalSearch::decode(datagram) else { return };
    let mut addr = from; // an address of one link keeps the link's number
    addr.set_port(search.port);
    for info_hash in wanted(session, &search, cookie) {
        session.candidates(info_hash, swarm::Source::LocalDiscovery, vec![addr]);
    }
}

/// Our torrents, and those that we look for, that somebody else has.
fn wanted(session: &SessionShared, search: &LocalSearch, cookie: &str) -> Vec<InfoHash> {
    if search.cookie.as_deref() == Some(cookie) {
        return Vec::new(); // that was us
    }
    let is_ours = |info_hash: &&InfoHash| match session.find(info_hash) {
        Some((shared, _)) => !shared.torrent.info.is_private(),
        None => session.searches.find(info_hash).is_some(),
    };
    search.info_hashes.iter().filter(is_ours).copied().collect()
}

/// What may be told of.
fn not_private(session: &SessionShared) -> Vec<InfoHash> {
    let all = session.all();
    let public = all.iter().filter(|shared| !shared.torrent.info.is_private());
    let mut names: Vec<InfoHash> = public.flat_map(|shared| shared.names()).collect();
    let searched = session.searches.names().into_iter();
    names.extend(searched.filter(|name| session.find(name).is_none()));
    names
}

/// When each torrent was told of last.
#[derive(Default)]
struct Told(HashMap<InfoHash, Duration>);

impl Told {
    /// The torrents for the next datagram.
    fn next(&mut self, now: Duration, torrents: &[InfoHash]) -> Vec<InfoHash> {
        if self.0.len() > torrents.len() {
            let there: HashSet<_> = torrents.iter().collect();
            self.0.retain(|info_hash, _| there.contains(info_hash));
        }
        let is_due =
            |info_hash: &&InfoHash| self.0.get(*info_hash).is_none_or(|told| now >= *told + EVERY);
        let due: Vec<_> =
            torrents.iter().filter(is_due).take(LOCAL_TORRENTS_MAX).copied().collect();
        self.0.extend(due.iter().map(|info_hash| (*info_hash, now)));
        due
    }
}

/// How much was heard lately. What is more is not looked at.
#[derive(Default)]
struct Patience {
    since: Duration,
    heard: u32,
    of: HashMap<IpAddr, u32>,
}

impl Patience {
    /// Whether to look at one more of this address.
    fn hears(&mut self, now: Duration, from: IpAddr) -> bool {
        if now >= self.since + WINDOW {
            *self = Self { since: now, ..Self::default() };
        }
        if self.heard >= HEARD_MAX {
            return false;
        }
        let of_one = self.of.entry(from).or_default();
        let hears = *of_one < HEARD_OF_ONE_MAX;
        *of_one += u32::from(hears);
        self.heard += u32::from(hears);
        hears
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use metainfo::{CreateOptions, Torrent};

    use super::*;
    use crate::{AddTorrent, Session, TorrentHandle};

    fn hash(number: u8) -> InfoHash {
        InfoHash([number; 20])
    }

    #[test]
    fn each_is_told_of_every_five_minutes_and_a_new_one_at_once() {
        let mut told = Told::default();
        let at = Duration::from_secs;
        let many: Vec<InfoHash> = (0..50).map(hash).collect();
        let sizes = [0, 1, 2, 3].map(|second| told.next(at(second), &many).len());
        assert_eq!(sizes, [20, 20, 10, 0]);
        let more = [&many[..], &[hash(99)]].concat();
        assert_eq!(told.next(at(4), &more), [hash(99)]);
        assert_eq!(told.next(at(299), &more), []);
        assert_eq!(told.next(at(300), &more).len(), 20);
        assert_eq!(told.next(at(301), &[hash(99)]), [], "not again, and the others are forgotten");
        assert_eq!(told.0.len(), 1);
    }

    #[test]
    fn a_flood_is_not_listened_to() {
        let mut patience = Patience::default();
        let ip =
            |number: u16| IpAddr::from([10, 0, number.to_be_bytes()[0], number.to_be_bytes()[1]]);
        let now = Duration::from_secs(100);
        let heard =
            |patience: &mut Patience, from| (0..100).filter(|_| patience.hears(now, from)).count();
        assert_eq!(heard(&mut patience, ip(1)), HEARD_OF_ONE_MAX as usize);
        let others: usize = (2..100).map(|number| heard(&mut patience, ip(number))).sum();
        assert_eq!(others, (HEARD_MAX - HEARD_OF_ONE_MAX) as usize);
        assert!(patience.of.len() <= HEARD_MAX as usize);
        assert!(patience.hears(now + WINDOW, ip(1)));
    }

    /// What comes within this time, which passes at once.
    async fn heard(socket: &UdpSocket, time: Duration) -> Vec<LocalSearch> {
        let (mut heard, mut bytes) = (Vec::new(), [0; DATAGRAM_BYTES]);
        let until = tokio::time::Instant::now() + time;
        loop {
            // Datagrams on loopback are there as soon as they are sent.
            match socket.try_recv(&mut bytes) {
                Ok(length) => heard.extend(LocalSearch::decode(&bytes[..length])),
                Err(_) if tokio::time::Instant::now() >= until => return heard,
                Err(_) => tokio::time::sleep(STEP / 2).await,
            }
        }
    }

    /// In a time of its own: five minutes pass at once.
    #[tokio::test(start_paused = true)]
    async fn the_network_is_told_again_every_five_minutes() {
        let dir = tempfile::tempdir().unwrap();
        let here = std::net::Ipv4Addr::LOCALHOST;
        let session = Session::builder().bind(here.into()).start().await.unwrap();
        let torrent = add(&session, dir.path(), "public", false).await;
        let network = Network::bound_to(here.into());
        let open = || network.udp((here, 0).into(), Purpose::LocalDiscovery).unwrap();
        let (ours, theirs) = (open(), open());
        let group = theirs.local_addr().unwrap();
        let weak = Arc::downgrade(&session.inner.shared);
        let telling = tokio::spawn(async move { tell(weak, &ours, group, "ours").await });

        let port = session.listen_addresses()[0].port();
        let expected = LocalSearch {
            port,
            info_hashes: vec![torrent.info_hash()],
            cookie: Some("ours".into()),
        };
        let expected = std::slice::from_ref(&expected);
        assert_eq!(heard(&theirs, 2 * STEP).await, expected, "at once");
        let early = heard(&theirs, EVERY * 9 / 10).await;
        assert_eq!(early, [], "not for five minutes");
        for _ in 0..3 {
            assert_eq!(heard(&theirs, EVERY).await, expected, "again");
        }
        telling.abort();
        session.shutdown().await;
    }

    async fn add(session: &Session, dir: &Path, name: &str, private: bool) -> TorrentHandle {
        let path = dir.join(name);
        std::fs::write(&path, name).unwrap();
        let options = CreateOptions { private, ..CreateOptions::default() };
        let bytes = crate::create(&path, &options, |_| {}, &false.into()).unwrap();
        let torrent = Torrent::parse(&bytes).unwrap();
        let request = AddTorrent::new(torrent, dir.join("out")).use_trackers(false);
        session.add(request).await.unwrap()
    }

    #[tokio::test]
    async fn private_torrents_are_neither_told_of_nor_heard_of() {
        let dir = tempfile::tempdir().unwrap();
        let session = Session::builder().listen(false).start().await.unwrap();
        let public = add(&session, dir.path(), "public", false).await;
        let private = add(&session, dir.path(), "private", true).await;
        let shared = &session.inner.shared;
        assert_eq!(not_private(shared), [public.info_hash()]);

        let strange = hash(1);
        let search = LocalSearch {
            port: 9,
            info_hashes: vec![private.info_hash(), strange, public.info_hash()],
            cookie: Some("theirs".into()),
        };
        assert_eq!(wanted(shared, &search, "ours"), [public.info_hash()]);
        assert_eq!(wanted(shared, &search, "theirs"), [], "what we said ourselves");

        let from = SocketAddr::from(([127, 0, 0, 1], 6771));
        hear(shared, from, &search.encode(from), "ours");
        let known = async {
            while public.stats().peers_known == 0 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(Duration::from_mins(1), known).await.expect("it was heard of");

        // One that is looked for by a link may be public.
        let link = format!("magnet:?xt=urn:btih:{strange}").parse().unwrap();
        let following = session.follow(crate::FollowMagnet::new(link)).unwrap();
        assert_eq!(not_private(shared), [public.info_hash(), strange]);
        assert_eq!(wanted(shared, &search, "ours"), [strange, public.info_hash()]);
        hear(shared, from, &search.encode(from), "ours");
        assert_eq!(following.stats().metadata.peers_known, 1);
        session.shutdown().await;
    }
}
