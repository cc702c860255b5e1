//! The search for metadata (BEP 9) among peers that are honest, lie, reject or say nothing.

use metainfo::InfoHashV2;
use wire::{METADATA_PIECE_LENGTH, Reserved};

use super::*;

/// An `info` value that takes about 20 bytes for each of `pieces`, and its name.
fn info(pieces: usize) -> (Vec<u8>, InfoHashes) {
    let hashes = vec![7; 20 * pieces];
    let payload =
        metainfo::CreatePayload::File { length: pieces as u64 * 16384, executable: false };
    let options =
        metainfo::CreateOptions { piece_length: Some(16384), ..metainfo::CreateOptions::default() };
    let file = metainfo::create(b"name", &payload, &hashes, &options).unwrap();
    let torrent = metainfo::Torrent::parse(&file).unwrap();
    let names = InfoHashes::new(Some(torrent.info_hash), None).unwrap();
    (torrent.info_bytes.to_vec(), names)
}

/// Answers of one peer, whatever it is asked.
#[derive(Clone, Copy, PartialEq)]
enum Manner {
    Honest,
    /// Right sizes, wrong bytes.
    Lies,
    Rejects,
    Silent,
    /// Says this size in its handshake, and has the truth.
    Claims(u32),
    /// Data messages contradict the handshake.
    Contradicts,
    /// The last piece is a byte short.
    Short,
}

struct World {
    brain: Metadata,
    info: Vec<u8>,
    now: Duration,
    peers: BTreeMap<PeerKey, Manner>,
    asked: BTreeMap<PeerKey, u32>,
    gone: Vec<(PeerKey, MetadataFault)>,
    found: Option<Vec<u8>>,
}

const THEIR_ID: u8 = 77;

impl World {
    fn new(pieces: usize) -> Self {
        let (info, hashes) = info(pieces);
        Self::of(info, hashes)
    }

    fn of(info: Vec<u8>, hashes: InfoHashes) -> Self {
        let config = MetadataConfig {
            hashes,
            listen_ports: 1.into(),
            client_version: "test".into(),
            own_peer_id: PeerId([255; 20]),
            seed: 1,
        };
        Self {
            brain: Metadata::new(Duration::ZERO, config),
            info,
            now: Duration::ZERO,
            peers: BTreeMap::new(),
            asked: BTreeMap::new(),
            gone: Vec::new(),
            found: None,
        }
    }

    fn join(&mut self, number: u8, manner: Manner) -> PeerKey {
        let hello = Hello {
            addr: SocketAddr::from(([192, 0, 2, number], 6881)),
            peer_id: PeerId([number; 20]),
            outgoing: false,
            reserved: Reserved::ours(),
        };
        let key = self.brain.add_peer(self.now, hello).unwrap();
        self.peers.insert(key, manner);
        let size = match manner {
            Manner::Claims(size) => size,
            _ => self.info.len() as u32,
        };
        let theirs = ExtendedHandshake {
            extensions: vec![("ut_metadata".into(), THEIR_ID)],
            metadata_size: Some(size),
            ..ExtendedHandshake::default()
        };
        self.extended(key, 0, &theirs.encode());
        self.settle();
        key
    }

    fn extended(&mut self, key: PeerKey, id: u8, payload: &[u8]) {
        self.brain.handle(self.now, key, &Message::Extended { id, payload });
    }

    fn settle(&mut self) {
        while let Some(action) = self.brain.poll_action() {
            match action {
                MetadataAction::SendExtended { peer, id: THEIR_ID, payload } => {
                    match MetadataMessage::decode(&payload) {
                        Some(MetadataMessage::Request { piece }) => self.answer(peer, piece),
                        other => panic!("{other:?}"),
                    }
                }
                MetadataAction::Disconnect { peer, reason } => {
                    self.gone.push((peer, reason));
                    self.brain.remove_peer(self.now, peer);
                }
                MetadataAction::Found(info) => self.found = Some(info),
                MetadataAction::SendExtended { .. } | MetadataAction::Send { .. } => {}
            }
        }
    }

    fn answer(&mut self, key: PeerKey, piece: u32) {
        *self.asked.entry(key).or_default() += 1;
        let info = self.info.clone();
        let begin = (piece * METADATA_PIECE_LENGTH) as usize;
        let end = info.len().min(begin + METADATA_PIECE_LENGTH as usize);
        let mut bytes = info.get(begin..end).unwrap_or_default().to_vec();
        let mut total_size = info.len() as u32;
        match self.peers[&key] {
            Manner::Silent => return,
            Manner::Rejects => {
                let reject = MetadataMessage::Reject { piece }.encode();
                return self.extended(key, Extension::Metadata.our_id(), &reject);
            }
            Manner::Lies => bytes.iter_mut().for_each(|byte| *byte ^= 1),
            Manner::Contradicts => total_size += 1,
            Manner::Short => drop(bytes.pop()),
            Manner::Honest | Manner::Claims(_) => {}
        }
        let data = MetadataMessage::Data { piece, total_size, bytes: &bytes }.encode();
        self.extended(key, Extension::Metadata.our_id(), &data);
    }

    fn pass(&mut self, seconds: u64) {
        for _ in 0..seconds {
            self.now += Duration::from_secs(1);
            self.brain.tick(self.now);
            self.settle();
        }
    }

    fn is_found(&self) -> bool {
        self.found.as_ref() == Some(&self.info)
    }
}

#[test]
fn one_honest_peer_is_enough() {
    for pieces in [1, 800, 5000] {
        let mut world = World::new(pieces);
        let peer = world.join(1, Manner::Honest);
        assert!(world.is_found(), "{pieces}");
        assert_eq!(world.asked[&peer], (world.info.len() as u32).div_ceil(METADATA_PIECE_LENGTH));
    }
}

#[test]
fn a_v2_name_is_enough() {
    // SHA-256("abc"), FIPS 180-2.
    let hash = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    let hash: InfoHashV2 = hash.parse().unwrap();
    let mut world = World::of(b"abc".to_vec(), InfoHashes::new(None, Some(hash)).unwrap());
    world.join(1, Manner::Honest);
    assert!(world.is_found());
}

#[test]
fn liars_are_found_out_one_by_one() {
    for manner in [Manner::Lies, Manner::Contradicts, Manner::Short] {
        let mut world = World::new(2000);
        let liars: Vec<_> = (1..=5).map(|number| world.join(number, manner)).collect();
        assert_eq!(world.found, None);
        let gone: Vec<_> = world.gone.iter().map(|(peer, _)| *peer).collect();
        assert_eq!(gone, liars);
        assert!(world.gone.iter().all(|(_, why)| *why == MetadataFault::SentBadMetadata));
        world.join(6, Manner::Honest);
        assert!(world.is_found());
        assert_eq!(world.brain.stats().failed, 5);
    }
}

#[test]
fn who_lied_is_not_let_in_again() {
    let mut world = World::new(10);
    world.join(1, Manner::Lies);
    let hello = Hello {
        addr: SocketAddr::from(([192, 0, 2, 1], 9999)),
        peer_id: PeerId([200; 20]),
        outgoing: false,
        reserved: Reserved::ours(),
    };
    assert_eq!(world.brain.add_peer(world.now, hello), Err(Refusal::Banned));
    let addr = SocketAddr::from(([192, 0, 2, 1], 7));
    world.brain.add_candidates(world.now, Source::Tracker, &[addr]);
    assert_eq!(world.brain.next_dial(world.now), None);
}

#[test]
fn a_hostile_size_stops_nobody_and_costs_nothing() {
    let mut world = World::new(2000);
    for (number, size) in [0, 1, 64 * 1024 * 1024, u32::MAX].into_iter().enumerate() {
        world.join(number as u8 + 1, Manner::Claims(size));
    }
    assert_eq!(world.found, None);
    world.join(9, Manner::Honest);
    world.pass(2);
    assert!(world.is_found());
}

#[test]
fn silence_and_rejection_only_take_time() {
    for manner in [Manner::Silent, Manner::Rejects] {
        let mut world = World::new(100);
        let peers: Vec<_> = (1..=4).map(|number| world.join(number, manner)).collect();
        world.pass(30);
        assert!(peers.iter().all(|peer| world.asked.contains_key(peer)), "each had its turn");
        assert_eq!(world.gone, []);
        // They come to have it.
        world.peers.values_mut().for_each(|manner| *manner = Manner::Honest);
        world.pass(400);
        assert!(world.is_found());
    }
}

#[test]
fn a_silent_peer_delays_the_search_by_a_second() {
    let mut world = World::new(100);
    world.join(1, Manner::Silent);
    world.join(2, Manner::Honest);
    assert_eq!(world.found, None, "the first may still answer");
    world.pass(1);
    assert!(world.is_found());
}

#[test]
fn a_rejection_is_not_asked_again_at_once() {
    let mut world = World::new(100);
    let peer = world.join(1, Manner::Rejects);
    world.pass(100);
    // At 0, 10, 30 and 70 seconds.
    assert_eq!(world.asked[&peer], 4);
}

#[test]
fn the_copy_that_is_most_agreed_on_is_asked_for_first() {
    let mut world = World::new(2000);
    let size = world.info.len() as u32;
    let first = world.join(1, Manner::Silent);
    let odd = world.join(2, Manner::Claims(size * 2));
    let agreeing = world.join(3, Manner::Silent);
    world.join(4, Manner::Silent);
    world.brain.remove_peer(world.now, first);
    world.settle();
    assert!(world.asked.contains_key(&agreeing) && !world.asked.contains_key(&odd));
}

#[test]
fn pieces_nobody_asked_for_are_dropped() {
    let mut world = World::new(100);
    let (a, b) = (world.join(1, Manner::Silent), world.join(2, Manner::Silent));
    let info = world.info.clone();
    for piece in [1, 2, u32::MAX] {
        let data = MetadataMessage::Data { piece, total_size: info.len() as u32, bytes: &info };
        world.extended(a, Extension::Metadata.our_id(), &data.encode());
        world.extended(b, Extension::Metadata.our_id(), &data.encode());
    }
    world.settle();
    assert_eq!((world.brain.stats().received, world.gone.len()), (0, 0));
}

#[test]
fn who_asks_us_is_told_that_we_have_nothing() {
    let mut world = World::new(10);
    let peer = world.join(1, Manner::Silent);
    let request = MetadataMessage::Request { piece: 3 }.encode();
    world.extended(peer, Extension::Metadata.our_id(), &request);
    let answer = world.brain.poll_action();
    let payload = MetadataMessage::Reject { piece: 3 }.encode();
    assert_eq!(answer, Some(MetadataAction::SendExtended { peer, id: THEIR_ID, payload }));
}

#[test]
fn a_crowd_that_offers_nothing_makes_room() {
    let mut world = World::new(10);
    for number in 0..PEERS_MAX as u8 {
        let hello = Hello {
            addr: SocketAddr::from(([198, 51, 100, number], 6881)),
            peer_id: PeerId([100 + number; 20]),
            outgoing: false,
            reserved: Reserved::ours(),
        };
        let key = world.brain.add_peer(world.now, hello).unwrap();
        world.peers.insert(key, Manner::Silent);
    }
    world.settle();
    world.pass(USELESS_AFTER.as_secs());
    assert_eq!(world.gone.len(), PEERS_MAX);
    world.join(1, Manner::Honest);
    assert!(world.is_found());
}

#[test]
fn the_silent_go_and_the_quiet_hear_from_us() {
    let mut world = World::new(10);
    let peer = world.join(1, Manner::Claims(0));
    world.brain.tick(Duration::from_secs(100));
    let kept = std::iter::from_fn(|| world.brain.poll_action())
        .any(|it| it == MetadataAction::Send { peer, message: Message::KeepAlive });
    assert!(kept);
    world.now = Duration::from_secs(100);
    world.pass(SILENT.as_secs());
    assert_eq!(world.gone, [(peer, MetadataFault::Silent)]);
}

#[test]
fn addresses_are_dialled_and_handed_on() {
    let mut world = World::new(10);
    let addr = SocketAddr::from(([192, 0, 2, 40], 5));
    world.brain.add_candidates(world.now, Source::User, &[addr]);
    assert_eq!(world.brain.next_dial(world.now), Some(addr));
    assert_eq!(world.brain.stats().half_open, 1);
    world.brain.dial_failed(world.now, addr);
    assert_eq!(world.brain.next_dial(world.now), None, "not at once");
    assert_eq!(world.brain.candidates(), [(Source::User, addr)]);
}

fn offering(number: u8, addr: [u8; 4]) -> Hello {
    Hello {
        addr: SocketAddr::from((addr, 7000 + u16::from(number))),
        peer_id: PeerId([number; 20]),
        outgoing: false,
        reserved: Reserved::ours(),
    }
}

impl World {
    /// Takes all places with peers that offer the metadata and never send it.
    fn fill_with_silent(&mut self, addr: impl Fn(u8) -> [u8; 4]) {
        for number in 100..100 + PEERS_MAX as u8 {
            let key = self.brain.add_peer(self.now, offering(number, addr(number))).unwrap();
            self.peers.insert(key, Manner::Silent);
            let theirs = ExtendedHandshake {
                extensions: vec![("ut_metadata".into(), THEIR_ID)],
                metadata_size: Some(self.info.len() as u32),
                ..ExtendedHandshake::default()
            };
            self.extended(key, 0, &theirs.encode());
        }
        self.settle();
    }
}

#[test]
fn a_crowd_that_offers_and_never_gives_makes_room() {
    let mut world = World::new(10);
    world.fill_with_silent(|number| [198, 51, 100, number]);
    let refused = world.brain.add_peer(world.now, offering(1, [192, 0, 2, 1]));
    assert_eq!(refused, Err(Refusal::Full), "none of them was asked in vain yet");
    let addr = SocketAddr::from(([192, 0, 2, 2], 5));
    world.brain.add_candidates(world.now, Source::Tracker, &[addr]);
    assert_eq!(world.brain.next_dial(world.now), None);
    world.pass(STALLED.as_secs() + 1);
    assert_eq!(world.gone, [], "as long as nobody else is there");
    assert_eq!(world.brain.next_dial(world.now), Some(addr));
    world.join(3, Manner::Honest);
    assert_eq!(world.gone.len(), 1, "{:?}", world.gone);
    assert_eq!(world.gone[0].1, MetadataFault::MadeRoom);
    world.pass(PEERS_MAX as u64 / COPIES_MAX as u64 * STALLED.as_secs() + 60); // each has its turn
    assert!(world.is_found());
}

#[test]
fn one_host_with_all_the_places_gives_one_to_who_comes_from_elsewhere() {
    let mut world = World::new(10);
    world.fill_with_silent(|_| [198, 51, 100, 1]);
    let again = world.brain.add_peer(world.now, offering(1, [198, 51, 100, 1]));
    assert_eq!(again, Err(Refusal::Full));
    world.join(3, Manner::Honest);
    world.pass(2);
    assert!(world.is_found());
}
