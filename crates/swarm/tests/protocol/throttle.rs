//! A limit on what is asked for.

use std::collections::BTreeMap;

use swarm::Action;
use wire::Message;

use crate::script::{BLOCK, Script, plain};

#[test]
fn no_more_is_asked_for_than_is_allowed_and_all_have_a_turn() {
    let mut script = Script::leecher(8);
    let blocks = |number: u64| Some(number * u64::from(BLOCK));
    script.swarm.allow(script.now, Some(0));
    let all = [0, 1, 2, 3, 4, 5, 6, 7];
    let peers = [1, 2, 3].map(|number| script.source(plain(number), &all));
    assert!(peers.iter().all(|peer| script.requests(*peer).is_empty()));
    assert!(script.swarm.is_throttled());
    let mut asked = BTreeMap::new();
    for _ in 0..6 {
        script.swarm.allow(script.now, blocks(1));
        while let Some(action) = script.swarm.poll_action() {
            if let Action::Send { peer, message: Message::Request(_) } = action {
                *asked.entry(peer).or_insert(0) += 1;
            }
        }
    }
    assert_eq!(asked, peers.map(|peer| (peer, 2)).into());
    assert_eq!(script.swarm.take_requested(), 6 * u64::from(BLOCK));
    assert_eq!(script.swarm.take_requested(), 0);
}

#[test]
fn the_last_block_may_pass_the_allowance_and_is_counted_whole() {
    let mut script = Script::leecher(8);
    script.swarm.allow(script.now, Some(1));
    let peer = script.source(plain(1), &[0, 1, 2]);
    assert_eq!(script.requests(peer).len(), 1);
    assert_eq!(script.swarm.take_requested(), u64::from(BLOCK));
}

#[test]
fn a_lifted_limit_lets_everybody_go_on() {
    let mut script = Script::leecher(8);
    script.swarm.allow(script.now, Some(0));
    let peer = script.source(plain(1), &[0, 1, 2]);
    assert_eq!(script.requests(peer), []);
    script.swarm.allow(script.now, None);
    assert!(script.requests(peer).len() > 1);
    assert!(!script.swarm.is_throttled());
    assert_eq!(script.swarm.take_requested(), 0, "nobody counts without a limit");
}

#[test]
fn other_messages_are_not_held_back() {
    let mut script = Script::leecher(8);
    script.swarm.allow(script.now, Some(0));
    let peer = script.joins(plain(1));
    script.has(peer, &[0]);
    assert!(script.sent(peer).contains(&Message::Interested));
}
