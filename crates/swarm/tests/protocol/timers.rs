//! What time alone brings: time-outs, snubs, keep-alives, silence.

use std::time::Duration;

use swarm::{Action, BlockOutcome, Fault};
use wire::Message;

use crate::script::{Script, plain};

#[test]
fn a_stalled_peers_blocks_go_to_others_and_it_may_still_deliver() {
    let mut script = Script::leecher(1);
    let stalled = script.source(plain(1), &[0]);
    let asked = script.requests(stalled);
    script.seconds_later(20);
    let peers = script.swarm.peers(script.now);
    assert!(peers[0].snubbed);
    assert_eq!(script.closes(stalled), None, "slow is no fault");
    let other = script.source(plain(2), &[0]);
    let taken = script.requests(other);
    assert!(taken.len() >= 3, "{taken:?}");
    assert_eq!(script.gives(stalled, asked[3]), BlockOutcome::Stored);
    assert!(!script.swarm.peers(script.now)[0].snubbed);
}

#[test]
fn a_snubbed_peer_is_asked_for_one_block() {
    let mut script = Script::leecher(8);
    let stalled = script.source(plain(1), &[0, 1, 2, 3, 4, 5, 6, 7]);
    assert!(script.requests(stalled).len() > 1);
    script.seconds_later(20);
    assert_eq!(script.requests(stalled).len(), 1);
}

#[test]
fn silence_is_broken_by_a_keep_alive_and_ends_a_connection() {
    let mut script = Script::seed(8);
    let peer = script.joins(plain(1));
    script.actions();
    script.seconds_later(99);
    assert_eq!(script.sent(peer), []);
    script.seconds_later(1);
    assert_eq!(script.sent(peer), [Message::KeepAlive]);
    script.says(peer, &Message::KeepAlive);
    script.seconds_later(239);
    assert_eq!(script.closes(peer), None);
    script.seconds_later(1);
    assert_eq!(script.closes(peer), Some(Fault::Silent(240)));
    script.seconds_later(1);
    assert_eq!(script.actions(), [], "once");
}

#[test]
fn blocks_sent_are_as_good_as_keep_alives() {
    let mut script = Script::seed(8);
    let peer = script.joins(plain(1));
    script.actions();
    script.seconds_later(60);
    script.swarm.uploaded(script.now, peer, 16 * 1024);
    script.seconds_later(60);
    assert_eq!(script.sent(peer), []);
    script.seconds_later(40);
    assert_eq!(script.sent(peer), [Message::KeepAlive]);
}

#[test]
fn a_tick_when_it_is_due_moves_the_next_one_on() {
    let mut script = Script::leecher(8);
    assert_eq!(script.swarm.next_timeout(), None, "no peers, nothing to do");
    let stalled = script.source(plain(1), &[0, 1, 2]);
    script.joins(plain(2));
    script.source(plain(3), &[0]);
    script.actions();
    let mut ticks = 0;
    let end = script.now + Duration::from_mins(10);
    while let Some(next) = script.swarm.next_timeout().filter(|next| *next < end) {
        let by = next.saturating_sub(script.now);
        assert!(by >= Duration::from_millis(10), "no spinning: {by:?}");
        script.later(by);
        for action in script.actions() {
            if let Action::Disconnect { peer, .. } = action {
                script.leaves(peer);
            }
        }
        ticks += 1;
    }
    assert!(ticks < 600 * 5, "{ticks} ticks in ten minutes with {stalled:?}");
}
