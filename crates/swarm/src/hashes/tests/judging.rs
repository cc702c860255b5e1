//! Data that was there before its hashes: nothing of it is asked for before it was judged.

use super::*;

/// Pieces asked for.
fn asked_for(swarm: &mut Swarm) -> Vec<PieceIndex> {
    let said = actions(swarm);
    let mut asked: Vec<_> = requests(&said).iter().map(|(_, block)| block.piece).collect();
    asked.dedup();
    asked
}

#[test]
fn what_is_on_the_disk_is_judged_once_the_layer_came_and_only_the_bad_is_fetched() {
    let sample = Sample::new(40);
    let mut swarm = sample.swarm(false, false);
    let mut there = Bitfield::full(10);
    there.remove(9);
    swarm.set_unjudged(there);
    let peer = seed(&mut swarm, 1, true);
    let said = actions(&mut swarm);
    assert_eq!(requests(&said), []);
    let (_, request) = hash_requests(&said)[0];
    answers(&mut swarm, peer, request, &sample.honest(&request));
    let said = actions(&mut swarm);
    let first: Vec<_> = requests(&said).into_iter().map(|(_, block)| block).collect();
    assert!(!first.is_empty() && first.iter().all(|block| block.piece == 9), "it is not there");
    let mut asked = said.into_iter().filter_map(|action| match action {
        Action::Judge { pieces } => Some(pieces),
        _ => None,
    });
    assert_eq!((asked.next(), asked.next()), (Some(0..10), None));
    swarm.tick(START + Duration::from_secs(2));
    assert_eq!(asked_for(&mut swarm), [0; 0], "and all else waits for it");
    for piece in (0..9).filter(|piece| *piece != 4) {
        swarm.judged(START, piece, true);
    }
    assert_eq!(swarm.have().count(), 8);
    assert_eq!(asked_for(&mut swarm), [0; 0]);
    swarm.judged(START, 4, false);
    first.into_iter().for_each(|block| gives(&mut swarm, peer, block));
    let mut asked = asked_for(&mut swarm);
    asked.retain(|piece| *piece != 9);
    assert_eq!(asked, [4], "the bad one");
    swarm.judged(START, 4, true);
    assert!(!swarm.have().has(4), "it is judged once");
}
