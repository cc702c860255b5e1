//! The hash trees of v2 torrents (BEP 52): blocks compared with their leaves, leaves made of what is on
//! the disk, hashes given to who asks, by peers that mean well and by others. The counterpart of the
//! engine's `torrent/proving.rs`.

use std::time::Duration;

use metainfo::{BLOCK_LENGTH, InfoHash, MerkleHash, PieceIndex};
use swarm::BlockOutcome;
use wire::{BlockRequest, HashRequest, Message};

use crate::content::{Content, fits, leaves};
use crate::disk::DiskError;
use crate::invariants::Invariant;
use crate::node::Node;
use crate::plan::{Behaviour, Start};
use crate::world::{Event, World};

/// The longest that a block waits to be compared with its leaf.
const PROVING_MAX: Duration = Duration::from_millis(20);

/// A block that was compared with its leaf.
pub(crate) struct Proved {
    block: BlockRequest,
    opened: u32,
    content: Content,
    good: bool,
}

/// What became of a piece whose blocks are all there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Judged {
    Good,
    Bad,
    /// It fits its v2 hash and not its v1 hash.
    Contradicts,
}

impl World {
    /// The torrent's v2 name, if the peer knows v2.
    pub(crate) fn v2_name(&self, node: usize) -> Option<InfoHash> {
        self.data.v2.filter(|_| self.nodes[node].plan.v2)
    }

    /// Whether the peer has the layer with this root when it starts.
    pub(crate) fn knows_layer(&self, node: usize, root: &MerkleHash) -> bool {
        let node = &self.nodes[node];
        !self.plan.lacks_layers || node.plan.start != Start::Empty || node.layers.contains(root)
    }

    /// A block goes to be compared with its leaf: meanwhile the peer does not have it.
    pub(crate) fn prove(
        &mut self,
        node: usize,
        block: BlockRequest,
        leaf: MerkleHash,
        opened: u32,
    ) {
        let takes = Duration::from_nanos(self.rng.u64(0..PROVING_MAX.as_nanos() as u64));
        let (at, epoch) = (self.now + takes, self.nodes[node].epoch);
        let Some(brain) = &mut self.nodes[node].brain else { return };
        let blocks = brain.open.get_mut(&block.piece);
        let slot = blocks.and_then(|all| all.get_mut((block.begin / BLOCK_LENGTH) as usize));
        let Some(content) = slot.and_then(Option::take) else {
            let what = format!("proves {block:?}, which is not there");
            return self.violated(Invariant::Memory, node, what);
        };
        brain.held_blocks -= 1;
        let good = leaves(&[content]) == [leaf];
        let proved = Proved { block, opened, content, good };
        self.queue.push(at, Event::Proved { node, epoch, proved });
    }

    pub(crate) fn proved(&mut self, node: usize, proved: &Proved) {
        let Proved { block, opened, content, good } = *proved;
        self.trace.number(u64::from(block.piece) << 1 | u64::from(good));
        let now = self.now;
        if let Some(brain) = &mut self.nodes[node].brain
            && brain.swarm.block_proved(now, block, opened, good) == BlockOutcome::Stored
        {
            let count = self.data.geometry.block_count(block.piece) as usize;
            let open = brain.open.entry(block.piece).or_insert_with(|| vec![None; count]);
            open[(block.begin / BLOCK_LENGTH) as usize] = Some(content);
            brain.held_blocks += 1;
        }
        self.settle(node);
    }

    /// Whether a whole piece is right, as far as the peer can know.
    pub(crate) fn judges(&mut self, node: usize, piece: PieceIndex, blocks: &[Content]) -> Judged {
        let Some(brain) = &self.nodes[node].brain else { return Judged::Bad };
        let tree = brain.swarm.piece_tree(piece);
        let in_tree = brain.swarm.is_proved(piece) || tree.is_some_and(|tree| fits(&tree, blocks));
        if tree.is_none() && !self.data.info.has_v1() {
            let what = format!("piece {piece} came before its hash");
            self.violated(Invariant::Memory, node, what);
        }
        match (in_tree, self.data.fits_v1(piece, blocks)) {
            (true, true) => Judged::Good,
            (true, false) => Judged::Contradicts,
            (false, true) if tree.is_none() && self.data.info.has_v1() => Judged::Good,
            _ => Judged::Bad,
        }
    }

    /// The blocks of a piece were read and hashed, for who asked for its leaves.
    pub(crate) fn leaves_hashed(&mut self, node: usize, piece: PieceIndex) {
        let now = self.now;
        let first = self.data.block_number(piece, 0);
        let Node { brain, disk, .. } = &mut self.nodes[node];
        let Some(brain) = brain else { return };
        let count = brain.swarm.piece_tree(piece).map_or(0, |tree| tree.leaf_count());
        let read: Result<Vec<_>, _> =
            (first..first + count).map(|block| disk.read(block)).collect();
        if read == Err(DiskError::Missing) {
            self.lost(node, piece);
        }
        if let Some(brain) = &mut self.nodes[node].brain {
            brain.swarm.leaves_hashed(now, piece, read.ok().map(|blocks| leaves(&blocks)));
        }
        self.settle(node);
    }

    /// Answers a request for hashes, as the peer does that.
    pub(crate) fn answer_hashes(&mut self, node: usize, request: HashRequest, out: &mut Vec<u8>) {
        let behaviour = self.nodes[node].plan.behaviour;
        let Some(brain) = &mut self.nodes[node].brain else { return };
        let mut hashes = brain.swarm.hashes_for(&request);
        match behaviour {
            Behaviour::NoHashes { rejects: false } => return,
            Behaviour::NoHashes { rejects: true } => hashes = None,
            Behaviour::FalseHashes(percent) if self.rng.u32(0..100) < percent => {
                // A hash, or one of those that prove them.
                if let Some(hashes) = &mut hashes {
                    let which = self.rng.usize(0..hashes.len());
                    hashes[which][self.rng.usize(0..32)] ^= 1 << self.rng.u8(0..8);
                }
            }
            _ => {}
        }
        let message = match &hashes {
            Some(hashes) => Message::Hashes { request, hashes },
            None => Message::HashReject(request),
        };
        message.encode(out);
        if behaviour == Behaviour::HashesTwice {
            message.encode(out);
        }
    }

    /// A file's piece layer came from peers, hash by hash proved: the record has it now.
    pub(crate) fn layer_known(&mut self, node: usize, root: MerkleHash, layer: &[MerkleHash]) {
        let right = self.data.trees(|known| *known == root);
        let right = right.iter().any(|tree| tree.layer.as_deref() == Some(layer));
        if !right {
            self.violated(Invariant::Recorded, node, "a false piece layer".into());
        }
        self.nodes[node].layers.insert(root);
    }
}
