//! Blocks and pieces of v2 torrents and hybrids: proved, verified, written, hashed again.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::mpsc;
use std::time::Duration;

use wire::Bitfield;

use super::*;
use crate::arena::Arena;
use crate::check::check;
use crate::pools::{PieceOutcome, PoolSettings, Pools, TreeCheck};
use crate::store::testing_v2::SampleV2;

const KIB: usize = 1024;
const PIECE: usize = 64 * KIB;
const PATIENCE: Duration = Duration::from_secs(20);

fn pools() -> Pools {
    Pools::start(PoolSettings { hash_threads: 2, disk_threads: 2 }).unwrap()
}

/// Files whose last pieces are short, in each kind of torrent.
fn samples() -> [SampleV2; 2] {
    [false, true].map(|hybrid| SampleV2::new(&[100 * KIB, 5, 2 * PIECE], PIECE, hybrid))
}

fn verify(
    pools: &Pools,
    store: &Arc<FileStore>,
    piece: PieceIndex,
    blocks: Vec<Option<Block>>,
    tree: TreeCheck,
) -> PieceOutcome {
    let (done, outcome) = mpsc::channel();
    pools.verify_and_write(store, piece, blocks, tree, false, move |o| done.send(o).unwrap());
    outcome.recv_timeout(PATIENCE).unwrap()
}

/// The blocks of a piece on their way to being proved, with the leaves that they should have.
fn unproved(sample: &SampleV2, arena: &Arena, piece: PieceIndex) -> Vec<Unproved> {
    let tree = sample.tree(piece);
    let leaves = leaves_of(&sample.piece(piece)[..tree.bytes as usize]);
    let geometry = sample.torrent.info.geometry();
    let blocks = sample.blocks(arena, piece).into_iter().flatten().zip(leaves);
    let of = |(block, (data, leaf))| Unproved {
        piece,
        begin: block * BLOCK_LENGTH,
        length: geometry.block_size(piece, block),
        data,
        leaf,
        leaf_bytes: tree.leaf_bytes(block),
        opened: block,
        is_good: false,
    };
    (0..).zip(blocks).map(of).collect()
}

fn prove(pools: &Pools, store: &FileStore, blocks: Vec<Unproved>) -> Vec<bool> {
    let (done, proved) = mpsc::channel();
    pools.prove(store, blocks, move |blocks| done.send(blocks).unwrap());
    let blocks = proved.recv_timeout(PATIENCE).unwrap();
    assert!((0..).zip(&blocks).all(|(number, block)| block.opened == number), "in their order");
    blocks.iter().map(|block| block.is_good).collect()
}

#[test]
fn each_block_gets_its_own_verdict() {
    let dir = tempfile::tempdir().unwrap();
    let (pools, arena) = (pools(), Arena::new(64));
    for sample in samples() {
        let store = sample.open(dir.path());
        assert_eq!(prove(&pools, &store, unproved(&sample, &arena, 0)), [true; 4]);
        assert_eq!(prove(&pools, &store, unproved(&sample, &arena, 1)), [true; 3]);
        for bad in 0..4 {
            let mut blocks = unproved(&sample, &arena, 0);
            blocks[bad].data[7] ^= 1;
            let verdicts = prove(&pools, &store, blocks);
            assert!((0..4).all(|block| verdicts[block] == (block != bad)), "{verdicts:?}");
        }
    }
}

#[test]
fn padding_behind_a_leaf_must_be_zeros() {
    let dir = tempfile::tempdir().unwrap();
    let (pools, arena) = (pools(), Arena::new(64));
    let [_, hybrid] = samples();
    let store = hybrid.open(dir.path());
    assert_eq!(hybrid.tree(2).bytes, 5, "a file of five bytes, and padding");
    assert_eq!(prove(&pools, &store, unproved(&hybrid, &arena, 2)), [true]);
    let mut blocks = unproved(&hybrid, &arena, 2);
    blocks[0].data[5] = 1;
    assert_eq!(prove(&pools, &store, blocks), [false]);
}

#[test]
fn a_piece_is_written_only_if_it_fits_its_tree() {
    let dir = tempfile::tempdir().unwrap();
    let (pools, arena) = (pools(), Arena::new(64));
    for (sample, folder) in samples().iter().zip(["v2", "hybrid"]) {
        let store = sample.open(&dir.path().join(folder));
        for piece in 0..sample.torrent.info.geometry().piece_count() {
            let tree = TreeCheck::Tree(sample.tree(piece));
            let mut blocks = sample.blocks(&arena, piece);
            blocks[0].as_mut().unwrap()[3] ^= 1;
            let outcome = verify(&pools, &store, piece, blocks, tree);
            assert!(matches!(outcome, PieceOutcome::HashMismatch { .. }), "{outcome:?}");
            let outcome = verify(&pools, &store, piece, sample.blocks(&arena, piece), tree);
            assert!(matches!(outcome, PieceOutcome::Written { .. }), "{outcome:?}");
        }
        let all = Bitfield::full(sample.torrent.info.geometry().piece_count());
        assert!(check(&store, &all, &|_| {}, &AtomicBool::new(false)).is_complete());
    }
}

#[test]
fn both_hashes_of_a_hybrid_must_fit() {
    let dir = tempfile::tempdir().unwrap();
    let (pools, arena) = (pools(), Arena::new(64));
    let [v2, hybrid] = samples();
    let store = hybrid.open(dir.path());
    // Good by SHA-1, and another piece's tree.
    let tree = TreeCheck::Tree(hybrid.tree(1));
    let outcome = verify(&pools, &store, 0, hybrid.blocks(&arena, 0), tree);
    assert!(matches!(outcome, PieceOutcome::HashMismatch { .. }), "{outcome:?}");
    // Said to be proved, and bad by SHA-1.
    let outcome = verify(&pools, &store, 0, hybrid.blocks(&arena, 3), TreeCheck::Proved);
    assert!(matches!(outcome, PieceOutcome::Contradiction), "{outcome:?}");
    // Its tree does not cover what is wrong: that is the sender's doing.
    let mut blocks = hybrid.blocks(&arena, 1);
    blocks[3].as_mut().unwrap()[77] = 1;
    let outcome = verify(&pools, &store, 1, blocks, TreeCheck::Tree(hybrid.tree(1)));
    assert!(matches!(outcome, PieceOutcome::HashMismatch { .. }), "{outcome:?}");
    // Nothing to compare it with.
    let outcome = verify(&pools, &v2.open(dir.path()), 0, v2.blocks(&arena, 0), TreeCheck::None);
    assert!(matches!(outcome, PieceOutcome::HashMismatch { .. }), "{outcome:?}");
}

#[test]
fn a_check_finds_what_is_damaged_and_what_was_never_written() {
    let (pools, arena) = (pools(), Arena::new(64));
    for sample in samples() {
        let dir = tempfile::tempdir().unwrap();
        let store = sample.open(dir.path());
        for piece in [0, 2, 4] {
            let tree = TreeCheck::Tree(sample.tree(piece));
            verify(&pools, &store, piece, sample.blocks(&arena, piece), tree);
        }
        let path = dir.path().join("t/0");
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[20_000] ^= 1;
        std::fs::write(&path, bytes).unwrap();
        let all = Bitfield::full(5);
        let report = check(&store, &all, &|_| {}, &AtomicBool::new(false));
        assert_eq!(report.good.iter().collect::<Vec<_>>(), [2, 4]);
        assert!(report.damaged.contains(&0));
        assert!(report.missing.has(3), "{report:?}");
    }
}

#[test]
fn leaves_are_made_from_what_is_on_the_disk() {
    let dir = tempfile::tempdir().unwrap();
    let (pools, arena) = (pools(), Arena::new(64));
    let [sample, _] = samples();
    let store = sample.open(dir.path());
    let leaves = |piece| {
        let (done, made) = mpsc::channel();
        let bytes = sample.tree(piece).bytes;
        pools.hash_leaves(&store, piece, bytes, move |leaves| done.send(leaves).unwrap());
        made.recv_timeout(PATIENCE).unwrap()
    };
    assert!(matches!(
        leaves(1),
        Err(StorageError::RootMissing { .. } | StorageError::Missing { .. })
    ));
    verify(&pools, &store, 1, sample.blocks(&arena, 1), TreeCheck::Tree(sample.tree(1)));
    let made = leaves(1).unwrap();
    assert!(sample.tree(1).is_over(&made), "three blocks, the last one short");
}
