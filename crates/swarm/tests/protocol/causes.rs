//! What the peers' time goes to: one thing is wrong in each test, and it is named before all else.

use std::time::Duration;

use swarm::{Hello, Settings, Source, Spending, Spent};
use wire::{Bitfield, Message};

use crate::script::{Script, addr, config, fast, plain};

/// What most of the time went to.
fn first(script: &Script) -> Spent {
    most(&script.swarm.spending(script.now)).what
}

fn most(lines: &[Spending]) -> Spending {
    *lines.iter().max_by_key(|line| line.time).unwrap()
}

fn time(script: &Script, what: Spent) -> Duration {
    let lines = script.swarm.spending(script.now);
    lines.iter().find(|line| line.what == what).map_or(Duration::ZERO, |line| line.time)
}

/// Half a minute passes, in which the brain is asked what it wants.
fn waits(script: &mut Script) {
    for _ in 0..30 {
        script.seconds_later(1);
        script.actions();
    }
}

#[test]
fn peers_that_choke() {
    let mut script = Script::leecher(8);
    for number in 1..4 {
        let peer = script.joins(plain(number));
        script.has_all(peer);
    }
    waits(&mut script);
    let line = most(&script.swarm.spending(script.now));
    let expected = Spending { what: Spent::Choked, time: Duration::from_secs(90), peers: 3 };
    assert_eq!(line, expected);
}

#[test]
fn a_peer_that_chokes_once_its_allowed_pieces_are_there() {
    let mut script = Script::leecher(8);
    let peer = script.joins(fast(1));
    script.says(peer, &Message::HaveAll);
    script.says(peer, &Message::AllowedFast(3));
    let asked = script.requests(peer);
    assert_eq!(script.swarm.peers(script.now)[0].spent, Spent::Unanswered, "it was asked just now");
    for block in asked {
        script.gives(peer, block);
    }
    script.actions();
    waits(&mut script);
    assert_eq!(first(&script), Spent::Choked, "there is no other such piece");
    assert_eq!(time(&script, Spent::Unanswered), Duration::ZERO);
}

#[test]
fn peers_without_anything_new() {
    let mut script = Script::leecher(8);
    let source = script.source(plain(1), &[0, 1]);
    script.delivers(source);
    script.has(source, &[0]);
    waits(&mut script);
    assert_eq!(first(&script), Spent::NothingNew);
}

#[test]
fn a_peer_that_never_answers() {
    let mut script = Script::leecher(8);
    script.source(plain(1), &[0, 1]);
    script.actions();
    script.seconds_later(5);
    assert_eq!(first(&script), Spent::Unanswered, "before its time is up");
    waits(&mut script);
    assert_eq!(time(&script, Spent::Unanswered), Duration::from_secs(35));
}

#[test]
fn a_peer_that_stops_answering_is_charged_from_its_last_block_on() {
    let mut script = Script::leecher(64);
    let peer = script.source(plain(1), &(0..64).collect::<Vec<_>>());
    let mut asked = std::collections::VecDeque::new();
    for _ in 0..20 {
        asked.extend(script.requests(peer));
        script.later(Duration::from_millis(100));
        script.gives(peer, asked.pop_front().unwrap());
    }
    waits(&mut script);
    let (sent, silent) = (time(&script, Spent::Sending), time(&script, Spent::Unanswered));
    let before = time(&script, Spent::Window);
    assert_eq!(silent, Duration::from_millis(30_100), "the first block took a tenth of a second");
    assert_eq!(sent + before, Duration::from_millis(1900));
}

#[test]
fn a_peer_that_rejects() {
    let mut script = Script::leecher(8);
    let peer = script.joins(fast(1));
    script.says(peer, &Message::HaveAll);
    script.says(peer, &Message::Unchoke);
    for _ in 0..300 {
        for block in script.requests(peer) {
            script.says(peer, &Message::RejectRequest(block));
        }
        script.later(Duration::from_millis(100));
    }
    assert_eq!(first(&script), Spent::Rejecting);
}

#[test]
fn a_peer_whose_pieces_are_all_asked_of_others() {
    let mut script = Script::leecher(2);
    let slow = script.source(plain(1), &[0]);
    let asked = script.requests(slow);
    assert_eq!(asked.len(), 4);
    script.source(plain(2), &[0]);
    // The slow one sends, and the other could not have it sooner.
    for block in asked {
        script.later(Duration::from_millis(10));
        script.actions();
        script.gives(slow, block);
    }
    let idle = script.swarm.peers(script.now)[1].clone();
    assert_eq!((idle.addr, idle.spent), (addr(2), Spent::AllAsked));
}

#[test]
fn memory_that_others_use() {
    let mut script = Script::leecher(8);
    script.swarm.set_reserve_limit(script.now, 4); // one piece
    let silent = script.joins(fast(1));
    script.says(silent, &Message::HaveAll);
    script.says(silent, &Message::AllowedFast(0));
    script.actions();
    for number in 2..6 {
        script.source(plain(number), &[1, 2, 3]);
    }
    waits(&mut script);
    assert_eq!(first(&script), Spent::Memory);
}

#[test]
fn a_rate_limit() {
    let mut script = Script::leecher(8);
    script.swarm.allow(script.now, Some(0));
    script.source(plain(1), &[1, 2, 3]);
    waits(&mut script);
    assert_eq!(first(&script), Spent::Limited);
}

#[test]
fn a_disk_that_does_not_keep_up() {
    let mut script = Script::leecher(64);
    script.swarm.set_reserve_limit(script.now, 16);
    let peer = script.source(plain(1), &(0..64).collect::<Vec<_>>());
    // It sends all that it is asked for at once; a piece takes the disk half a minute.
    for _ in 0..10 {
        let asked = script.requests(peer);
        for block in asked {
            script.gives(peer, block);
        }
    }
    waits(&mut script);
    assert_eq!(first(&script), Spent::Disk);
    for piece in 0..64 {
        script.written(piece);
    }
    script.actions();
    script.seconds_later(1);
    assert_eq!(script.swarm.peers(script.now).len(), 1);
    assert_ne!(script.swarm.peers(script.now)[0].spent, Spent::Disk, "it is written");
}

#[test]
fn a_disk_that_refuses() {
    let mut script = Script::leecher(8);
    script.source(plain(1), &[0, 1]);
    script.swarm.set_paused(script.now, true);
    waits(&mut script);
    assert_eq!(first(&script), Spent::Paused);
}

#[test]
fn addresses_that_lead_nowhere() {
    let mut script = Script::leecher(8);
    script.swarm.add_candidates(script.now, Source::Tracker, &[addr(1), addr(2)]);
    for _ in 0..2 {
        let dialled = script.swarm.next_dial(script.now).unwrap();
        script.seconds_later(1);
        assert_ne!(first(&script), Spent::NobodyKnown);
        script.swarm.dial_failed(script.now, dialled);
    }
    assert_eq!(time(&script, Spent::Connecting), Duration::from_secs(1));
    waits(&mut script);
    assert_eq!(first(&script), Spent::Unreached);
}

#[test]
fn peers_that_leave() {
    let mut script = Script::leecher(8);
    let peer = script.joins(Hello { outgoing: true, ..plain(1) });
    script.seconds_later(1);
    script.leaves(peer);
    waits(&mut script);
    assert_eq!(first(&script), Spent::Left);
}

#[test]
fn a_peer_that_sent_bad_data() {
    let mut script = Script::leecher(1);
    let peer = script.source(plain(1), &[0]);
    for block in script.requests(peer) {
        script.gives(peer, block);
    }
    script.actions();
    script.swarm.piece_failed(script.now, 0, &[0; 4]);
    assert!(script.closes(peer).is_some());
    script.leaves(peer);
    waits(&mut script);
    assert_eq!(first(&script), Spent::Banned);
    // Somebody else comes and goes.
    let other = script.joins(plain(2));
    script.leaves(other);
    for _ in 0..3 {
        waits(&mut script);
    }
    assert_eq!(first(&script), Spent::Left);
}

#[test]
fn nobody_to_turn_to() {
    let mut script = Script::leecher(8);
    waits(&mut script);
    assert_eq!(first(&script), Spent::NobodyKnown);
    assert_eq!(time(&script, Spent::NobodyKnown), Duration::from_secs(30));
}

#[test]
fn a_seed_serves_makes_wait_and_is_not_wanted() {
    let settings = Settings { upload_slots: 1, ..Settings::default() };
    let mut script = Script::start(swarm::Config { settings, ..config(8, Bitfield::full(8)) });
    script.seconds_later(1);
    let [served, waiting, idle] = [1, 2, 3].map(|number| script.joins(plain(number)));
    script.says(served, &Message::Interested);
    script.says(waiting, &Message::Interested);
    script.seconds_later(5);
    let doing: Vec<Spent> = script.swarm.peers(script.now).iter().map(|peer| peer.spent).collect();
    assert_eq!(doing, [Spent::Serving, Spent::NoSlot, Spent::Unwanted]);
    for peer in [served, waiting, idle] {
        script.leaves(peer);
    }
    script.seconds_later(1);
    for (what, seconds) in
        [(Spent::Serving, 5), (Spent::NoSlot, 5), (Spent::Unwanted, 5), (Spent::Unvisited, 2)]
    {
        assert_eq!(time(&script, what), Duration::from_secs(seconds), "{what:?}");
    }
}
