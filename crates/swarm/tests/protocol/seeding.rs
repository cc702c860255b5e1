//! Limits of seeding, and one piece at a time (BEP 16).

use std::time::Duration;

use swarm::{Action, PeerKey, SeedLimit, SeedLimits, Seeded, Settings};
use wire::{Bitfield, ExtendedHandshake, Message};

use crate::script::{PIECE, Script, config, extended, fast, plain, whole};

fn enough(script: &mut Script) -> Vec<SeedLimit> {
    let limit = |action| match action {
        Action::SeededEnough { limit } => Some(limit),
        _ => None,
    };
    script.actions().into_iter().filter_map(limit).collect()
}

#[test]
fn a_ratio_is_of_what_is_there_and_told_once() {
    let mut script = Script::seed(4);
    let peer = script.joins(plain(1));
    let limits = SeedLimits { ratio: Some(1.5), ..SeedLimits::default() };
    script.swarm.set_seed_limits(script.now, limits, false);
    for _ in 0..5 {
        script.swarm.uploaded(script.now, peer, PIECE);
    }
    assert_eq!(enough(&mut script), []);
    script.swarm.uploaded(script.now, peer, PIECE);
    script.swarm.uploaded(script.now, peer, PIECE);
    assert_eq!(enough(&mut script), [SeedLimit::Ratio]);
    // A higher one, while it runs.
    let limits = SeedLimits { ratio: Some(2.0), ..SeedLimits::default() };
    script.swarm.set_seed_limits(script.now, limits, false);
    assert_eq!(enough(&mut script), []);
    script.swarm.uploaded(script.now, peer, PIECE);
    assert_eq!(enough(&mut script), [SeedLimit::Ratio]);
}

#[test]
fn time_counts_from_when_it_is_complete_and_idleness_from_the_last_byte() {
    let limits = |time: Option<u64>, idle: Option<u64>| SeedLimits {
        ratio: None,
        time: time.map(Duration::from_secs),
        idle: idle.map(Duration::from_secs),
    };
    let mut script = Script::seed(4);
    script.swarm.set_seed_limits(script.now, limits(Some(60), None), false);
    let due = script.swarm.next_timeout().unwrap();
    assert_eq!(due, script.now + Duration::from_mins(1), "it is woken for that");
    script.seconds_later(59);
    assert_eq!(enough(&mut script), []);
    script.seconds_later(1);
    assert_eq!(enough(&mut script), [SeedLimit::Time]);
    assert_eq!(script.swarm.next_timeout(), None, "and then rests");

    let mut script = Script::leecher(1);
    script.swarm.set_seed_limits(script.now, limits(Some(60), None), false);
    let peer = script.source(plain(1), &[0]);
    script.seconds_later(100);
    assert_eq!(enough(&mut script), []);
    script.seconds_later(1);
    script.delivers(peer);
    script.delivers(peer);
    script.written(0);
    script.seconds_later(0);
    script.seconds_later(59);
    assert_eq!(enough(&mut script), []);
    script.seconds_later(1);
    assert_eq!(enough(&mut script), [SeedLimit::Time]);

    let mut script = Script::seed(4);
    let peer = script.joins(plain(1));
    script.swarm.set_seed_limits(script.now, limits(Some(100), Some(10)), false);
    script.seconds_later(9);
    script.swarm.uploaded(script.now, peer, 1);
    script.seconds_later(9);
    assert_eq!(enough(&mut script), []);
    script.seconds_later(1);
    assert_eq!(enough(&mut script), [SeedLimit::Idle]);
}

#[test]
fn part_of_a_torrent_counts_only_when_it_downloads_nothing() {
    let mut have = Bitfield::new(4);
    have.insert(1);
    let limits = SeedLimits { time: Some(Duration::from_secs(5)), ..SeedLimits::default() };
    for only_seeds in [false, true] {
        let mut script = Script::start(config(4, have.clone()));
        script.swarm.set_seed_limits(script.now, limits, only_seeds);
        script.seconds_later(6);
        assert_eq!(!enough(&mut script).is_empty(), only_seeds);
    }
}

fn super_seed(pieces: u32) -> Script {
    let settings = Settings { super_seed: true, ..Settings::default() };
    Script::start(swarm::Config { settings, ..config(pieces, Bitfield::full(pieces)) })
}

fn shown(messages: &[Message<'_>]) -> Vec<u32> {
    let have = |message: &Message<'_>| match message {
        Message::Have(piece) => Some(*piece),
        _ => None,
    };
    messages.iter().filter_map(have).collect()
}

#[test]
fn each_is_shown_another_piece_and_the_next_when_it_was_passed_on() {
    let mut script = super_seed(20);
    let (a, b) = (script.joins(fast(1)), script.joins(extended(2)));
    let (mut to_a, mut to_b) = (Vec::new(), Vec::new());
    for action in script.actions() {
        match action {
            Action::Send { peer, message } if peer == a => to_a.push(message),
            Action::Send { peer, message } if peer == b => to_b.push(message),
            Action::SendBitfield { .. } => panic!("it tells of everything"),
            Action::SendExtended { payload, .. } => {
                assert_eq!(ExtendedHandshake::decode(&payload).unwrap().upload_only, None);
            }
            _ => {}
        }
    }
    assert_eq!(to_a[0], Message::HaveNone);
    let (first, other) = (shown(&to_a), shown(&to_b));
    assert!(first.len() == 1 && other.len() == 1 && first != other, "{first:?} {other:?}");
    // It may ask for that, and for no more.
    script.says(a, &Message::Interested);
    script.says(a, &Message::Request(whole(first[0], 0)));
    script.says(a, &Message::Request(whole(other[0], 0)));
    let sent = script.sent(a);
    assert!(sent.contains(&Message::RejectRequest(whole(other[0], 0))), "{sent:?}");
    assert_eq!(script.takes(a, u32::MAX), [whole(first[0], 0)]);
    script.says(a, &Message::Have(first[0]));
    assert_eq!(shown(&script.sent(a)), [0; 0], "nobody else has it yet");
    script.says(b, &Message::Have(first[0]));
    let next = shown(&script.sent(a));
    assert!(next.len() == 1 && !next.contains(&first[0]) && !next.contains(&other[0]));
}

/// Shows a peer that is alone one after the other, as long as it is shown any: which.
fn gets_alone(script: &mut Script, peer: PeerKey) -> Vec<u32> {
    let mut got = Vec::new();
    loop {
        let next = shown(&script.sent(peer));
        let [piece] = next[..] else { return got };
        got.push(piece);
        script.says(peer, &Message::Have(piece));
    }
}

#[test]
fn who_is_alone_gets_one_after_the_other_and_waits_for_the_last() {
    let mut script = super_seed(5);
    let a = script.joins(plain(1));
    let mut got = gets_alone(&mut script, a);
    assert_eq!(got.len(), 4, "complete, it could leave with the only copy");
    (0..5).for_each(|_| script.seconds_later(10));
    assert_eq!(shown(&script.sent(a)), [0; 0]);
    // It comes back, and waits no longer for that.
    script.leaves(a);
    let a = script.joins(plain(1));
    for piece in &got {
        script.says(a, &Message::Have(*piece));
    }
    got.extend(shown(&script.sent(a)));
    (0..2).for_each(|_| script.seconds_later(10));
    got.extend(gets_alone(&mut script, a));
    got.sort_unstable();
    got.dedup();
    assert_eq!(got, [0, 1, 2, 3, 4]);
}

#[test]
fn the_last_piece_goes_to_who_has_least_once_the_others_are_spread() {
    let mut script = super_seed(5);
    let a = script.joins(plain(1));
    let got = gets_alone(&mut script, a);
    let (b, c) = (script.joins(plain(2)), script.joins(plain(3)));
    for piece in &got {
        assert_eq!(shown(&script.sent(b)), [0; 0], "{piece}: they get it of the first");
        script.says(b, &Message::Have(*piece));
    }
    (0..8).for_each(|_| script.seconds_later(10));
    assert_eq!(
        shown(&script.sent(a)),
        [0; 0],
        "there are others that lack some: no minute ends that"
    );
    script.sent(c); // a second copy: nobody gave it anything for long
    for piece in &got[..3] {
        script.says(c, &Message::Have(*piece));
    }
    script.seconds_later(2);
    assert_eq!(shown(&script.sent(b)), [0; 0]);
    script.says(c, &Message::Have(got[3]));
    script.seconds_later(10);
    let told = [a, b, c].map(|peer| shown(&script.sent(peer)).len());
    assert_eq!(told.iter().sum::<usize>(), 1, "{told:?}");
}

#[test]
fn who_leaves_gives_its_piece_back() {
    let mut script = super_seed(3);
    let peers = [1, 2, 3, 4].map(|number| script.joins(plain(number)));
    let mut told = [0; 4];
    for action in script.actions() {
        if let Action::Send { peer, message: Message::Have(_) } = action {
            told[peers.iter().position(|key| *key == peer).unwrap()] += 1;
        }
    }
    assert_eq!(told, [1, 1, 0, 0], "the last is kept back");
    script.leaves(peers[0]);
    assert_eq!(shown(&script.sent(peers[2])).len(), 1, "what went with it is shown to who waits");
}

#[test]
fn who_waits_for_long_is_shown_a_second_copy_and_switching_it_off_tells_all() {
    let mut script = super_seed(2);
    let peers = [script.joins(plain(1)), script.joins(plain(2)), script.joins(plain(3))];
    script.actions();
    (0..8).for_each(|_| script.seconds_later(10));
    assert_eq!(shown(&script.sent(peers[2])).len(), 1);
    script.swarm.set_super_seed(script.now, false);
    let rest = shown(&script.sent(peers[2]));
    assert_eq!(rest.len(), 1, "the other one");
}

#[test]
fn limits_count_what_was_seeded_in_earlier_runs() {
    let before = Seeded { uploaded: 3 * u64::from(PIECE), time: Duration::from_secs(50) };
    let seed = |limits| {
        let mut script = Script::seed(4);
        let peer = script.joins(plain(1));
        script.swarm.set_seeded_before(before);
        script.swarm.set_seed_limits(script.now, limits, false);
        (script, peer)
    };
    let (mut script, peer) = seed(SeedLimits { ratio: Some(1.0), ..SeedLimits::default() });
    assert_eq!(enough(&mut script), []);
    script.swarm.uploaded(script.now, peer, PIECE);
    assert_eq!(enough(&mut script), [SeedLimit::Ratio], "one piece of four");
    assert_eq!(script.swarm.stats(script.now).uploaded, u64::from(PIECE), "of this session");

    let minute = Some(Duration::from_mins(1));
    let mut script = Script::seed(4);
    script.swarm.set_seeded_before(before);
    let limits = SeedLimits { time: minute, ..SeedLimits::default() };
    script.swarm.set_seed_limits(script.now, limits, false);
    assert_eq!(script.swarm.next_timeout(), Some(script.now + Duration::from_secs(10)));
    script.seconds_later(9);
    assert_eq!(enough(&mut script), []);
    script.seconds_later(1);
    assert_eq!(enough(&mut script), [SeedLimit::Time]);

    let idle = SeedLimits { idle: minute, ..SeedLimits::default() };
    let (mut script, _) = seed(idle);
    script.seconds_later(59);
    assert_eq!(enough(&mut script), [], "of this run alone");
    script.seconds_later(1);
    assert_eq!(enough(&mut script), [SeedLimit::Idle]);
    let (mut script, peer) = seed(idle);
    script.swarm.uploaded(script.now, peer, PIECE);
    script.seconds_later(59);
    assert_eq!(enough(&mut script), [], "somebody wanted something");
    script.seconds_later(1);
    assert_eq!(enough(&mut script), [SeedLimit::Idle]);
    let (mut script, _) = seed(SeedLimits { time: Some(Duration::from_secs(50)), ..idle });
    assert_eq!(enough(&mut script), [SeedLimit::Time], "it was reached before");
}
