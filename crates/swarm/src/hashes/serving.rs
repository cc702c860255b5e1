//! Hashes that peers ask us for: piece layers from memory, leaves from the disk.
//!
//! What is asked for is checked before anything is done for it. To give leaves, a whole piece has to
//! be read and hashed, so that is done for one piece at a time, in the order of the requests, and
//! the last few pieces' leaves are kept. What is above a long piece layer is made elsewhere, too, once
//! (`upper.rs`). How much anybody may ask for is bounded in time
//! (`allowance.rs`).

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use metainfo::PieceIndex;
use metainfo::merkle::{HashRun, MerkleHash, MerkleTree};
use wire::{HashRequest, Message};

use super::allowance::Allowance;
use super::upper::{AT_ONCE_MAX, Upper, UpperWork, count, run_of_layer};
use super::{Hashes, Tree};
use crate::{Action, PeerKey, Swarm};

/// Requests of one peer that wait for the disk.
const WAITING_OF_ONE_MAX: usize = 32;
/// And of all peers.
const WAITING_MAX: usize = 256;
/// Leaves kept, unless one piece has more: 256 KiB with the nodes above them.
const LEAVES_KEPT: usize = 4096;

/// Files with the same bytes that are looked at for a request: a torrent may be nothing but copies.
const SAME_MAX: usize = 16;

/// What is under way for others.
pub(super) struct Serving {
    allowance: Allowance,
    /// Requests for leaves that are being hashed, or wait for it.
    waiting: VecDeque<(PeerKey, HashRequest, PieceIndex)>,
    /// The piece that is being hashed.
    hashing: Option<PieceIndex>,
    /// Leaves, and what is above them, of some pieces; the last used is the last.
    kept: VecDeque<(PieceIndex, MerkleTree)>,
    /// What is above the piece layers of some files, by the tree's number.
    pub(super) upper: BTreeMap<u32, Upper>,
    /// Where that is being made, and who waits for it.
    making: BTreeMap<u32, Vec<(PeerKey, HashRequest)>>,
}

impl Serving {
    pub(super) fn new(trees: &[Tree], piece_length: u32) -> Self {
        let leaves = trees.iter().map(Tree::leaves).sum();
        let pieces = trees.iter().map(|tree| u64::from(tree.piece_count(piece_length))).sum();
        Self {
            allowance: Allowance::new(leaves, pieces),
            waiting: VecDeque::new(),
            hashing: None,
            kept: VecDeque::new(),
            upper: BTreeMap::new(),
            making: BTreeMap::new(),
        }
    }

    /// Whether one more request of the peer may wait.
    fn has_room(&self, peer: PeerKey) -> bool {
        let of_leaves = self.waiting.iter().map(|(whose, ..)| *whose);
        let of_upper = self.making.values().flatten().map(|(whose, _)| *whose);
        let (mut all, mut of_peer) = (0, 0);
        for whose in of_leaves.chain(of_upper) {
            all += 1;
            of_peer += usize::from(whose == peer);
        }
        all < WAITING_MAX && of_peer < WAITING_OF_ONE_MAX
    }

    /// Forgets whose debts are paid.
    pub(super) fn forget_paid(&mut self, now: Duration) {
        self.allowance.forget_paid(now);
    }

    pub(super) fn forget(&mut self, peer: PeerKey) {
        self.waiting.retain(|(whose, ..)| *whose != peer);
        self.making.values_mut().for_each(|waiting| waiting.retain(|(whose, _)| *whose != peer));
    }

    fn keep(&mut self, piece: PieceIndex, tree: MerkleTree) {
        self.kept.retain(|(kept, _)| *kept != piece);
        self.kept.push_back((piece, tree));
        let width = |tree: &MerkleTree| 1_usize.checked_shl(tree.top()).unwrap_or(usize::MAX);
        while self.kept.len() > 1
            && self.kept.iter().map(|(_, tree)| width(tree)).sum::<usize>() > LEAVES_KEPT
        {
            self.kept.pop_front();
        }
    }

    fn leaves(&self, piece: PieceIndex) -> Option<&MerkleTree> {
        self.kept.iter().find(|(kept, _)| *kept == piece).map(|(_, tree)| tree)
    }
}

impl Hashes {
    fn by_root(&self, root: MerkleHash) -> impl Iterator<Item = (u32, &Tree)> {
        let tree = |number: &u32| self.trees.get(*number as usize);
        let first = self
            .by_root
            .partition_point(|number| tree(number).is_some_and(|tree| tree.root < root));
        let from = self.by_root.get(first..).unwrap_or_default().iter().take(SAME_MAX);
        from.map_while(move |number| {
            Some((*number, tree(number)?)).filter(|(_, tree)| tree.root == root)
        })
    }

    /// The piece whose leaves a request is for.
    fn piece_of(&self, tree: &Tree, request: &HashRequest) -> Option<PieceIndex> {
        let top = tree.piece_top(self.piece_length);
        let fits = request.length <= 1_u32.checked_shl(top)?;
        let number = request.index.checked_shr(top)?;
        let exists = number < tree.piece_count(self.piece_length);
        (fits && exists).then(|| tree.first_piece.checked_add(number)).flatten()
    }

    /// A tree's piece layer. That of a file of one piece is its root.
    fn layer(&self, number: u32) -> Option<(Arc<[MerkleHash]>, u32, u32)> {
        let tree = self.trees.get(number as usize)?;
        let (base, top) = (tree.piece_top(self.piece_length), tree.height());
        let layer = if base == top { Arc::from([tree.root]) } else { tree.layer.clone()? };
        Some((layer, base, top))
    }

    /// The layer of which an answer has upper nodes that are not there.
    fn to_be_made(&self, number: u32, request: &HashRequest) -> Option<UpperWork> {
        let (layer, base, top) = self.layer(number)?;
        let reaches = run_of(request).top().saturating_add(request.uncles());
        let has_upper = request.uncles() > 0 && reaches > base && top > base;
        (has_upper && !self.serving.upper.contains_key(&number))
            .then(|| UpperWork::new(layer, base, top))
    }

    /// Whether the answer to a request about this tree may be given: then the address owes what is
    /// sent, and what is `read` for it, and the file's piece layer where what is above that has to be
    /// made, which is begun at once, so that nobody pays it twice.
    fn may_have(
        &mut self,
        (now, ip): (Duration, IpAddr),
        number: u32,
        request: &HashRequest,
        read: u64,
        actions: &mut VecDeque<Action>,
    ) -> bool {
        let sent = u64::from(request.length).saturating_add(u64::from(request.uncles()));
        let is_begun = self.serving.making.contains_key(&number);
        let work = self.to_be_made(number, request).filter(|_| !is_begun);
        let made = work.as_ref().map_or(0, UpperWork::hashes);
        let all = sent.saturating_add(read).saturating_add(made);
        let may = self.serving.allowance.take(now, ip, all);
        if let Some(work) = work.filter(|_| may) {
            self.make(number, work, actions);
        }
        may
    }

    /// At once, or elsewhere.
    fn make(&mut self, number: u32, work: UpperWork, actions: &mut VecDeque<Action>) {
        if work.hashes() <= AT_ONCE_MAX {
            self.serving.upper.insert(number, work.make());
        } else if let Entry::Vacant(room) = self.serving.making.entry(number) {
            room.insert(Vec::new());
            actions.push_back(Action::HashUpper { tree: number, work });
        }
    }

    /// Sends the answer, once what is above the piece layer is there.
    fn give(
        &mut self,
        number: u32,
        (peer, request): (PeerKey, HashRequest),
        actions: &mut VecDeque<Action>,
    ) -> Option<()> {
        if let Some(work) = self.to_be_made(number, &request) {
            self.make(number, work, actions);
            let has_room = self.serving.has_room(peer);
            if let Some(waiting) = self.serving.making.get_mut(&number) {
                return has_room.then(|| waiting.push((peer, request)));
            }
        }
        actions.push_back(Action::SendHashes { peer, request });
        Some(())
    }

    /// When the last debt will be paid for what was given; `None` when all are.
    pub(crate) fn all_paid_at(&self, now: Duration) -> Option<Duration> {
        self.serving.allowance.all_paid_at(now)
    }

    /// The answer, if all that it takes is at hand.
    fn answer(&self, request: &HashRequest) -> Option<Vec<MerkleHash>> {
        let (number, tree) = self.by_root(request.root).next()?;
        if !request.is_sound(tree.height()) {
            return None;
        }
        let piece_top = tree.piece_top(self.piece_length);
        let run = run_of(request);
        let uncles = request.uncles() as usize;
        if request.base_layer == piece_top && tree.layer.is_some() {
            let (layer, ..) = self.layer(number)?;
            let mut hashes = run_of_layer(&layer, run)?;
            if uncles > 0 {
                hashes.extend(self.serving.upper.get(&number)?.proofs(&layer, run, uncles)?);
            }
            return Some(hashes);
        }
        if request.base_layer != 0 {
            return None;
        }
        let mut kept = self.by_root(request.root).filter_map(|(_, tree)| {
            let piece = self.piece_of(tree, request)?;
            Some((piece.checked_sub(tree.first_piece)?, self.serving.leaves(piece)?))
        });
        let (first, leaves) = kept.next()?;
        let begin = u64::from(first).checked_shl(piece_top)?;
        let within = HashRun { index: run.index.checked_sub(begin)?, ..run };
        let mut hashes = leaves.hashes(within)?;
        let below = leaves.proofs(within, uncles)?;
        let above = uncles.saturating_sub(below.len());
        hashes.extend(below);
        drop(kept);
        if above > 0 {
            let node = HashRun { layer: piece_top, index: u64::from(first), length: 1 };
            let (layer, ..) = self.layer(number)?;
            hashes.extend(self.serving.upper.get(&number)?.proofs(&layer, node, above)?);
        }
        Some(hashes)
    }
}

fn run_of(request: &HashRequest) -> HashRun {
    HashRun {
        layer: request.base_layer,
        index: u64::from(request.index),
        length: u64::from(request.length),
    }
}

fn rejection(peer: PeerKey, request: HashRequest) -> Action {
    Action::Send { peer, message: Message::HashReject(request) }
}

impl Swarm {
    /// A peer asks for hashes. What is off its boundary, of no file, or more than is given is
    /// rejected.
    pub(crate) fn hashes_asked(&mut self, key: PeerKey, request: HashRequest) {
        let served = self.serve_hashes(key, request).is_some();
        if !served {
            self.send(key, Message::HashReject(request));
        }
    }

    fn serve_hashes(&mut self, key: PeerKey, request: HashRequest) -> Option<()> {
        let ip = self.peers.get(key)?.hello.addr.ip();
        let who = (self.now, ip);
        let hashes = self.hashes.as_deref_mut()?;
        let (number, tree) = hashes.by_root(request.root).next()?;
        if !request.is_sound(tree.height()) {
            return None;
        }
        let piece_top = tree.piece_top(hashes.piece_length);
        if request.base_layer == piece_top && tree.layer.is_some() {
            let may = hashes.may_have(who, number, &request, 0, &mut self.actions);
            return may.then(|| hashes.give(number, (key, request), &mut self.actions)).flatten();
        }
        if request.base_layer != 0 {
            return None;
        }
        let piece = {
            let trees = hashes.by_root(request.root);
            let mut pieces = trees.filter_map(|(_, tree)| hashes.piece_of(tree, &request));
            pieces.find(|piece| self.have.has(*piece))?
        };
        if hashes.serving.leaves(piece).is_some() {
            let may = hashes.may_have(who, number, &request, 0, &mut self.actions);
            return may.then(|| hashes.give(number, (key, request), &mut self.actions)).flatten();
        }
        let read = hashes.piece_tree(piece).map_or(0, |tree| u64::from(tree.leaf_count()));
        if !hashes.serving.has_room(key)
            || !hashes.may_have(who, number, &request, read, &mut self.actions)
        {
            return None;
        }
        hashes.serving.waiting.push_back((key, request, piece));
        self.hash_next();
        Some(())
    }

    /// Begins with the piece that is waited for the longest, if none is being hashed.
    fn hash_next(&mut self) {
        let Some(hashes) = self.hashes.as_deref_mut() else { return };
        let serving = &mut hashes.serving;
        if serving.hashing.is_none()
            && let Some((_, _, piece)) = serving.waiting.front()
        {
            serving.hashing = Some(*piece);
            self.actions.push_back(Action::HashLeaves { piece: *piece });
        }
    }

    /// The peer was sent so many bytes of blocks: it may have their leaves too.
    pub(crate) fn earned_hashes(&mut self, key: PeerKey, bytes: u32) {
        let Some(hashes) = self.hashes.as_deref_mut() else { return };
        if let Some(peer) = self.peers.get(key) {
            hashes.serving.allowance.earned(peer.hello.addr.ip(), bytes);
        }
    }

    /// The hashes for [`Action::SendHashes`]; without them, reject.
    pub fn hashes_for(&self, request: &HashRequest) -> Option<Vec<MerkleHash>> {
        self.hashes.as_deref()?.answer(request)
    }

    /// The leaves of a piece that [`Action::HashLeaves`] named, as they are on the disk; `None` when
    /// it can't be read. Those of a piece that is not what it was are of no use to anybody.
    pub fn leaves_hashed(
        &mut self,
        now: Duration,
        piece: PieceIndex,
        leaves: Option<Vec<MerkleHash>>,
    ) {
        self.now = now;
        let Some(hashes) = self.hashes.as_deref_mut() else { return };
        let sound = hashes.piece_tree(piece).zip(leaves).and_then(|(known, leaves)| {
            let is_long = leaves.len() as u64 == u64::from(known.leaf_count());
            count(leaves.len());
            let tree = is_long.then(|| MerkleTree::new(leaves, 0, known.top));
            tree.filter(|tree| tree.root() == known.root)
        });
        let is_sound = sound.is_some();
        if let Some(tree) = sound {
            hashes.serving.keep(piece, tree);
        }
        if hashes.serving.hashing == Some(piece) {
            hashes.serving.hashing = None; // one from before a rest may come late
        }
        let mut waited = Vec::new();
        hashes.serving.waiting.retain(|(peer, request, of)| {
            if *of == piece {
                waited.push((*peer, *request));
            }
            *of != piece
        });
        for (peer, request) in waited {
            let number = hashes.by_root(request.root).next().map(|(number, _)| number);
            let given = number
                .filter(|_| is_sound)
                .and_then(|number| hashes.give(number, (peer, request), &mut self.actions));
            if given.is_none() {
                self.actions.push_back(rejection(peer, request));
            }
        }
        self.hash_next();
    }

    /// What came of [`Action::HashUpper`]; `None` when it could not be made.
    pub fn upper_hashed(&mut self, now: Duration, tree: u32, upper: Option<Upper>) {
        self.now = now;
        let Some(hashes) = self.hashes.as_deref_mut() else { return };
        let waited = hashes.serving.making.remove(&tree); // nobody any more, after a rest
        let fits =
            |upper: &Upper| hashes.layer(tree).is_some_and(|(_, base, top)| upper.is_of(base, top));
        let upper = upper.filter(fits);
        let is_made = upper.is_some();
        if let Some(upper) = upper {
            hashes.serving.upper.insert(tree, upper);
        }
        for (peer, request) in waited.into_iter().flatten() {
            self.actions.push_back(if is_made {
                Action::SendHashes { peer, request }
            } else {
                rejection(peer, request)
            });
        }
    }

    /// Gives memory back that nobody may need again.
    pub(crate) fn forget_served_hashes(&mut self) {
        if let Some(hashes) = &mut self.hashes {
            // Not who owes us: it does not rest before that is paid.
            hashes.serving.kept = VecDeque::new();
            hashes.serving.upper = BTreeMap::new();
            hashes.serving.making = BTreeMap::new();
        }
    }
}
