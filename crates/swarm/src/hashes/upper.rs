//! What is above a file's piece layer (BEP 52), for proofs that reach up there.
//!
//! A layer may have two million hashes, and hashing them takes a quarter of a second: whoever serves peers
//! makes that of short layers alone, and has others made elsewhere. Only nodes that are each above 64
//! hashes of the layer are kept; what is below one of them is made of those 64 for each answer.

use std::sync::Arc;

use metainfo::merkle::{self, HashRun, MerkleHash, MerkleTree};

/// Hashes of the longest layer that is hashed at once: under a millisecond.
pub(super) const AT_ONCE_MAX: u64 = 4096;
/// Layers above the piece layer that are not kept.
const LAYERS_LEFT_OUT: u32 = 6;

/// A piece layer of which the upper nodes are to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpperWork {
    layer: Arc<[MerkleHash]>,
    base: u32,
    top: u32,
}

/// The upper nodes of a file's tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upper {
    /// The piece layer.
    base: u32,
    /// The lowest layer of `kept`.
    from: u32,
    kept: MerkleTree,
}

impl UpperWork {
    /// `base` is the layer that `layer` is of the tree, `top` its root's.
    pub(super) fn new(layer: Arc<[MerkleHash]>, base: u32, top: u32) -> Self {
        Self { layer, base, top }
    }

    /// Hashes of the layer.
    pub(super) fn hashes(&self) -> u64 {
        self.layer.len() as u64
    }

    /// Hashes all of it: to be called where nobody waits.
    pub fn make(&self) -> Upper {
        Upper::new(&self.layer, self.base, self.top)
    }
}

impl Upper {
    pub(super) fn new(layer: &[MerkleHash], base: u32, top: u32) -> Self {
        count(layer.len());
        let from = base.saturating_add(LAYERS_LEFT_OUT).min(top);
        let width = 1_usize.checked_shl(from.saturating_sub(base)).unwrap_or(usize::MAX);
        let nodes = layer.chunks(width).map(|group| merkle::root(group, base, from)).collect();
        Self { base, from, kept: MerkleTree::new(nodes, from, top) }
    }

    /// Whether it is of a tree with these layers.
    pub(super) fn is_of(&self, base: u32, top: u32) -> bool {
        self.base == base && self.kept.top() == top
    }

    /// The uncles of a run of the layer that it was made of, lowest first, exactly so many.
    pub(super) fn proofs(
        &self,
        layer: &[MerkleHash],
        run: HashRun,
        uncles: usize,
    ) -> Option<Vec<MerkleHash>> {
        let node = run.index.checked_div(run.length)?;
        let (mut proofs, above) = if run.top() < self.from {
            let width = 1_u64.checked_shl(self.from.checked_sub(self.base)?)?;
            let group = run.index.checked_div(width)?;
            let begin = group.checked_mul(width)?;
            let end = begin.checked_add(width)?;
            let within_layer = |index: u64| index.min(layer.len() as u64) as usize;
            let hashes = layer.get(within_layer(begin)..within_layer(end))?;
            count(hashes.len());
            let below = MerkleTree::new(hashes.to_vec(), self.base, self.from);
            let within = HashRun { index: run.index.checked_sub(begin)?, ..run };
            let above = HashRun { layer: self.from, index: group, length: 1 };
            (below.proofs(within, uncles)?, above)
        } else {
            (Vec::new(), HashRun { layer: run.top(), index: node, length: 1 })
        };
        proofs.extend(self.kept.proofs(above, uncles.checked_sub(proofs.len())?)?);
        (proofs.len() == uncles).then_some(proofs)
    }
}

/// A run of the layer, with padding behind its end.
pub(super) fn run_of_layer(layer: &[MerkleHash], run: HashRun) -> Option<Vec<MerkleHash>> {
    let end = run.index.checked_add(run.length)?;
    let pad = merkle::padding(run.layer);
    let hash = |index: u64| {
        usize::try_from(index).ok().and_then(|index| layer.get(index)).copied().unwrap_or(pad)
    };
    Some((run.index..end).map(hash).collect())
}

#[cfg(not(test))]
pub(super) fn count(_hashes: usize) {}

#[cfg(test)]
pub(super) use counting::count;

/// What is hashed, for tests that bound it.
#[cfg(test)]
pub(super) mod counting {
    use std::cell::Cell;

    thread_local! {
        static HASHED: Cell<usize> = const { Cell::new(0) };
    }

    pub(crate) fn count(hashes: usize) {
        HASHED.set(HASHED.get() + hashes);
    }

    /// Hashes that were hashed on this thread since the last call.
    pub(crate) fn hashed() -> usize {
        HASHED.take()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn layer(length: u32) -> Vec<MerkleHash> {
        (0..length).map(|number| merkle::leaf(&number.to_be_bytes())).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn proofs_are_those_of_the_whole_tree(
            length in 1_u32..700, base in 0_u32..5, exponent in 0_u32..11, index in any::<u64>(), uncles in 0_usize..12,
        ) {
            let layer = layer(length);
            let height = merkle::height(u64::from(length));
            let whole = MerkleTree::new(layer.clone(), base, base + height);
            let upper = UpperWork::new(layer.clone().into(), base, base + height).make();
            prop_assert!(upper.is_of(base, base + height));
            let exponent = exponent.min(height);
            let (length, width) = (1 << exponent, 1_u64 << (height - exponent));
            let run = HashRun { layer: base, index: index % width * length, length };
            let expected = whole.proofs(run, uncles).filter(|proofs| proofs.len() == uncles);
            prop_assert_eq!(upper.proofs(&layer, run, uncles), expected);
            prop_assert_eq!(run_of_layer(&layer, run), whole.hashes(run));
        }
    }

    #[test]
    fn little_of_a_long_layer_is_kept_and_an_answer_hashes_little() {
        let layer = layer(10_000);
        let upper = Upper::new(&layer, 3, 17);
        assert_eq!(upper.from, 9);
        assert_eq!(
            upper.kept.hashes(HashRun { layer: 9, index: 0, length: 256 }).unwrap().len(),
            256
        );
        counting::hashed();
        upper.proofs(&layer, HashRun { layer: 3, index: 9_998, length: 2 }, 13).unwrap();
        assert_eq!(counting::hashed(), 16, "the last group");
    }
}
