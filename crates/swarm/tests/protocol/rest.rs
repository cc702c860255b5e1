//! Rest: what a brain keeps when it has nothing to do, and that nobody can tell that it rested.

use std::mem::size_of;
use std::time::Duration;

use proptest::prelude::*;
use swarm::{
    Action, Config, Hello, PeerStats, Rank, ReaderId, Refusal, Resting, SeedLimit, SeedLimits,
    Seeded, Settings, Source, Stats, Wishes,
};
use wire::{Bitfield, Message};

use crate::script::{BLOCK, PIECE, Script, addr, config, fast, plain, whole};

const PIECES: u32 = 8;

impl Script {
    /// Rests, and wakes for whoever comes next.
    fn rests(&mut self, settings: Settings) {
        let have = self.swarm.have().clone();
        // Its owner knows no more than this, and not what was wanted.
        self.rests_with(Config { settings, seed: 0, ..config(self.pieces, have) });
    }

    fn rests_with(&mut self, config: Config) {
        assert!(self.swarm.may_rest());
        let empty = Script::start(self::config(1, Bitfield::new(1))).swarm;
        let resting = std::mem::replace(&mut self.swarm, empty).into_rest();
        self.swarm = resting.wakes(self.now, config);
    }

    fn again(&mut self) {
        self.rests(Settings::default());
    }
}

/// A torrent that was downloaded from a peer, which left.
fn downloaded() -> Script {
    let mut script = Script::leecher(PIECES);
    let peer = script.source(plain(1), &(0..PIECES).collect::<Vec<_>>());
    script.delivers(peer);
    assert!(script.swarm.is_complete());
    script.seconds_later(1);
    script.leaves(peer);
    script.actions();
    script
}

#[test]
fn nothing_moves_once_nobody_is_there() {
    let mut script = Script::seed(PIECES);
    let peer = script.joins(plain(1));
    script.swarm.uploaded(script.now, peer, PIECE);
    let rate = |script: &Script| script.swarm.stats(script.now).upload_rate;
    assert!(rate(&script) > 0);
    script.leaves(peer);
    assert_eq!(rate(&script), 0);
}

#[test]
fn who_has_something_to_do_does_not_rest() {
    assert!(Script::seed(PIECES).swarm.may_rest());
    assert!(!Script::leecher(PIECES).swarm.may_rest(), "it is not complete");

    let mut script = Script::seed(PIECES);
    let peer = script.joins(plain(1));
    script.actions();
    assert!(!script.swarm.may_rest(), "somebody is there");
    script.leaves(peer);
    assert!(script.swarm.may_rest());

    let (mut script, to) = (Script::seed(PIECES), addr(9));
    script.swarm.add_candidates(script.now, Source::Tracker, &[to]);
    assert!(!script.swarm.may_rest(), "somebody may be dialled");
    assert_eq!(script.swarm.next_dial(script.now), Some(to));
    assert!(!script.swarm.may_rest(), "somebody is being dialled");

    let mut script = Script::seed(PIECES);
    let limits = SeedLimits { time: Some(Duration::from_mins(1)), ..SeedLimits::default() };
    script.swarm.set_seed_limits(script.now, limits, false);
    assert!(!script.swarm.may_rest(), "it ends by itself");
    script.seconds_later(60);
    assert!(!script.swarm.may_rest(), "its owner was not told");
    assert_eq!(script.actions(), [Action::SeededEnough { limit: SeedLimit::Time }]);
    assert!(script.swarm.may_rest());

    let mut script = Script::seed(PIECES);
    script.swarm.reader_at(script.now, ReaderId(1), 0, u64::from(PIECE));
    assert!(!script.swarm.may_rest(), "somebody reads");
    script.swarm.reader_gone(script.now, ReaderId(1));
    assert!(script.swarm.may_rest());
}

#[test]
fn a_seed_that_nobody_came_to_keeps_next_to_nothing() {
    // Ten thousand of them are the measure (bench/idle.py): each byte here is 10 KB.
    assert!(size_of::<Resting>() <= 128, "{} bytes", size_of::<Resting>());
    let mut kept = None;
    let info = allocation_counter::measure(|| {
        let mut script = Script::seed(100_000);
        script.swarm.set_seed_limits(script.now, SeedLimits::default(), true);
        script.seconds_later(0);
        assert!(script.swarm.may_rest());
        kept = Some(script.swarm.into_rest());
    });
    assert_eq!(info.bytes_current, 0, "nothing happened to it");
    drop(kept);
}

#[test]
fn what_was_counted_and_where_the_time_went_stays() {
    let mut script = downloaded();
    let limits = SeedLimits { ratio: Some(2.0), ..SeedLimits::default() };
    script.swarm.set_seed_limits(script.now, limits, false);
    let peer = script.joins(plain(2));
    script.swarm.uploaded(script.now, peer, PIECE);
    script.seconds_later(100);
    script.leaves(peer);
    script.actions();
    let (stats, spending) = (script.swarm.stats(script.now), script.swarm.spending(script.now));
    assert_eq!((stats.downloaded, stats.uploaded), (u64::from(PIECES * PIECE), u64::from(PIECE)));
    script.again();
    assert_eq!(script.swarm.stats(script.now), stats);
    assert_eq!(script.swarm.spending(script.now), spending);
    // What was sent before counts towards the ratio.
    let peer = script.joins(plain(3));
    script.swarm.uploaded(script.now, peer, (2 * PIECES - 1) * PIECE - 1);
    assert!(!ended(&mut script));
    script.swarm.uploaded(script.now, peer, 1);
    assert!(ended(&mut script));
}

fn ended(script: &mut Script) -> bool {
    script.actions().iter().any(|action| matches!(action, Action::SeededEnough { .. }))
}

#[test]
fn seeding_began_when_it_began_and_ends_once() {
    let mut script = Script::seed(PIECES);
    let before = Seeded { time: Duration::from_secs(20), ..Seeded::default() };
    script.swarm.set_seeded_before(before);
    script.swarm.set_seed_limits(script.now, SeedLimits::default(), false);
    script.seconds_later(50);
    script.again();
    script.seconds_later(50);
    let limits = SeedLimits { time: Some(Duration::from_mins(2)), ..SeedLimits::default() };
    script.swarm.set_seed_limits(script.now, limits, false);
    assert!(ended(&mut script), "the time before it rested counts, and that of earlier runs");
    script.again();
    script.seconds_later(1);
    assert!(!ended(&mut script), "its owner was told");
}

#[test]
fn who_is_banned_stays_so_and_who_is_known_too() {
    let mut script = Script::leecher(1);
    let liar = script.source(plain(1), &[0]);
    script.requests(liar);
    (0..4).for_each(|block| _ = script.gives(liar, whole(0, block)));
    script.actions();
    script.swarm.piece_failed(script.now, 0, &[1; 4]);
    script.leaves(liar);
    let other = script.source(plain(2), &[0]);
    script.swarm.add_candidates(script.now, Source::User, &[addr(2)]);
    script.delivers(other);
    script.seconds_later(1);
    // Its owner's word about an address that turns out to be ours.
    assert_eq!(script.swarm.next_dial(script.now), Some(addr(2)));
    let ourselves = Hello { peer_id: crate::script::OWN_ID, outgoing: true, ..plain(2) };
    assert_eq!(script.refused(ourselves), Refusal::Ourselves);
    script.leaves(other);
    script.actions();
    script.again();
    assert_eq!(script.refused(plain(1)), Refusal::Banned);
    script.swarm.add_candidates(script.now, Source::Tracker, &[addr(2)]);
    assert_eq!(script.swarm.next_dial(script.now), None, "that is us");
}

#[test]
fn wishes_and_a_pause_hold_for_what_is_lost_later() {
    let mut script = Script::seed(4);
    let ranks = vec![Rank::Low, Rank::Skip, Rank::High, Rank::Normal];
    script.swarm.set_wishes(script.now, &Wishes { ranks, sequential: false });
    script.swarm.set_paused(script.now, true);
    script.again();
    (0..4).for_each(|piece| script.swarm.piece_lost(script.now, piece));
    assert_eq!(script.swarm.stats(script.now).wanted_left, u64::from(3 * PIECE));
    let peer = script.source(plain(1), &[0, 1, 2, 3]);
    assert_eq!(script.requests(peer), [], "it only seeds");
    script.swarm.set_paused(script.now, false);
    let mut pieces: Vec<u32> = script.requests(peer).iter().map(|block| block.piece).collect();
    pieces.dedup();
    assert_eq!(pieces.first(), Some(&2), "the most wanted is first: {pieces:?}");
    assert!(!pieces.contains(&1), "and one is not wanted at all");

    let mut script = Script::seed(20);
    script.swarm.set_wishes(script.now, &Wishes { ranks: Vec::new(), sequential: true });
    script.again();
    (0..20).for_each(|piece| script.swarm.piece_lost(script.now, piece));
    let peer = script.source(plain(1), &(0..20).collect::<Vec<_>>());
    assert_eq!(script.requests(peer).first(), Some(&whole(0, 0)), "in order");
}

#[test]
fn a_key_from_before_names_nobody() {
    let mut script = Script::seed(PIECES);
    let before = script.joins(plain(1));
    script.leaves(before);
    script.actions();
    script.again();
    let after = script.joins(plain(2));
    assert_ne!(before, after);
    script.leaves(before);
    assert_eq!(script.swarm.stats(script.now).peers, 1);
    script.leaves(after);
    script.actions();
    script.again();
    let last = script.joins(plain(3));
    assert!(last != before && last != after);
}

#[test]
fn the_configuration_is_the_one_of_now() {
    let mut script = Script::seed(PIECES);
    script.rests(Settings { super_seed: true, ..Settings::default() });
    let peer = script.joins(fast(1));
    let sent = script.sent(peer);
    assert!(matches!(sent[..], [Message::HaveNone, Message::Have(_)]), "{sent:?}");
}

/// What a visitor does.
#[derive(Debug, Clone, Copy)]
enum Act {
    Interested,
    NotInterested,
    Has(u32),
    Asks(u32, u32),
    Takes,
    Wait(u64),
}

fn visit() -> impl Strategy<Value = (u8, bool, Vec<Act>)> {
    let act = prop_oneof![
        3 => Just(Act::Interested),
        1 => Just(Act::NotInterested),
        2 => (0..PIECES).prop_map(Act::Has),
        4 => (0..PIECES, 0..4_u32).prop_map(|(piece, block)| Act::Asks(piece, block)),
        3 => Just(Act::Takes),
        2 => (0..9_u64).prop_map(Act::Wait),
    ];
    (1..6_u8, any::<bool>(), prop::collection::vec(act, 0..12))
}

/// All that can be seen of a visit.
type Seen = (Vec<Action>, Stats, Vec<PeerStats>);

/// One visit, and what it came to.
fn visited(script: &mut Script, number: u8, is_fast: bool, acts: &[Act]) -> Seen {
    let hello = if is_fast { fast(number) } else { plain(number) };
    let peer = script.joins(hello);
    let mut actions = script.actions();
    for act in acts {
        match *act {
            Act::Interested => script.says(peer, &Message::Interested),
            Act::NotInterested => script.says(peer, &Message::NotInterested),
            Act::Has(piece) => script.says(peer, &Message::Have(piece)),
            Act::Asks(piece, block) => script.says(peer, &Message::Request(whole(piece, block))),
            Act::Takes => {
                let bytes = script.takes(peer, 2 * BLOCK).iter().map(|block| block.length).sum();
                script.swarm.uploaded(script.now, peer, bytes);
            }
            Act::Wait(seconds) => script.seconds_later(seconds),
        }
        actions.extend(script.actions());
    }
    let peers = script.swarm.peers(script.now);
    script.leaves(peer);
    (actions, script.swarm.stats(script.now), peers)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// One rests between its visitors, the other does not: no visitor can tell, nor can their owners.
    #[test]
    fn nobody_can_tell(
        visits in prop::collection::vec((visit(), 11..5000_u64), 1..6),
        super_seed in any::<bool>(),
        own_download in any::<bool>(),
    ) {
        let settings = Settings { super_seed, ..Settings::default() };
        let start = || {
            if own_download {
                let mut script = downloaded();
                script.swarm.set_super_seed(script.now, super_seed);
                script
            } else {
                Script::start(Config { settings, ..config(PIECES, Bitfield::full(PIECES)) })
            }
        };
        let (mut restless, mut rests) = (start(), start());
        for ((number, is_fast, acts), pause) in visits {
            rests.rests(settings);
            for script in [&mut restless, &mut rests] {
                script.seconds_later(pause); // more than a round of the choker
            }
            let seen = [&mut restless, &mut rests].map(|it| visited(it, number, is_fast, &acts));
            let shown = seen.map(|(actions, stats, peers)| {
                let keyless = actions.iter().map(keyless).collect::<Vec<_>>();
                (keyless, stats, peers)
            });
            prop_assert_eq!(&shown[0], &shown[1]);
            let spending = [&restless, &rests].map(|it| it.swarm.spending(it.now));
            prop_assert_eq!(&spending[0], &spending[1]);
            restless.actions();
            rests.actions();
        }
    }
}

/// An action without the name of its peer: one that rested gives other names.
fn keyless(action: &Action) -> String {
    let text = format!("{action:?}");
    let Some((before, after)) = text.split_once("PeerKey {") else { return text };
    let after = after.split_once('}').map_or("", |(_, after)| after);
    format!("{before}{after}")
}
