//! A private torrent's peers go with the tracker that named them (BEP 27).

use std::time::Duration;

use swarm::{Fault, Source};

use crate::script::{Script, addr, plain};

#[test]
fn another_tracker_means_other_peers_and_whom_a_person_named_stays_known() {
    let mut script = Script::leecher(4);
    script.swarm.add_candidates(script.now, Source::Tracker, &[addr(1), addr(2)]);
    script.swarm.add_candidates(script.now, Source::User, &[addr(9)]);
    let peer = script.joins(plain(3));
    script.swarm.tracker_changed(script.now);
    assert_eq!(script.closes(peer), Some(Fault::TrackerChanged));
    script.leaves(peer);
    script.now += Duration::from_hours(1);
    assert_eq!(script.swarm.next_dial(script.now), Some(addr(9)));
    assert_eq!(script.swarm.next_dial(script.now), None);
    script.swarm.add_candidates(script.now, Source::Tracker, &[addr(4)]);
    assert_eq!(script.swarm.next_dial(script.now), Some(addr(4)), "of the new tracker");
}
