//! Trees against a plain one that stores its padding, and proofs that lie.

use proptest::prelude::*;

use super::*;

fn hash(seed: u64) -> MerkleHash {
    leaf(&seed.to_be_bytes())
}

/// Hashes of a layer that cover bytes of the file.
fn layer_length(leaves: u64, layer: u32) -> u64 {
    leaves.div_ceil(1_u64.checked_shl(layer).unwrap_or(u64::MAX))
}

fn leaves(count: u64) -> Vec<MerkleHash> {
    (0..count).map(hash).collect()
}

/// Every layer with its padding, from the leaves up.
fn plain(leaves: &[MerkleHash]) -> Vec<Vec<MerkleHash>> {
    let mut padded = leaves.to_vec();
    padded.resize(leaves.len().max(1).next_power_of_two(), [0; 32]);
    let mut layers = vec![padded];
    while layers.last().unwrap().len() > 1 {
        let pairs = layers.last().unwrap().chunks(2);
        layers.push(pairs.map(|pair| parent(&pair[0], &pair[1])).collect());
    }
    layers
}

#[test]
fn padding_is_zeros_at_the_leaves_and_their_hash_above() {
    assert_eq!(padding(0), [0; 32]);
    assert_eq!(padding(1), leaf(&[0; 64]));
    assert_ne!(padding(0), leaf(&[]), "not the hash of nothing");
    assert_eq!(padding(3), plain(&[[0; 32]; 8])[3][0]);
}

#[test]
fn sizes() {
    assert_eq!([0, 1, 2, 3, 4, 5].map(height), [0, 0, 1, 2, 2, 3]);
    assert_eq!(height(u64::MAX), 63);
    assert_eq!([0, 1, 16_384, 16_385].map(leaf_count), [0, 1, 1, 2]);
    assert_eq!([16_384, 32_768, 131_072].map(piece_layer), [0, 1, 3]);
    assert_eq!([0, 1, 2, 3, 64].map(|layer| layer_length(9, layer)), [9, 5, 3, 2, 1]);
}

#[test]
fn a_file_of_one_block_is_its_own_root() {
    let block = leaf(b"one byte or more");
    assert_eq!(root(&[block], 0, 0), block);
    assert_eq!(root_of_piece_layer(&[block], 16_384), block);
    assert_eq!(root(&[], 0, 2), padding(2));
}

#[test]
fn runs_must_be_whole_under_a_node() {
    let run = |index, length| HashRun { layer: 1, index, length };
    assert!(run(0, 2).is_aligned(5) && run(2, 2).is_aligned(5) && run(0, 4).is_aligned(5));
    for (index, length) in [(0, 0), (0, 3), (1, 2), (4, 2), (0, 8), (u64::MAX, 1), (4, 4)] {
        assert!(!run(index, length).is_aligned(5), "{index} {length}");
    }
    assert!(!HashRun { layer: 4, index: 0, length: 1 }.is_aligned(5));
    let hash = [[1; 32]];
    assert_eq!(climb(run(0, 2), &hash, &[]), None, "one hash for two");
    assert_eq!(climb(run(0, 0), &[], &[]), None);
    assert_eq!(climb(run(0, 1), &hash, &[[0; 32]; 70]), None, "higher than any tree");
}

proptest! {
    #[test]
    fn every_run_of_a_tree_is_proved_and_no_other(
        count in 1_u64..70, base in 0_u32..4, layer in 0_u32..8, log in 0_u32..7, index in 0_u64..70,
        lie in 0_usize..200,
    ) {
        let all = plain(&leaves(count));
        let top = height(count);
        let base = base.min(top);
        let held = all[base as usize][..layer_length(count, base) as usize].to_vec();
        let tree = MerkleTree::new(held.clone(), base, top);
        prop_assert_eq!(tree.root(), all[top as usize][0]);
        prop_assert_eq!(root(&held, base, top), tree.root());
        let layer = layer.clamp(base, top);
        let length = 1_u64 << log.min(top - layer);
        let width = 1_u64 << (top - layer);
        let run = HashRun { layer, index: index % (width / length) * length, length };
        prop_assert!(run.is_aligned(count));
        let hashes = tree.hashes(run).unwrap();
        let (from, to) = (run.index as usize, (run.index + length) as usize);
        prop_assert_eq!(&hashes[..], &all[layer as usize][from..to]);
        let proofs = tree.proofs(run, usize::MAX).unwrap();
        prop_assert!(verify(&tree.root(), count, run, &hashes, &proofs));
        // Part of the way leads to a node in between.
        let some = &proofs[..proofs.len() / 2];
        let at = run.top() + some.len() as u32;
        prop_assert_eq!(climb(run, &hashes, some), tree.get(at, run.index >> (at - layer)));
        // Any bit that is wrong shows, and so does any other place or number of uncles.
        let (mut bad, mut bad_proofs) = (hashes.clone(), proofs.clone());
        let both = bad.len() + bad_proofs.len();
        bad.iter_mut().chain(&mut bad_proofs).nth(lie % both).unwrap()[lie % 32] ^= 1;
        prop_assert!(!verify(&tree.root(), count, run, &bad, &bad_proofs));
        let moved = HashRun { index: run.index + length, ..run };
        let same = moved.is_aligned(count) && tree.hashes(moved).as_ref() == Some(&hashes);
        prop_assert!(same || !verify(&tree.root(), count, moved, &hashes, &proofs));
        let more = [&proofs[..], &[[7; 32]]].concat();
        prop_assert!(!verify(&tree.root(), count, run, &hashes, &more));
        if let Some((_, fewer)) = proofs.split_last() {
            prop_assert!(!verify(&tree.root(), count, run, &hashes, fewer));
        }
    }

    #[test]
    fn a_piece_layer_has_the_root_of_its_leaves(
        count in 1_u64..200, log in 0_u32..5,
    ) {
        let all = plain(&leaves(count));
        let piece_length = 16_384 << log;
        prop_assume!(count > 1 << log); // a file of one piece has no layer
        let layer = &all[log as usize][..layer_length(count, log) as usize];
        prop_assert_eq!(root_of_piece_layer(layer, piece_length), all[height(count) as usize][0]);
    }

    #[test]
    fn nothing_outside_the_tree(
        count in 1_u64..40, layer in any::<u32>(), index in any::<u64>(), length in any::<u64>(),
    ) {
        let tree = MerkleTree::new(leaves(count), 0, height(count));
        let run = HashRun { layer, index, length };
        prop_assert!(run.is_aligned(count) || tree.hashes(run).is_none() || length < 128);
        let _ = (tree.get(layer, index), tree.proofs(run, 100), run.is_aligned(count));
        let _ = climb(run, &[[0; 32]], &[]);
    }
}
