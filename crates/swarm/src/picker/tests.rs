//! The order holds through any changes, each change costs a few steps however large the swarm, and the
//! rarest comes first.

use proptest::prelude::*;

use super::*;
use crate::steps::counted;

fn assert_sorted(picker: &Picker) {
    let copies: Vec<u32> =
        picker.order.iter().map(|piece| picker.copies[*piece as usize]).collect();
    assert!(copies.is_sorted(), "{copies:?}");
    for (place, piece) in picker.order.iter().enumerate() {
        assert_eq!(picker.place[*piece as usize] as usize, place);
    }
    for (count, run) in picker.runs.iter().enumerate() {
        let right = copies.iter().filter(|copies| **copies as usize <= count).count();
        assert_eq!(run.end as usize, right, "run {count} of {copies:?}");
        for place in picker.start(count)..run.end {
            let pickable = picker.is_pickable(picker.order[place as usize]);
            assert_eq!(pickable, place < run.pickable, "{place} of run {count}");
        }
    }
}

fn every(nth: u32, pieces: u32) -> Bitfield {
    let mut set = Bitfield::new(pieces);
    (0..pieces).step_by(nth as usize).for_each(|piece| assert!(set.insert(piece)));
    set
}

proptest! {
    #[test]
    fn the_order_holds_through_any_changes(
        steps in proptest::collection::vec((0..9u8, 0..20u32), 0..200),
    ) {
        let mut rng = fastrand::Rng::with_seed(1);
        let mut picker = Picker::new(20, 0..20);
        picker.pick(&mut rng, None);
        for (kind, piece) in steps {
            match kind {
                0 | 1 => picker.add_copy(piece, &mut rng),
                2 => picker.remove_copy(piece, &mut rng),
                3 => picker.remove(piece),
                4 => picker.insert(piece),
                5 => picker.add_all(&every(20, 20), &mut rng),
                6 => picker.remove_all(&every(20, 20), &mut rng),
                7 => picker.rest(),
                _ => {
                    picker.add_all(&every(piece + 1, 20), &mut rng);
                    picker.pick(&mut rng, None);
                }
            }
            if picker.stale {
                picker.rebuild(&mut rng);
            }
            assert_sorted(&picker);
        }
    }
}

/// The most steps that each kind of change takes, with one set of pieces in every peer.
fn most_steps(pieces: u32, peers: u32) -> [u64; 5] {
    let mut rng = fastrand::Rng::with_seed(1);
    let mut picker = Picker::new(pieces, 0..pieces);
    let (half, tenth) = (every(2, pieces), every(10, pieces));
    for _ in 0..peers {
        picker.add_all(&half, &mut rng);
    }
    picker.pick(&mut rng, None);
    let mut most = [0; 5];
    let mut note = |kind: usize, steps: u64| most[kind] = most[kind].max(steps);
    for piece in 0..100 {
        note(0, counted(|| picker.add_copy(piece, &mut rng)));
        note(1, counted(|| picker.remove(piece)));
        note(2, counted(|| picker.remove_copy(piece, &mut rng)));
        note(3, counted(|| picker.insert(piece)));
        for has in [None, Some(&half), Some(&tenth)] {
            note(4, counted(|| assert!(picker.pick(&mut rng, has).is_some())));
        }
    }
    assert_sorted(&picker);
    most
}

#[test]
fn one_change_costs_the_same_however_large_the_torrent_and_the_swarm() {
    for (pieces, peers) in [(1000, 1), (100_000, 1), (1000, 200), (100_000, 20)] {
        let [add, remove, withdraw, insert, _] = most_steps(pieces, peers);
        assert!(add <= 3 && withdraw <= 3, "{add} and {withdraw} with {pieces}, {peers}");
        assert_eq!((remove, insert), (1, 1), "{pieces} pieces, {peers} peers");
    }
}

#[test]
fn a_pick_looks_at_so_many_and_no_more() {
    let bound = 320;
    for (pieces, peers) in [(1000, 1), (100_000, 1), (1000, 200), (100_000, 20)] {
        let [.., pick] = most_steps(pieces, peers);
        assert!(pick <= bound, "{pick} with {pieces} pieces, {peers} peers");
    }
    // The rarer half is with others, and what the peer has is all over the rest.
    let pieces = 100_000;
    let mut rng = fastrand::Rng::with_seed(1);
    let mut picker = Picker::new(pieces, 0..pieces);
    let few = every(100, pieces);
    picker.add_all(&Bitfield::full(pieces), &mut rng);
    picker.add_all(&every(2, pieces), &mut rng);
    few.iter().for_each(|piece| picker.add_copy(piece, &mut rng));
    picker.pick(&mut rng, None);
    let mut picked = None;
    let steps = counted(|| picked = picker.pick(&mut rng, Some(&few)));
    assert!(steps <= bound, "{steps}");
    assert!(picked.is_some_and(|piece| few.has(piece)));
}

#[test]
fn who_comes_with_little_does_not_make_us_sort() {
    let mut rng = fastrand::Rng::with_seed(1);
    let mut picker = Picker::new(100_000, 0..100_000);
    picker.pick(&mut rng, None);
    let few = every(20_000, 100_000);
    let steps = counted(|| {
        picker.add_all(&few, &mut rng);
        picker.remove_all(&few, &mut rng);
        picker.pick(&mut rng, None);
    });
    assert!(steps < 50, "{steps}");
}

#[test]
fn the_rarest_comes_first_and_ties_are_random() {
    let mut firsts = std::collections::HashSet::new();
    for seed in 0..50 {
        let mut rng = fastrand::Rng::with_seed(seed);
        let mut picker = Picker::new(10, 0..10);
        picker.add_seed();
        let mut common = Bitfield::full(10);
        common.remove(3);
        common.remove(7);
        picker.add_all(&common, &mut rng);
        let first = picker.pick(&mut rng, None).unwrap();
        assert!(matches!(first, 3 | 7));
        assert_eq!(picker.fewest_copies(), 1);
        firsts.insert(first);
    }
    assert_eq!(firsts.len(), 2);
}

#[test]
fn who_has_none_of_the_rarest_gets_a_rare_one_of_its_own() {
    let mut rng = fastrand::Rng::with_seed(1);
    let mut picker = Picker::new(10_000, 0..10_000);
    let (even, mut rarer) = (every(2, 10_000), every(2, 10_000));
    rarer.iter().filter(|piece| piece % 20 == 0).collect::<Vec<_>>().iter().for_each(|piece| {
        rarer.remove(*piece);
    });
    picker.add_all(&Bitfield::full(10_000), &mut rng);
    picker.add_all(&rarer, &mut rng);
    picker.add_all(&even, &mut rng);
    let rare = (0..100).filter(|_| {
        let piece = picker.pick(&mut rng, Some(&even)).unwrap();
        assert!(even.has(piece));
        picker.copies[piece as usize] == 2
    });
    assert!(rare.count() >= 95, "a tenth of its pieces are rarer than the others");
}
