//! Web seeds as the brain sees them: peers that have all, are asked for runs, and take nobody's place.

use std::time::Duration;

use swarm::{Action, Fault, PeerKey, Refusal, Settings, web_seed_ip};
use wire::{Bitfield, BlockRequest, Message};

use crate::script::{Script, config, extended, fast, plain};

impl Script {
    fn web_seed(&mut self, number: u16) -> PeerKey {
        self.swarm.add_web_seed(self.now, number).unwrap()
    }
}

/// The pieces of requests, each once, in order.
fn pieces(asked: &[BlockRequest]) -> Vec<u32> {
    let mut pieces: Vec<u32> = asked.iter().map(|block| block.piece).collect();
    pieces.dedup();
    pieces
}

#[test]
fn it_is_asked_at_once_and_told_nothing_else() {
    let mut script = Script::leecher(40);
    let seed = script.web_seed(0);
    let sent = script.sent(seed);
    assert!(!sent.is_empty());
    for message in sent {
        let Message::Request(block) = message else { panic!("{message:?}") };
        script.gives(seed, block);
    }
    script.delivers(seed);
    assert!(script.swarm.is_complete());
}

#[test]
fn it_is_asked_for_one_run_after_the_other() {
    for number in 0..20 {
        let mut script = Script::leecher(200);
        // Somebody has begun all over the torrent.
        let peer = script.source(plain(1), &[10, 20, 90, 150 + number]);
        script.delivers(peer);
        let seed = script.web_seed(u16::try_from(number).unwrap());
        let mut asked = Vec::new();
        while !script.swarm.is_complete() {
            let now = script.requests(seed);
            asked.extend(now.iter().copied());
            for block in now {
                script.gives(seed, block);
                let done = script.swarm.poll_action();
                let mut actions: Vec<Action> = done.into_iter().chain(script.actions()).collect();
                actions.retain(|action| match action {
                    Action::Verify { piece } => {
                        script.swarm.piece_written(script.now, *piece);
                        false
                    }
                    Action::Send { peer, message: Message::Request(_) } => *peer == seed,
                    _ => false,
                });
                for action in actions {
                    if let Action::Send { message: Message::Request(block), .. } = action {
                        asked.push(block);
                        script.gives(seed, block);
                    }
                }
            }
        }
        let pieces = pieces(&asked);
        let breaks = pieces.windows(2).filter(|two| two[1] != two[0] + 1).count();
        assert!(breaks <= 12, "{breaks} breaks: {pieces:?}");
    }
}

#[test]
fn it_takes_no_place_and_is_no_peer() {
    let settings = Settings { peers_max: 1, ..Settings::default() };
    let mut script = Script::start(swarm::Config { settings, ..config(4, Bitfield::new(4)) });
    script.web_seed(0);
    let peer = script.joins(extended(1));
    assert_eq!(script.refused(plain(2)), Refusal::Full);
    let stats = script.swarm.stats(script.now);
    assert_eq!((stats.peers, stats.seeds, stats.web_seeds), (1, 0, 1));
    assert!(script.swarm.peers(script.now).iter().filter(|peer| peer.web_seed).count() == 1);
    script.leaves(peer);
}

#[test]
fn no_peer_can_be_or_end_it() {
    let mut script = Script::leecher(4);
    let seed = script.web_seed(0);
    let twin = swarm::Hello { peer_id: wire::PeerId([0; 20]), outgoing: true, ..fast(1) };
    script.joins(twin);
    assert_eq!(script.closes(seed), None);
    assert_eq!(script.swarm.add_web_seed(script.now, 0), Err(Refusal::Duplicate));
}

#[test]
fn silence_is_not_held_against_it_but_its_blocks_go_to_others() {
    let mut script = Script::leecher(1);
    let seed = script.web_seed(0);
    let asked = script.requests(seed);
    assert_eq!(asked.len(), 4);
    script.seconds_later(60);
    let peer = script.source(plain(1), &[0]);
    assert!(!script.requests(peer).is_empty());
    script.seconds_later(600);
    assert_eq!(script.closes(seed), None);
}

#[test]
fn bad_data_bans_it_alone_and_for_good() {
    let mut script = Script::leecher(2);
    let bad = script.web_seed(3);
    let asked = script.requests(bad);
    for block in asked.iter().filter(|block| block.piece == asked[0].piece) {
        script.gives(bad, *block);
    }
    script.swarm.piece_failed(script.now, asked[0].piece, &[1, 2, 3, 4]);
    let actions = script.actions();
    assert!(actions.contains(&Action::Banned { addr: web_seed_ip(3) }), "{actions:?}");
    let out = Action::Disconnect { peer: bad, reason: Fault::SentBadData };
    assert!(actions.contains(&out));
    script.leaves(bad);
    assert_eq!(script.swarm.add_web_seed(script.now, 3), Err(Refusal::Banned));
    let good = script.web_seed(4);
    script.delivers(good);
    assert!(script.swarm.is_complete());
}

#[test]
fn what_it_lacks_is_asked_of_others() {
    let mut script = Script::leecher(6);
    let seed = script.web_seed(0);
    script.swarm.web_seed_lacks(script.now, seed, 2..4);
    script.delivers(seed);
    assert_eq!(script.swarm.have().iter().collect::<Vec<_>>(), [0, 1, 4, 5]);
    let other = script.web_seed(1);
    script.delivers(other);
    assert!(script.swarm.is_complete());
}

#[test]
fn it_is_let_go_when_nothing_is_missing() {
    let mut complete = Script::leecher(1);
    let seed = complete.web_seed(0);
    let asked = complete.requests(seed);
    for block in asked {
        complete.gives(seed, block);
    }
    complete.written(0);
    assert_eq!(complete.closes(seed), Some(Fault::BothUploadOnly));
}

#[test]
fn a_limit_holds_for_it() {
    let mut script = Script::leecher(40);
    script.swarm.allow(script.now, Some(0));
    let seed = script.web_seed(0);
    assert_eq!(script.requests(seed), []);
    script.swarm.allow(script.now, Some(16 * 1024));
    assert_eq!(script.requests(seed).len(), 1);
    script.later(Duration::from_secs(1));
}
