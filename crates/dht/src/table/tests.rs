//! features.md 71: ping before evict, good, questionable and bad, nobody unproven, one node for
//! each address.

use super::*;

const OWN: Id = Id([0; 20]);

/// A node of the far half (first bit set) or, with `bits`, nearer.
fn node(n: u8, bits: usize) -> Contact {
    let mut id = OWN.random_at(bits, &mut fastrand::Rng::with_seed(n.into())).0;
    id[19] = n;
    Contact { id: Id(id), addr: SocketAddr::from(([8, 8, bits as u8, n], 6881)) }
}

fn at(minutes: u64) -> Duration {
    Duration::from_mins(minutes)
}

fn full_bucket() -> Table {
    let mut table = Table::new(OWN, at(0));
    for n in 0..8 {
        assert_eq!(table.answered(at(0), node(n, 0)), Taken::In);
        assert_eq!(table.answered(at(0), node(n, 5)), Taken::In);
    }
    assert_eq!(table.len(), 16);
    table
}

#[test]
fn buckets_split_around_our_own_id_only() {
    let mut table = Table::new(OWN, at(0));
    for bits in 0..20 {
        for n in 0..30 {
            table.answered(at(0), node(n, bits));
        }
    }
    assert_eq!(table.len(), 20 * K, "eight for each distance");
    let home = table.depth();
    assert!((20..=21).contains(&home), "{home}");
    for bucket in table.buckets.iter().take(home - 1) {
        assert!(bucket.entries.len() <= K && bucket.spares.len() <= SPARES_MAX);
    }
}

#[test]
fn a_node_that_answers_keeps_its_place_and_a_questionable_one_is_pinged_first() {
    let mut table = full_bucket();
    assert_eq!(table.answered(at(1), node(50, 0)), Taken::Spare(None), "all are good");
    // Quarter of an hour later the quiet ones are in question, oldest first.
    for n in 1..8 {
        table.answered(at(10), node(n, 0));
    }
    assert_eq!(table.answered(at(16), node(51, 0)), Taken::Spare(Some(node(0, 0))));
    table.answered(at(16), node(0, 0));
    assert_eq!(table.answered(at(16), node(52, 0)), Taken::Spare(None), "it answered the ping");
    // Two unanswered pings, and the newest reserve takes its place.
    table.failed(at(16), node(3, 0).addr);
    assert!(table.closest(node(3, 0).id, 1) == [node(3, 0)], "once is bad luck");
    table.failed(at(17), node(3, 0).addr);
    let nodes: Vec<Contact> = table.all().collect();
    assert!(!nodes.contains(&node(3, 0)));
    assert_eq!([50, 51, 52].iter().filter(|n| nodes.contains(&node(**n, 0))).count(), 1);
    assert_eq!(table.len(), 16);
}

#[test]
fn bad_nodes_are_handed_to_nobody_and_forgotten_in_the_end() {
    let mut table = full_bucket();
    table.failed(at(1), node(2, 5).addr);
    table.failed(at(2), node(2, 5).addr);
    assert!(!table.closest(node(2, 5).id, 100).contains(&node(2, 5)));
    assert_eq!(table.len(), 16, "nobody is there to replace it");
    table.answered(at(3), node(2, 5));
    assert!(table.closest(node(2, 5).id, 100).contains(&node(2, 5)), "it came back");
    (0..4).for_each(|_| table.failed(at(4), node(2, 5).addr));
    assert_eq!(table.len(), 15);
}

#[test]
fn one_address_has_one_place() {
    let mut table = Table::new(OWN, at(0));
    let first = node(1, 0);
    table.answered(at(0), first);
    for n in 0..100 {
        let mut other = node(n + 10, 1);
        other.addr = SocketAddr::from(([8, 8, 0, 1], 7000 + u16::from(n)));
        assert_eq!(table.answered(at(0), other), Taken::Not);
        assert!(!table.wants(&other));
    }
    assert_eq!(table.len(), 1);
    let local = |port| Contact { id: Id([port as u8; 20]), addr: ([127, 0, 0, 1], port).into() };
    (100..105).for_each(|port| assert_eq!(table.answered(at(0), local(port)), Taken::In));
}

#[test]
fn an_id_that_changes_moves_and_a_copied_id_does_not() {
    let mut table = Table::new(OWN, at(0));
    table.answered(at(0), node(1, 0));
    let moved = Contact { id: node(2, 3).id, addr: node(1, 0).addr };
    assert_eq!(table.answered(at(1), moved), Taken::In);
    assert_eq!(table.all().collect::<Vec<_>>(), [moved], "the old id is gone");
    let copy = Contact { id: moved.id, addr: node(9, 9).addr };
    assert_eq!(table.answered(at(1), copy), Taken::Not, "somebody with another's id");
    assert_eq!(table.all().collect::<Vec<_>>(), [moved]);
    table.failed(at(2), moved.addr);
    assert_eq!(table.answered(at(3), copy), Taken::In, "a node may change its address");
}

#[test]
fn our_own_id_is_nobody_elses() {
    let mut table = Table::new(OWN, at(0));
    let us = Contact { id: OWN, addr: node(1, 0).addr };
    assert_eq!(table.answered(at(0), us), Taken::Not);
    assert!(!table.wants(&us));
    assert_eq!(table.len(), 0);
}

#[test]
fn quiet_buckets_are_refreshed_once_each_and_ours_by_our_id() {
    let mut rng = fastrand::Rng::with_seed(1);
    let mut table = full_bucket();
    assert_eq!(table.take_quiet(at(14), &mut rng), None);
    let depth = table.depth();
    let ids: Vec<Id> = std::iter::from_fn(|| table.take_quiet(at(15), &mut rng)).collect();
    assert_eq!(ids.len(), depth);
    let bits: Vec<usize> = ids.iter().map(|id| id.common_bits(OWN)).collect();
    assert_eq!(bits[..depth - 1], (0..depth - 1).collect::<Vec<_>>());
    assert_eq!(ids[depth - 1], OWN);
    table.refresh_all();
    assert_eq!(table.take_quiet(at(15), &mut rng).map(|id| id.common_bits(OWN)), Some(0));
}

#[test]
fn another_id_of_ours_keeps_the_nodes() {
    let mut table = full_bucket();
    let before = table.len();
    table.move_to(at(1), Id([0xff; 20]));
    assert!(table.len() >= before / 2, "{} of {before}", table.len());
    assert_eq!(table.closest(node(1, 0).id, 1), [node(1, 0)]);
    assert_eq!(table.places.len(), before);
}
