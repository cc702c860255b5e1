//! features.md 73: a walk ends on the closest that answered, with bounded parallelism; and what
//! liars can and cannot do to it.

use super::*;

const OWN: Id = Id([0xff; 20]);
const TARGET: Id = Id([0; 20]);

/// A local node, whose id needs no proof.
fn node(n: u16) -> Contact {
    let mut id = [0; 20];
    id[..2].copy_from_slice(&n.to_be_bytes());
    Contact { id: Id(id), addr: SocketAddr::from(([10, 0, 0, 1], n)) }
}

fn by_addr(addr: SocketAddr) -> Contact {
    node(addr.port())
}

#[test]
fn it_ends_when_the_closest_eight_have_answered_and_not_before() {
    let mut lookup = Lookup::new(TARGET, OWN);
    lookup.begin_with(Some(node(1000).id), node(1000).addr);
    let mut asked = 0;
    while let Some(addr) = lookup.next() {
        asked += 1;
        assert!(!lookup.is_over());
        let from = by_addr(addr);
        // Each knows those of half its number.
        let half = addr.port() / 2;
        let told: Vec<Contact> = (half..half + 8).filter(|n| *n > 0).map(node).collect();
        lookup.answered(from, &told, Some(b"t"), None);
    }
    assert!(lookup.is_over());
    let closest: Vec<Contact> = lookup.closest().iter().filter_map(|c| c.contact()).collect();
    assert_eq!(closest, (1..=8).map(node).collect::<Vec<_>>());
    assert!(asked < 40, "{asked}");
}

#[test]
fn few_are_asked_at_once_and_slow_ones_hold_nobody_up() {
    let mut lookup = Lookup::new(TARGET, OWN);
    (1..=50).for_each(|n| lookup.begin_with(Some(node(n).id), node(n).addr));
    let first: Vec<SocketAddr> = std::iter::from_fn(|| lookup.next()).collect();
    assert_eq!(first, (1..=4).map(|n| node(n).addr).collect::<Vec<_>>());
    first.iter().for_each(|addr| lookup.slow(*addr));
    assert_eq!(std::iter::from_fn(|| lookup.next()).count(), 4);
    for n in 5..=8 {
        lookup.answered(node(n), &[], None, None);
    }
    (9..=12).for_each(|n| {
        assert!(lookup.next().is_some());
        lookup.answered(node(n), &[], None, None);
    });
    assert!(!lookup.is_over(), "the closest four may still answer");
    (1..=3).for_each(|n| lookup.failed(node(n).addr));
    lookup.answered(node(4), &[], None, None);
    assert!(lookup.is_over());
    assert_eq!(lookup.closest().len(), 8);
}

#[test]
fn a_wrong_id_in_anothers_mouth_does_not_hide_the_node() {
    let mut lookup = Lookup::new(TARGET, OWN);
    lookup.begin_with(Some(node(500).id), node(500).addr);
    lookup.next();
    let lie = Contact { id: Id([0x80; 20]), addr: node(3).addr };
    lookup.answered(node(500), &[lie], None, None);
    assert_eq!(lookup.next(), Some(node(3).addr));
    lookup.answered(node(3), &[], None, None);
    assert_eq!(lookup.closest()[0].contact(), Some(node(3)), "under its own id");
}

#[test]
fn loops_and_our_own_id_lead_nowhere() {
    let mut lookup = Lookup::new(TARGET, OWN);
    lookup.begin_with(Some(node(1).id), node(1).addr);
    let us = Contact { id: OWN, addr: node(77).addr };
    let mut asked = Vec::new();
    while let Some(addr) = lookup.next() {
        asked.push(addr);
        lookup.answered(by_addr(addr), &[node(1), node(2), us], None, None);
    }
    assert_eq!(asked, [node(1).addr, node(2).addr]);
    assert!(lookup.is_over());
    lookup.begin_with(None, node(9).addr);
    assert_eq!(lookup.next(), Some(node(9).addr));
    assert_eq!(lookup.answered(Contact { id: OWN, addr: node(9).addr }, &[], None, None), None);
    assert_eq!(lookup.answers, 2, "our own echo is no answer");
}

#[test]
fn endless_liars_are_bounded_and_honest_nodes_are_reached() {
    let mut lookup = Lookup::new(TARGET, OWN);
    // One honest node that knows eight others, among liars that invent ever closer nodes.
    let honest = |n: u16| Contact { id: node(n + 20_000).id, addr: node(n).addr };
    lookup.begin_with(Some(honest(0).id), node(900).addr);
    lookup.begin_with(Some(node(3_000).id), SocketAddr::from(([9, 9, 9, 9], 1)));
    let mut rng = fastrand::Rng::with_seed(4);
    let (mut queries, mut reached) = (0, BTreeSet::new());
    while let Some(addr) = lookup.next() {
        queries += 1;
        assert!(lookup.candidates.len() <= CANDIDATES_MAX);
        if addr.ip() == node(1).addr.ip() {
            reached.insert(addr);
            let told: Vec<Contact> = (1..=8).map(honest).collect();
            lookup.answered(honest(addr.port()), &told, Some(b"t"), None);
            continue;
        }
        let lies: Vec<Contact> = (0..16)
            .map(|_| {
                let mut id = Id::random(&mut rng).0;
                id[..4].fill(0);
                let ip: [u8; 4] = (0x0800_0000 + rng.u32(0..0x100_0000)).to_be_bytes();
                Contact { id: Id(id), addr: SocketAddr::from((ip, 6881)) }
            })
            .collect();
        let id = lookup.candidates.iter().find(|c| c.addr == addr).unwrap().id.unwrap();
        lookup.answered(Contact { id, addr }, &lies, Some(b"t"), None);
    }
    assert!(queries <= QUERIES_MAX, "{queries}");
    assert!(lookup.is_over());
    assert!(!reached.is_empty(), "a place in flight is kept for nodes with proper ids");
}
