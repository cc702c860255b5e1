//! Picks by rank against a model, and what they cost in a large torrent.

use proptest::prelude::*;

use super::*;
use crate::steps::counted;

const RANKS: [Rank; 5] = [Rank::Skip, Rank::Low, Rank::Normal, Rank::High, Rank::First];

fn every(nth: u32, pieces: u32) -> Bitfield {
    let mut set = Bitfield::new(pieces);
    (0..pieces).step_by(nth as usize).for_each(|piece| assert!(set.insert(piece)));
    set
}

fn wanted(wishes: &Wishes, pieces: u32) -> Bitfield {
    wishes.wanted(pieces).unwrap_or_else(|| Bitfield::full(pieces))
}

fn levels(wishes: &Wishes, pieces: u32) -> Levels {
    let mut levels = Levels::new(pieces, 0..pieces);
    levels.set_wishes(wishes, &wanted(wishes, pieces));
    levels
}

proptest! {
    /// Whatever came before, a pick is of the highest rank that the peer has, and in sequential
    /// order the first of that rank. A model that looks at every piece says which.
    #[test]
    fn the_highest_rank_that_a_peer_has_is_picked(
        changes in proptest::collection::vec((0..6u8, 0..30u32, 1..6u32), 0..80),
        ranks in proptest::collection::vec(0..5usize, 30),
        other in proptest::collection::vec(0..5usize, 0..30),
        sequential in any::<bool>(),
    ) {
        let mut rng = fastrand::Rng::with_seed(1);
        let wishes = |ranks: &[usize], sequential| {
            Wishes { ranks: ranks.iter().map(|rank| RANKS[*rank]).collect(), sequential }
        };
        let mut now = wishes(&ranks, sequential);
        let mut levels = levels(&now, 30);
        let mut pickable = wanted(&now, 30);
        for (kind, piece, nth) in changes {
            match kind {
                0 => levels.add_copy(piece, &mut rng),
                1 => {
                    levels.remove(piece);
                    pickable.remove(piece);
                }
                2 if now.rank(piece) > Rank::Skip => {
                    levels.insert(piece);
                    pickable.insert(piece);
                }
                3 => levels.add_all(&every(nth, 30), &mut rng),
                4 => {
                    now = wishes(if nth > 3 { &other } else { &ranks }, !sequential);
                    pickable = wanted(&now, 30);
                    let version = levels.version();
                    levels.set_wishes(&now, &pickable);
                    prop_assert!(levels.version() > version);
                }
                _ => {}
            }
            let has = every(nth, 30);
            levels.add_all(&has, &mut rng); // it is connected while it is asked
            let of_peer = pickable.common_from(&has, 0).collect::<Vec<_>>();
            let highest = of_peer.iter().map(|piece| now.rank(*piece)).max();
            let mut best = of_peer.iter().filter(|piece| Some(now.rank(**piece)) == highest);
            let picked = levels.pick(&mut rng, Some(&has));
            prop_assert_eq!(picked.map(|piece| now.rank(piece)), highest);
            prop_assert!(picked.is_none_or(|piece| of_peer.contains(&piece)));
            if now.sequential {
                prop_assert_eq!(picked, best.next().copied());
            }
            let any = levels.pick_any(&mut rng, Some(&has));
            prop_assert_eq!(any.map(|piece| now.rank(piece)), highest);
            let one_of = levels.pick_of(has.iter());
            prop_assert_eq!(one_of.map(|piece| now.rank(piece)), highest);
            levels.remove_all(&has, &mut rng);
        }
    }
}

#[test]
fn within_a_rank_the_rarest_comes_first() {
    let mut rng = fastrand::Rng::with_seed(1);
    let wishes =
        Wishes { ranks: vec![Rank::Low, Rank::High, Rank::High, Rank::Low], ..Wishes::default() };
    let mut levels = levels(&wishes, 4);
    levels.add_seed();
    levels.add_copy(1, &mut rng);
    let mut picks = Vec::new();
    while let Some(piece) = levels.pick(&mut rng, None) {
        levels.remove(piece);
        picks.push(piece);
    }
    assert_eq!(picks[..2], [2, 1], "rank before rarity, though both low ones are rarer than 1");
}

/// With ranks and in order, a change and a pick cost the same however large the torrent is.
#[test]
fn ranks_and_order_cost_no_more_in_a_large_torrent() {
    let most = |pieces: u32, sequential| {
        let mut rng = fastrand::Rng::with_seed(1);
        let ranks = (0..pieces as usize).map(|piece| RANKS[1 + piece % 4]).collect();
        let mut levels = levels(&Wishes { ranks, sequential }, pieces);
        let half = every(2, pieces);
        levels.add_all(&half, &mut rng);
        levels.pick(&mut rng, None);
        levels.pick(&mut rng, Some(&half));
        let mut most = [0; 3];
        for piece in 0..200 {
            let mut note = |kind: usize, steps: u64| most[kind] = most[kind].max(steps);
            note(0, counted(|| levels.add_copy(piece, &mut rng)));
            note(1, counted(|| levels.remove(piece)));
            note(2, counted(|| _ = levels.pick(&mut rng, Some(&half))));
            note(1, counted(|| levels.insert(piece)));
        }
        most
    };
    for sequential in [false, true] {
        let (small, large) = (most(1000, sequential), most(100_000, sequential));
        assert!(large[0] <= 12, "a copy more: a step or three a rank: {large:?}");
        assert!(large[1] <= 1 && large[2] <= 320, "{large:?}");
        assert!(small[0] <= 12 && small[2] <= 320, "{small:?}");
    }
}

#[test]
fn one_rank_takes_no_memory_for_ranks() {
    let wishes = Wishes { ranks: vec![Rank::Normal; 1000], sequential: false };
    let levels = levels(&wishes, 1000);
    assert_eq!((levels.by_rank.len(), levels.ranks.len()), (1, 0));
    assert!(!levels.has_order());
}
