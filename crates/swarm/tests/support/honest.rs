//! What an honest peer answers to a question for hashes (BEP 52), for the tests in this folder and beside
//! the code.

use metainfo::merkle::{HashRun, MerkleHash, MerkleTree};
use wire::HashRequest;

/// The hashes and their proof.
pub(crate) fn answer(tree: &MerkleTree, request: &HashRequest) -> Vec<MerkleHash> {
    let run = HashRun {
        layer: request.base_layer,
        index: request.index.into(),
        length: request.length.into(),
    };
    let mut hashes = tree.hashes(run).unwrap();
    hashes.extend(tree.proofs(run, request.uncles() as usize).unwrap());
    hashes
}
