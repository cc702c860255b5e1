//! Hashes of a v2 torrent (BEP 52): blocks are compared with their leaves as they come, leaves made
//! for peers that ask, and piece layers kept once peers gave them.
//!
//! What one read brought goes to the pool together, and comes back together: one hop each way. While
//! it is there nobody else has the bytes. A block that [`swarm::Swarm::is_block_proved`] says is proved
//! is back in `State::pieces`, until its piece is complete and goes to the pool as a whole: who wants to
//! read it before it is on the disk asks the one and borrows from the other, in the same turn. Blocks
//! become proved in [`Torrent::proved`] and nowhere else.

use std::time::Duration;

use metainfo::PieceIndex;
use metainfo::merkle::MerkleHash;
use storage::{StorageError, TreeCheck, Unproved};
use swarm::{BlockOutcome, PeerKey, Swarm, Tree, Upper, UpperWork};
use wire::{BlockRequest, HashRequest, Message};

use super::{State, Torrent, touch};
use crate::handle::TorrentShared;
use crate::shard::ShardMessage;

/// What the brain is to know of a torrent's trees; `None` for v1 torrents.
pub(crate) fn trees(shared: &TorrentShared) -> Option<Vec<Tree>> {
    let info = &shared.torrent.info;
    if !info.has_v2() {
        return None;
    }
    let layers = shared.store.layers();
    let files = info.files().iter().enumerate();
    let trees = files.filter_map(|(file, entry)| {
        Some(Tree {
            root: entry.root?,
            length: entry.length,
            first_piece: info.pieces_of_file(file).start,
            layer: layers.of_file(info, file).map(Into::into),
        })
    });
    Some(trees.collect())
}

/// What a complete piece is to be compared with.
pub(super) fn tree_check(swarm: &Swarm, piece: PieceIndex) -> TreeCheck {
    match swarm.piece_tree(piece) {
        Some(_) if swarm.is_proved(piece) => TreeCheck::Proved,
        Some(tree) => TreeCheck::Tree(tree),
        None => TreeCheck::None,
    }
}

impl Torrent {
    /// A block is to be compared with its leaf, together with others of this turn.
    pub(super) fn prove(
        state: &mut State,
        block: BlockRequest,
        leaf: MerkleHash,
        leaf_bytes: u32,
        opened: u32,
    ) {
        let BlockRequest { piece, begin, length } = block;
        let number = (begin / metainfo::BLOCK_LENGTH) as usize;
        let blocks = state.pieces.get_mut(&piece);
        let data = blocks.and_then(|blocks| blocks.get_mut(number)).and_then(Option::take);
        if let Some(data) = data {
            let is_good = false;
            let block = Unproved { piece, begin, length, data, leaf, leaf_bytes, opened, is_good };
            state.unproved.push(block);
        }
    }

    /// Sends what was gathered to the pool.
    pub(super) fn prove_gathered(&self, state: &mut State) {
        if state.unproved.is_empty() {
            return;
        }
        let blocks = std::mem::take(&mut state.unproved);
        let (shard, info_hash) = (self.context.sender.clone(), self.shared.info_hash());
        self.context.pools.prove(&self.shared.store, blocks, move |blocks| {
            // The shard is gone only when the session is: nobody is left to tell.
            let _ = shard.send(ShardMessage::Proved { info_hash, blocks });
        });
    }

    /// The pool compared blocks with their leaves.
    pub(crate) fn proved(&self, blocks: Vec<Unproved>) {
        if self.stopped.get() {
            return;
        }
        self.change(|state, now| {
            for proved in blocks {
                let Unproved { piece, begin, length, data, opened, is_good, .. } = proved;
                let block = BlockRequest { piece, begin, length };
                if state.swarm.block_proved(now, block, opened, is_good) == BlockOutcome::Stored {
                    state.keep(block, data);
                } else if !is_good {
                    tracing::info!(piece, begin, torrent = %self.shared.info_hash(), "block failed its hash");
                }
            }
            state.serve_readers();
        });
    }

    /// Reads and hashes a piece, whose leaves a peer asked for.
    pub(super) fn hash_leaves(&self, state: &mut State, now: Duration, piece: PieceIndex) {
        let Some(tree) = state.swarm.piece_tree(piece) else {
            return state.swarm.leaves_hashed(now, piece, None);
        };
        let (shard, info_hash) = (self.context.sender.clone(), self.shared.info_hash());
        self.context.pools.hash_leaves(&self.shared.store, piece, tree.bytes, move |result| {
            let _ = shard.send(ShardMessage::Leaves { info_hash, piece, result });
        });
    }

    /// The pool hashed a piece, or could not read it.
    pub(crate) fn leaves_hashed(
        &self,
        piece: PieceIndex,
        result: Result<Vec<MerkleHash>, StorageError>,
    ) {
        if self.stopped.get() {
            return;
        }
        self.change(|state, now| {
            if let Err(error) = &result {
                match error {
                    StorageError::Missing { .. } | StorageError::InTheWay { .. } => {
                        self.lost(state, now, piece, error);
                    }
                    _ => self.unreadable(state, error),
                }
            }
            state.swarm.leaves_hashed(now, piece, result.ok());
        });
    }

    /// Has the pool make what is above a piece layer.
    pub(super) fn hash_upper(&self, tree: u32, work: UpperWork) {
        let (shard, info_hash) = (self.context.sender.clone(), self.shared.info_hash());
        let make = move || work.make();
        self.context.pools.compute(&self.shared.store, make, move |upper| {
            let _ = shard.send(ShardMessage::Upper { info_hash, tree, upper });
        });
    }

    /// The pool made it.
    pub(crate) fn upper_hashed(&self, tree: u32, upper: Option<Upper>) {
        if !self.stopped.get() {
            self.change(|state, now| state.swarm.upper_hashed(now, tree, upper));
        }
    }

    /// Answers a request for hashes.
    pub(super) fn send_hashes(state: &mut State, peer: PeerKey, request: HashRequest) {
        // One that asks and does not read costs no more.
        let waits = state.peers.get(&peer).is_some_and(|connection| connection.is_behind());
        let hashes = if waits { None } else { state.swarm.hashes_for(&request) };
        let message = match &hashes {
            Some(hashes) => Message::Hashes { request, hashes },
            None => Message::HashReject(request),
        };
        touch(state, peer, |connection| connection.push(&message));
    }

    /// A file's piece layer came from peers. With the last one the record has all of the torrent.
    pub(super) fn layer_known(&self, state: &State, root: MerkleHash, layer: &[MerkleHash]) {
        self.shared.store.add_layer(root, layer);
        if let (true, Some(record)) = (state.swarm.has_layers(), self.shared.record.get()) {
            record.remember(self.shared.torrent.with_layers(&self.shared.store.layers()).into());
        }
    }
}
