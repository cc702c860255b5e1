//! From the search for metadata to the swarm: nothing that a peer said is lost, and nothing is said to
//! it twice that may be said once.

use std::time::Duration;

use metainfo::{BLOCK_LENGTH, Geometry, InfoHash, InfoHashes};
use proptest::prelude::*;
use wire::{
    Bitfield, BlockRequest, Decoded, ExtendedHandshake, Extension, Limits, MetadataMessage, PeerId,
    Reserved, decode,
};

use super::*;
use crate::{Action, Config, MetadataAction, MetadataConfig, PeerStats, Source, Swarm};

const PIECES: u32 = 20;
const NOW: Duration = Duration::from_secs(100);
const THEIR_ID: u8 = 77;
const OWN_ID: PeerId = PeerId([b'm'; 20]);

fn hello(outgoing: bool, reserved: Reserved) -> Hello {
    let addr = SocketAddr::from(([192, 0, 2, 1], 6881));
    Hello { addr, peer_id: PeerId([1; 20]), outgoing, reserved }
}

/// A search in which one peer said `messages`, and then gave the metadata.
struct Search {
    brain: Metadata,
    peer: PeerKey,
    info: Vec<u8>,
}

impl Search {
    fn new(hello: Hello) -> Self {
        let payload = metainfo::CreatePayload::File { length: 100, executable: false };
        let file =
            metainfo::create(b"name", &payload, &[7; 20], &metainfo::CreateOptions::default())
                .unwrap();
        let torrent = metainfo::Torrent::parse(&file).unwrap();
        let config = MetadataConfig {
            hashes: InfoHashes::new(Some(torrent.info_hash), None).unwrap(),
            listen_ports: 1.into(),
            client_version: "test".into(),
            own_peer_id: OWN_ID,
            seed: 1,
        };
        let mut brain = Metadata::new(NOW, config);
        let peer = brain.add_peer(NOW, hello).unwrap();
        Self { brain, peer, info: torrent.info_bytes.to_vec() }
    }

    fn hears(&mut self, message: &Message<'_>) {
        self.brain.handle(NOW, self.peer, message);
    }

    fn introduction(&self, port: Option<u16>) -> Vec<u8> {
        let theirs = ExtendedHandshake {
            extensions: vec![("ut_metadata".into(), THEIR_ID), ("ut_pex".into(), 3)],
            metadata_size: Some(self.info.len() as u32),
            client: Some("theirs".into()),
            port,
            ..ExtendedHandshake::default()
        };
        theirs.encode()
    }

    /// The peer introduces itself and gives all of it.
    fn is_given(&mut self) {
        let payload = self.introduction(Some(7000));
        self.hears(&Message::Extended { id: 0, payload: &payload });
        let total_size = self.info.len() as u32;
        let payload =
            MetadataMessage::Data { piece: 0, total_size, bytes: &self.info.clone() }.encode();
        self.hears(&Message::Extended { id: Extension::Metadata.our_id(), payload: &payload });
        let found = std::iter::from_fn(|| self.brain.poll_action())
            .any(|action| matches!(action, MetadataAction::Found(_)));
        assert!(found);
    }
}

fn swarm(have: Bitfield) -> Swarm {
    Swarm::new(
        NOW,
        Config {
            have,
            metadata_size: Some(1),
            listen_port: Some(6881),
            client_version: "test".into(),
            ..Config::new(
                Geometry::new(u64::from(PIECES * BLOCK_LENGTH), BLOCK_LENGTH).unwrap(),
                InfoHash([0xaa; 20]),
                OWN_ID,
                7,
            )
        },
    )
}

/// What the swarm makes of messages as they are on the wire; false when it wants the peer no more.
fn replay(swarm: &mut Swarm, peer: PeerKey, mut said: &[u8]) -> bool {
    let limits = Limits {
        bitfield_bytes: PIECES.div_ceil(8),
        block_bytes: BLOCK_LENGTH,
        extended_bytes: 128 * 1024,
    };
    loop {
        match decode(said, &limits) {
            Ok(Decoded::Message { message, consumed }) => {
                if swarm.handle(NOW, peer, &message).is_err() {
                    return false;
                }
                said = &said[consumed..];
            }
            Ok(Decoded::Incomplete { .. }) => {
                assert!(said.is_empty(), "whole messages alone");
                return true;
            }
            other => {
                assert!(other.is_err(), "{other:?}");
                return false;
            }
        }
    }
}

fn sent(swarm: &mut Swarm) -> Vec<Action> {
    std::iter::from_fn(|| swarm.poll_action()).collect()
}

#[test]
fn what_was_said_of_pieces_holds_in_the_swarm() {
    let mut search = Search::new(hello(true, Reserved::ours()));
    let mut set = Bitfield::new(PIECES);
    [2, 3, 19].iter().for_each(|piece| _ = set.insert(*piece));
    search.hears(&Message::Bitfield(&set.to_wire()));
    search.hears(&Message::KeepAlive);
    search.hears(&Message::Have(5));
    search.hears(&Message::Unchoke);
    search.is_given();
    search.hears(&Message::Have(6)); // after the metadata, and before it is taken over
    let acquainted = search.brain.hand_over(search.peer).unwrap();
    assert_eq!(acquainted.listens_at, Some(acquainted.hello.addr));
    assert_eq!(search.brain.hand_over(search.peer), None, "once");
    let mut swarm = swarm(Bitfield::new(PIECES));
    swarm.add_candidates(NOW, Source::Tracker, &[acquainted.hello.addr]);
    let peer = swarm.take_over(NOW, acquainted.hello, acquainted.listens_at).unwrap();
    assert_eq!(swarm.next_dial(NOW), None, "it is connected");
    assert!(replay(&mut swarm, peer, &acquainted.said));
    let [stats]: [PeerStats; 1] = swarm.peers(NOW).try_into().unwrap();
    assert_eq!((stats.progress, stats.client.as_deref()), (0.25, Some("theirs")));
    let asks = sent(&mut swarm)
        .into_iter()
        .any(|action| matches!(action, Action::Send { message: Message::Request(_), .. }));
    assert!(asks, "it has pieces, and lets us ask");
}

/// BEP 6: `have_all`, `have_none` and `bitfield` come first or not at all.
#[test]
fn nothing_is_said_twice() {
    let ours = [hello(true, Reserved::ours()), hello(true, Reserved([0, 0, 0, 0, 0, 0x10, 0, 0]))];
    for (hello, have) in ours.into_iter().flat_map(|hello| [(hello, vec![]), (hello, vec![4, 9])]) {
        let mut set = Bitfield::new(PIECES);
        have.iter().for_each(|piece| _ = set.insert(*piece));
        let mut swarm = swarm(set);
        swarm.take_over(NOW, hello, None).unwrap();
        let (mut told, mut introduced) = (Vec::new(), 0);
        for action in sent(&mut swarm) {
            match action {
                Action::Send { message: Message::Have(piece), .. } => told.push(piece),
                Action::Send { message: Message::HaveNone | Message::HaveAll, .. }
                | Action::SendBitfield { .. } => panic!("that was said"),
                Action::SendExtended { id: 0, .. } => introduced += 1,
                _ => {}
            }
        }
        assert_eq!((told, introduced), (have, 1), "and all extensions are known to it now");
    }
}

#[test]
fn who_came_to_us_is_not_dialled_where_it_listens() {
    let came = hello(false, Reserved::ours());
    let mut search = Search::new(came);
    search.is_given();
    let acquainted = search.brain.hand_over(search.peer).unwrap();
    let listens = SocketAddr::new(came.addr.ip(), 7000);
    assert_eq!(acquainted.listens_at, Some(listens));
    let mut swarm = swarm(Bitfield::new(PIECES));
    swarm.add_candidates(NOW, Source::Tracker, &[listens]);
    swarm.take_over(NOW, acquainted.hello, acquainted.listens_at).unwrap();
    assert_eq!(swarm.next_dial(NOW), None);
}

#[test]
fn lengths_and_numbers_are_checked_once_they_can_be() {
    let bad: [&[Message<'_>]; 4] = [
        &[Message::Bitfield(&[0xff; 100])],
        &[Message::Bitfield(&[0xff; 3])], // spare bits
        &[Message::Have(PIECES)],
        &[Message::HaveAll, Message::SuggestPiece(u32::MAX)],
    ];
    for messages in bad {
        let mut search = Search::new(hello(true, Reserved::ours()));
        messages.iter().for_each(|message| search.hears(message));
        search.is_given();
        let acquainted = search.brain.hand_over(search.peer).unwrap();
        let mut swarm = swarm(Bitfield::new(PIECES));
        let peer = swarm.take_over(NOW, acquainted.hello, None).unwrap();
        assert!(!replay(&mut swarm, peer, &acquainted.said), "{messages:?}");
    }
}

#[test]
fn who_says_too_much_is_forgotten_and_not_handed_over() {
    let mut search = Search::new(hello(true, Reserved::ours()));
    for _ in 0..SAID_BYTES_MAX {
        search.hears(&Message::Have(1));
        let said = &search.brain.peers[&search.peer].said;
        assert!(said.bytes.len() <= SAID_BYTES_MAX);
    }
    search.is_given();
    assert_eq!(search.brain.hand_over(search.peer), None);
    assert_eq!(search.brain.stats().peers, 1, "until it is removed");
}

#[test]
fn nobody_is_handed_over_too_early_or_who_is_being_sent_away() {
    let mut search = Search::new(hello(true, Reserved::ours()));
    assert_eq!(search.brain.hand_over(search.peer), None, "there is no metadata");
    let other = Hello { peer_id: PeerId([2; 20]), ..search.brain.peers[&search.peer].hello };
    let liar = search.brain.add_peer(NOW, other).unwrap();
    let payload = search.introduction(None);
    search.brain.handle(NOW, liar, &Message::Extended { id: 0, payload: &payload });
    let bytes = vec![0; search.info.len()];
    let total_size = bytes.len() as u32;
    let lie = MetadataMessage::Data { piece: 0, total_size, bytes: &bytes }.encode();
    let id = Extension::Metadata.our_id();
    search.brain.handle(NOW, liar, &Message::Extended { id, payload: &lie });
    search.is_given();
    assert_eq!(search.brain.hand_over(liar), None, "it lied");
    assert_eq!(search.brain.hand_over(search.peer), None, "and is at the same address");
}

/// Anything that may come before the metadata.
fn messages() -> impl Strategy<Value = Vec<Vec<u8>>> {
    let encoded = |message: Message<'_>| {
        let mut bytes = Vec::new();
        message.encode(&mut bytes);
        bytes
    };
    let block = BlockRequest { piece: 1, begin: 0, length: BLOCK_LENGTH };
    let one = prop_oneof![
        (0..PIECES + 1).prop_map(move |piece| encoded(Message::Have(piece))),
        any::<[u8; 3]>().prop_map(move |bits| encoded(Message::Bitfield(&bits))),
        (0..PIECES).prop_map(move |piece| encoded(Message::AllowedFast(piece))),
        any::<u16>().prop_map(move |port| encoded(Message::Port(port))),
        proptest::sample::select(vec![
            Message::KeepAlive,
            Message::Choke,
            Message::Unchoke,
            Message::Interested,
            Message::NotInterested,
            Message::HaveAll,
            Message::HaveNone,
            Message::Request(block),
            Message::Cancel(block),
        ])
        .prop_map(encoded),
    ];
    proptest::collection::vec(one, 0..30)
}

proptest! {
    /// Whether the swarm heard it itself, or the search did and handed it on, makes no difference.
    #[test]
    fn what_was_heard_before_is_as_good_as_heard_now(messages in messages()) {
        let mut search = Search::new(hello(true, Reserved::ours()));
        for bytes in &messages {
            let limits = Limits { bitfield_bytes: 100, block_bytes: 0, extended_bytes: 100 };
            if let Ok(Decoded::Message { message, .. }) = decode(bytes, &limits) {
                search.hears(&message);
            }
        }
        search.is_given();
        let acquainted = search.brain.hand_over(search.peer).unwrap();
        let mut taken = swarm(Bitfield::new(PIECES));
        let peer = taken.take_over(NOW, acquainted.hello, acquainted.listens_at).unwrap();
        let mut direct = swarm(Bitfield::new(PIECES));
        let twin = direct.add_peer(NOW, acquainted.hello).unwrap();
        let payload = search.introduction(Some(7000));
        let mut last = Vec::new();
        Message::Extended { id: 0, payload: &payload }.encode(&mut last);
        let whole = [messages.concat(), last].concat();
        prop_assert_eq!(
            replay(&mut taken, peer, &acquainted.said),
            replay(&mut direct, twin, &whole)
        );
        prop_assert_eq!(taken.peers(NOW), direct.peers(NOW));
        let greetings = |action: &Action| matches!(action, Action::Send { message: Message::HaveNone, .. });
        let mut direct = sent(&mut direct);
        direct.retain(|action| !greetings(action));
        prop_assert_eq!(sent(&mut taken), direct);
    }
}
