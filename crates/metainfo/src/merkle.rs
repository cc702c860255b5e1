//! The hash trees of v2 torrents (BEP 52): SHA-256, two children a node, a leaf for each 16 KiB of
//! a file.
//!
//! Layers count from the leaves, which are layer 0. A tree is as wide as the next power of two; what
//! lies beyond the file's end is, at the leaves, zeros instead of hashes, and above them the hash of
//! such zeros. None of those is ever stored.

use sha2::{Digest, Sha256};

use crate::BLOCK_LENGTH;

/// A node of a tree.
pub type MerkleHash = [u8; 32];

/// Layers of the highest tree: more leaves than any file has.
const LAYERS_MAX: u32 = 63;

/// The hash of a file's block, which is shorter than 16 KiB only at the file's end.
pub fn leaf(block: &[u8]) -> MerkleHash {
    Sha256::digest(block).into()
}

/// The hash above two others.
pub fn parent(left: &MerkleHash, right: &MerkleHash) -> MerkleHash {
    Sha256::new().chain_update(left).chain_update(right).finalize().into()
}

/// What stands at `layer` where a file has no bytes.
pub fn padding(layer: u32) -> MerkleHash {
    (0..layer.min(LAYERS_MAX)).fold([0; 32], |pad, _| parent(&pad, &pad))
}

/// Leaves of a file of so many bytes, padding apart.
pub fn leaf_count(length: u64) -> u64 {
    length.div_ceil(u64::from(BLOCK_LENGTH))
}

/// Layers above the leaves in a tree of so many leaves: the layer that the root is.
pub fn height(leaves: u64) -> u32 {
    leaves.max(1).checked_next_power_of_two().map_or(LAYERS_MAX, u64::trailing_zeros)
}

/// The layer of which a hash covers a piece. `piece_length` is a power of two from 16 KiB on.
pub fn piece_layer(piece_length: u32) -> u32 {
    height(leaf_count(u64::from(piece_length)))
}

/// The layer above one, which begins at an even index. `pad` is what follows the last hash.
fn layer_above(hashes: &[MerkleHash], pad: &MerkleHash) -> Vec<MerkleHash> {
    let pairs = hashes.chunks(2).filter_map(|pair| {
        let left = pair.first()?;
        Some(parent(left, pair.get(1).unwrap_or(pad)))
    });
    pairs.collect()
}

/// The hash at `top` over `hashes`, which are the first ones of `layer` below it; those that are not
/// given are padding. More than fit below it are left out.
pub fn root(hashes: &[MerkleHash], layer: u32, top: u32) -> MerkleHash {
    let fit = 1_usize.checked_shl(top.saturating_sub(layer)).unwrap_or(usize::MAX);
    let mut hashes = hashes.get(..fit).unwrap_or(hashes).to_vec();
    let mut pad = padding(layer);
    for _ in layer..top.min(LAYERS_MAX) {
        hashes = layer_above(&hashes, &pad);
        pad = parent(&pad, &pad);
    }
    hashes.first().copied().unwrap_or(pad)
}

/// The root of a file's tree, from the layer whose hashes each cover a piece.
pub fn root_of_piece_layer(hashes: &[MerkleHash], piece_length: u32) -> MerkleHash {
    let layer = piece_layer(piece_length);
    root(hashes, layer, layer.saturating_add(height(hashes.len() as u64)))
}

/// A run of a layer's hashes, as peers ask for and send it: `length` of them, a power of two, from
/// `index` on, which is a multiple of `length`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HashRun {
    /// The layer.
    pub layer: u32,
    /// The first one's place in it.
    pub index: u64,
    /// How many; a power of two.
    pub length: u64,
}

impl HashRun {
    /// Whether it is whole under one node, and that one below or at the root of a tree of so many
    /// leaves.
    pub fn is_aligned(&self, leaves: u64) -> bool {
        let width = 1_u64.checked_shl(height(leaves).saturating_sub(self.layer));
        self.layer <= height(leaves)
            && self.length.is_power_of_two()
            && self.index.checked_rem(self.length) == Some(0)
            && self.index.checked_add(self.length).zip(width).is_some_and(|(end, all)| end <= all)
    }

    /// The layer of the node that is right above all of the run.
    pub fn top(&self) -> u32 {
        self.layer.saturating_add(self.length.trailing_zeros())
    }
}

/// The node that `hashes` and the uncles in `proofs`, lowest first, lead up to: it is at layer
/// [`HashRun::top`] + `proofs.len()`. Whoever knows that node of the tree has the hashes proved when it
/// is the same. `None` when the run is not one or has not as many hashes as it says.
pub fn climb(run: HashRun, hashes: &[MerkleHash], proofs: &[MerkleHash]) -> Option<MerkleHash> {
    let fits = run.length.is_power_of_two()
        && run.index.checked_rem(run.length) == Some(0)
        && hashes.len() as u64 == run.length
        && run.top().saturating_add(u32::try_from(proofs.len()).ok()?) <= LAYERS_MAX;
    if !fits {
        return None;
    }
    let mut index = run.index.checked_div(run.length)?;
    let mut node = root(hashes, run.layer, run.top());
    for uncle in proofs {
        node = if index & 1 == 0 { parent(&node, uncle) } else { parent(uncle, &node) };
        index >>= 1;
    }
    Some(node)
}

/// Whether `hashes` are those of a tree of `leaves` leaves with this root; `proofs` has to reach up to
/// it.
pub fn verify(
    root: &MerkleHash,
    leaves: u64,
    run: HashRun,
    hashes: &[MerkleHash],
    proofs: &[MerkleHash],
) -> bool {
    let reach = u64::from(run.top()).saturating_add(proofs.len() as u64);
    run.is_aligned(leaves)
        && reach == u64::from(height(leaves))
        && climb(run, hashes, proofs).as_ref() == Some(root)
}

/// All of a tree, or of a part below one of its nodes, from one layer upwards.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MerkleTree {
    base: u32,
    /// Without padding, lowest first; the last one is the root.
    layers: Vec<Vec<MerkleHash>>,
}

impl MerkleTree {
    /// Over `hashes`, the first ones of layer `base`; `top` is the root's layer.
    pub fn new(hashes: Vec<MerkleHash>, base: u32, top: u32) -> Self {
        let top = top.clamp(base, LAYERS_MAX.max(base));
        let mut pad = padding(base);
        let mut layers = vec![hashes];
        for _ in base..top {
            let above = layers.last().map(|layer| layer_above(layer, &pad));
            layers.push(above.unwrap_or_default());
            pad = parent(&pad, &pad);
        }
        if let Some(last) = layers.last_mut() {
            last.truncate(1);
            if last.is_empty() {
                last.push(pad);
            }
        }
        Self { base, layers }
    }

    /// The node that is over all.
    pub fn root(&self) -> MerkleHash {
        self.layers.last().and_then(|layer| layer.first()).copied().unwrap_or_default()
    }

    /// The layer that the root is.
    pub fn top(&self) -> u32 {
        self.base.saturating_add(self.layers.len() as u32).saturating_sub(1)
    }

    /// A node; `None` outside the tree or below the lowest layer that it has.
    pub fn get(&self, layer: u32, index: u64) -> Option<MerkleHash> {
        let width = 1_u64.checked_shl(self.top().checked_sub(layer)?)?;
        let held = self.layers.get(layer.checked_sub(self.base)? as usize)?;
        if index >= width {
            return None;
        }
        let hash = usize::try_from(index).ok().and_then(|index| held.get(index)).copied();
        Some(hash.unwrap_or_else(|| padding(layer)))
    }

    /// The hashes of a run, padding included. `None` when the tree has not all of them.
    pub fn hashes(&self, run: HashRun) -> Option<Vec<MerkleHash>> {
        let end = run.index.checked_add(run.length)?;
        let held = self.layers.get(run.layer.checked_sub(self.base)? as usize)?;
        let width = 1_u64.checked_shl(self.top().checked_sub(run.layer)?)?;
        if end > width {
            return None;
        }
        let pad = padding(run.layer);
        let hash = |index: u64| {
            usize::try_from(index).ok().and_then(|index| held.get(index)).copied().unwrap_or(pad)
        };
        Some((run.index..end).map(hash).collect())
    }

    /// What proves a run to who knows the root: the uncles above it, lowest first, at most `count`.
    pub fn proofs(&self, run: HashRun, count: usize) -> Option<Vec<MerkleHash>> {
        let mut index = run.index.checked_div(run.length)?;
        let layers = run.top()..self.top();
        let uncles = layers.take(count).map(|layer| {
            let uncle = self.get(layer, index ^ 1);
            index >>= 1;
            uncle
        });
        uncles.collect()
    }
}

#[cfg(test)]
mod tests;
