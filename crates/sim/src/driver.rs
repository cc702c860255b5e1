//! What a program does around its brain: connections, bytes through the codec, time-outs, and what
//! the brain decides carried out. The counterpart of the engine's `torrent`.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use metainfo::BLOCK_LENGTH;
use swarm::{Action, BlockFate, BlockOutcome, Hello, Leg, PeerKey, Source};
use tracker::Prompt;
use wire::{Handshake, Limits, Message, PeerId, Reserved};

use crate::content::Content;
use crate::invariants::Invariant;
use crate::node::{LinkId, Node};
use crate::plan::{Behaviour, Broken};
use crate::stream::{Chunk, Item, StreamError};
use crate::world::{Event, World};

/// As in the engine: the longest that a torrent with anything going on sleeps.
const BUSY_TICK: Duration = Duration::from_secs(1);
/// And the shortest, so that a run has an end.
const TICK_MIN: Duration = Duration::from_millis(10);
/// Dials at one time.
const HALF_OPEN_MAX: u32 = 16;
/// As in the engine: with fewer peers than this a download asks its tracker for more.
const FEW_PEERS: u32 = 10;
const SEEK_EVERY: Duration = Duration::from_mins(1);
/// Hashing a piece and writing it.
const VERIFY: Duration = Duration::from_millis(3);
/// As in the engine.
const EXTENDED_BYTES_MAX: u32 = 128 * 1024;
/// The bit of the fast extension, in the last of the reserved bytes (BEP 6).
const FAST: u8 = 4;
/// Pieces that wait for a slow disk before no more are opened.
const BACKLOG_PIECES_MAX: usize = 16;

/// What a read brought, as far as it matters after the brain was told.
enum Read {
    Nothing,
    Handshake(Handshake),
    Ends,
    /// A fault that an honest peer never makes.
    Blamed(String),
    /// It asks to be brought together with somebody whom it is not known here how to reach.
    Unseen(SocketAddr),
}

impl World {
    pub(crate) fn limits(&self) -> Limits {
        Limits {
            bitfield_bytes: self.data.geometry.piece_count().div_ceil(8),
            block_bytes: BLOCK_LENGTH,
            extended_bytes: EXTENDED_BYTES_MAX,
        }
    }

    /// Whether the peer takes connections now.
    pub(crate) fn is_listening(&self, node: usize) -> bool {
        let node = &self.nodes[node];
        node.brain.is_some() || matches!(node.plan.behaviour, Behaviour::Script(_))
    }

    pub(crate) fn handshake_of(&self, node: usize) -> Handshake {
        let peer_id = PeerId(self.nodes[node].peer_id);
        let mut reserved = Reserved::ours().with_v2_if(self.v2_name(node).is_some());
        if !self.nodes[node].plan.fast {
            reserved.0[7] &= !FAST;
        }
        Handshake { reserved, info_hash: self.data.info_hash, peer_id }
    }

    /// The peer's end of a connection is over.
    pub(crate) fn forget(&mut self, node: usize, link: LinkId) {
        let Some(session) = self.nodes[node].links.remove(&link) else { return };
        let now = self.now;
        let Some(brain) = &mut self.nodes[node].brain else { return };
        match session.key {
            Some(key) => {
                brain.by_key.remove(&key);
                brain.swarm.remove_peer(now, key);
            }
            None if session.outgoing => {
                let heard = session.heard || session.receiver.buffered() > 0;
                let hung_up = !heard && self.links[link].by == Leg::Tcp;
                self.dial_failed(node, session.addr, hung_up);
            }
            None => {}
        }
        self.left(node, session.addr);
        self.settle(node);
        self.wake(node);
    }

    pub(crate) fn receive(&mut self, node: usize, link: LinkId, chunks: Vec<Chunk>) {
        if matches!(self.nodes[node].plan.behaviour, Behaviour::Script(_)) {
            return self.script_receives(node, link, chunks);
        }
        let longest: usize = chunks.iter().map(|chunk| chunk.len() as usize).sum();
        if let Some(session) = self.nodes[node].links.get_mut(&link) {
            chunks.into_iter().for_each(|chunk| session.receiver.push(chunk));
        }
        loop {
            match self.read_one(node, link) {
                None => break,
                Some(Read::Nothing) => {}
                Some(Read::Handshake(theirs)) => {
                    if !self.shook_hands(node, link, theirs) {
                        self.leave(node, link);
                        break;
                    }
                }
                Some(Read::Ends) => {
                    self.leave(node, link);
                    break;
                }
                Some(Read::Unseen(addr)) => self.introduces_not(node, link, addr),
                Some(Read::Blamed(fault)) => {
                    let [a, b] = self.links[link].ends;
                    if self.nodes[a].is_honest() && self.nodes[b].is_honest() {
                        self.violated(Invariant::Fault, node, fault);
                    }
                    self.leave(node, link);
                    break;
                }
            }
        }
        self.settle(node);
        if let Some(session) = self.nodes[node].links.get(&link) {
            let buffered = session.receiver.buffered();
            if buffered > longest + EXTENDED_BYTES_MAX as usize + 16 {
                self.violated(Invariant::Memory, node, format!("{buffered} bytes of one message"));
            }
        }
    }

    /// Handles the next whole thing that arrived; `None` when there is none.
    fn read_one(&mut self, node: usize, link: LinkId) -> Option<Read> {
        let (limits, now, broken) = (self.limits(), self.now, self.plan.broken);
        let holes = self.holes_seen(node, link);
        let Node { links, brain, .. } = &mut self.nodes[node];
        let session = links.get_mut(&link)?;
        let brain = brain.as_mut()?;
        let item = match session.receiver.next(&limits) {
            Ok(item) => item?,
            Err(StreamError::Handshake(error)) => return Some(Read::Blamed(error.to_string())),
            Err(StreamError::Frame(error)) => return Some(Read::Blamed(error.to_string())),
        };
        if let Item::Handshake(theirs) = item {
            session.heard = true;
            return Some(Read::Handshake(theirs));
        }
        let Some(key) = session.key else { return Some(Read::Ends) };
        let done = match item {
            Item::Handshake(_) => Ok(()),
            Item::Message(message) if let Some(addr) = holes.and_then(|h| h.unseen(&message)) => {
                return Some(Read::Unseen(addr));
            }
            Item::Message(message) => brain.swarm.handle(now, key, &message),
            Item::Head(block) => brain.swarm.block_head(now, key, block).map(|fate: BlockFate| {
                let _ = fate; // the brain remembers it; the body is a number here
            }),
            Item::Body(..) if broken == Some(Broken::LosesBlocks) => Ok(()),
            Item::Body(block, content) => {
                if brain.swarm.block(now, key, block) == BlockOutcome::Stored {
                    let count = self.data.geometry.block_count(block.piece) as usize;
                    let open = brain.open.entry(block.piece).or_insert_with(|| vec![None; count]);
                    open[(block.begin / BLOCK_LENGTH) as usize] = Some(content);
                    brain.held_blocks += 1;
                }
                Ok(())
            }
        };
        Some(done.map_or_else(|fault| Read::Blamed(fault.to_string()), |()| Read::Nothing))
    }

    /// The other end's handshake is there; false when the connection is of no use.
    fn shook_hands(&mut self, node: usize, link: LinkId, theirs: Handshake) -> bool {
        let v2 = self.v2_name(node);
        if theirs.info_hash != self.data.info_hash && Some(theirs.info_hash) != v2 {
            return false;
        }
        let Some(session) = self.nodes[node].links.get(&link) else { return false };
        let (outgoing, addr) = (session.outgoing, session.addr);
        // By the v2 name, or upgraded to it by who was asked (BEP 52).
        let upgrades = !outgoing && v2.is_some() && theirs.reserved.v2();
        let is_v2 = upgrades || Some(theirs.info_hash) == v2;
        if !outgoing {
            let info_hash = v2.filter(|_| is_v2).unwrap_or(theirs.info_hash);
            let bytes = Handshake { info_hash, ..self.handshake_of(node) }.encode().to_vec();
            self.transmit(node, link, vec![Chunk::Bytes(bytes)]);
            self.nodes[node].told.insert(SocketAddr::new(addr.ip(), 6881));
        }
        // What one of the two does not speak, neither does.
        let ours = self.handshake_of(node).reserved;
        let both = std::array::from_fn(|byte| ours.0[byte] & theirs.reserved.0[byte]);
        let reserved = Reserved(both).with_v2_if(is_v2);
        let hello = Hello { addr, peer_id: theirs.peer_id, outgoing, reserved };
        let (now, by) = (self.now, self.links[link].by);
        if outgoing {
            self.reached(node, addr, by);
        }
        let Node { links, brain, .. } = &mut self.nodes[node];
        let (Some(brain), Some(session)) = (brain, links.get_mut(&link)) else { return false };
        if let Ok(key) = brain.swarm.add_peer(now, hello) {
            session.key = Some(key);
            if by == Leg::Utp {
                brain.swarm.came_by_utp(key);
            }
            brain.by_key.insert(key, link);
            self.settle(node);
            self.wake(node);
            return self.nodes[node].links.contains_key(&link);
        }
        // The brain knows of the refusal: it must not be told of a failed dial as well.
        session.outgoing = false;
        self.refused(node, addr);
        self.settle(node);
        false
    }

    pub(crate) fn tick(&mut self, node: usize) {
        if self.nodes[node].tick_at.is_none_or(|at| at > self.now) {
            return; // another tick took its place
        }
        self.nodes[node].tick_at = None;
        self.retry_writes(node);
        let now = self.now;
        if let Some(brain) = &mut self.nodes[node].brain {
            brain.swarm.tick(now);
        }
        self.web_seeds_join(node);
        self.settle(node);
        self.seek_peers(node);
        self.wake(node);
    }

    fn seek_peers(&mut self, node: usize) {
        let now = self.now;
        let Node { brain, schedule, .. } = &mut self.nodes[node];
        let (Some(brain), Some(schedule)) = (brain, schedule) else { return };
        if now.saturating_sub(brain.sought_at) < SEEK_EVERY {
            return;
        }
        brain.sought_at = now;
        let stats = brain.swarm.stats(now);
        if stats.wanted_left > 0 && stats.peers + stats.half_open < FEW_PEERS {
            schedule.announce_now(now, Prompt::FewPeers);
            self.schedule_announce(node);
        }
    }

    /// Dials whom the brain names, and sets the next tick.
    pub(crate) fn wake(&mut self, node: usize) {
        let (now, open_to) = (self.now, self.open_to(node));
        while let Some(brain) = &mut self.nodes[node].brain {
            if brain.half_open >= HALF_OPEN_MAX {
                break;
            }
            brain.swarm.set_open_to(open_to);
            let punch = brain.swarm.next_punch();
            let Some(addr) = punch.or_else(|| brain.swarm.next_dial(now)) else { break };
            brain.half_open += 1;
            let way = brain.swarm.way_to(addr);
            let is_told = self.nodes[node].told.contains(&addr);
            if self.plan.private && self.nodes[node].is_honest() && !is_told {
                self.violated(Invariant::Leaked, node, format!("dials {addr}"));
            }
            self.dial(node, addr, way, punch.is_some());
        }
        let Some(brain) = &self.nodes[node].brain else { return };
        let next = brain.swarm.next_timeout().into_iter().chain(brain.retry_at).min();
        let next =
            next.map_or(now + BUSY_TICK, |next| next.min(now + BUSY_TICK)).max(now + TICK_MIN);
        let epoch = self.nodes[node].epoch;
        if self.nodes[node].tick_at.is_none_or(|at| next < at) {
            self.nodes[node].tick_at = Some(next);
            self.queue.push(next, Event::Tick { node, epoch });
        }
    }

    /// Carries out what the brain decided.
    pub(crate) fn settle(&mut self, node: usize) {
        let mut out: BTreeMap<LinkId, Vec<u8>> = BTreeMap::new();
        let mut ended = Vec::new();
        loop {
            self.settle_budget(node);
            let Some(brain) = &mut self.nodes[node].brain else { break };
            let Some(action) = brain.swarm.poll_action() else { break };
            self.act(node, action, &mut out, &mut ended);
        }
        for (link, bytes) in out {
            self.transmit(node, link, vec![Chunk::Bytes(bytes)]);
        }
        for link in ended {
            self.leave(node, link);
        }
        self.serve_web_seeds(node);
    }

    fn settle_budget(&mut self, node: usize) {
        let (now, budget) = (self.now, self.plan.budget_blocks);
        let piece = self.data.blocks_per_piece;
        let ignores = self.plan.broken == Some(Broken::IgnoresTheBudget);
        let Some(brain) = &mut self.nodes[node].brain else { return };
        let reserved = brain.swarm.reserved_blocks();
        let behind = brain.in_pool.len() + brain.unwritten.len() > BACKLOG_PIECES_MAX;
        let limit = match behind {
            _ if ignores => u32::MAX,
            true => reserved.min(budget),
            false => budget,
        };
        if limit != brain.limit {
            brain.limit = limit;
            brain.swarm.set_reserve_limit(now, limit);
        }
        let held = brain.held_blocks;
        if reserved > budget.max(piece) || held > reserved {
            let what = format!("{reserved} blocks reserved, {held} held, of {budget}");
            self.violated(Invariant::Memory, node, what);
        }
    }

    fn act(
        &mut self,
        node: usize,
        action: Action,
        out: &mut BTreeMap<LinkId, Vec<u8>>,
        ended: &mut Vec<LinkId>,
    ) {
        let link_of = |world: &Self, peer: PeerKey| {
            world.nodes[node].brain.as_ref().and_then(|brain| brain.by_key.get(&peer).copied())
        };
        match action {
            Action::Send { peer, message } => {
                if self.web_seed_told(node, peer, &message) {
                    return;
                }
                self.check_announced(node, &message);
                if let Some(link) = link_of(self, peer) {
                    message.encode(out.entry(link).or_default());
                }
            }
            Action::SendBitfield { peer } => {
                let Some(brain) = &self.nodes[node].brain else { return };
                let have = brain.swarm.have().clone();
                have.iter().for_each(|piece| self.check_announced(node, &Message::Have(piece)));
                if let Some(link) = link_of(self, peer) {
                    Message::Bitfield(&have.to_wire()).encode(out.entry(link).or_default());
                }
            }
            Action::SendExtended { peer, id, payload } => {
                self.check_extended(node, id, &payload);
                if let Some(link) = link_of(self, peer) {
                    let message = Message::Extended { id, payload: &payload };
                    message.encode(out.entry(link).or_default());
                }
            }
            // There are no bytes of metadata in this world, so all ask in vain.
            Action::SendMetadata { peer, id, piece } => {
                if let Some(link) = link_of(self, peer) {
                    let payload = wire::MetadataMessage::Reject { piece }.encode();
                    let message = Message::Extended { id, payload: &payload };
                    message.encode(out.entry(link).or_default());
                }
            }
            Action::UploadReady { peer } => {
                if let Some(link) = link_of(self, peer) {
                    self.upload_ready(node, link);
                }
            }
            Action::Verify { piece } => self.verify(node, piece),
            Action::Prove { block, leaf, opened, .. } => self.prove(node, block, leaf, opened),
            Action::HashLeaves { piece } => {
                let epoch = self.nodes[node].epoch;
                let at = self.now + VERIFY + self.nodes[node].disk.trouble.delay;
                self.queue.push(at, Event::LeavesHashed { node, epoch, piece });
            }
            Action::HashUpper { tree, work } => {
                let now = self.now;
                if let Some(brain) = &mut self.nodes[node].brain {
                    brain.swarm.upper_hashed(now, tree, Some(work.make()));
                }
            }
            Action::SendHashes { peer, request } => {
                if let Some(link) = link_of(self, peer) {
                    self.answer_hashes(node, request, out.entry(link).or_default());
                }
            }
            Action::LayerKnown { root, layer } => self.layer_known(node, root, &layer),
            Action::Contradiction { piece } | Action::Impossible { piece } => {
                self.violated(Invariant::Fault, node, format!("piece {piece} can't be had"));
            }
            Action::Abandon { piece } => {
                if let Some(brain) = &mut self.nodes[node].brain {
                    let blocks = brain.open.remove(&piece).unwrap_or_default();
                    brain.held_blocks -= blocks.iter().flatten().count() as u32;
                }
            }
            Action::Disconnect { peer, reason } => {
                self.web_seed_ended(node, peer);
                if let Some(link) = link_of(self, peer) {
                    self.check_disconnect(node, link, reason);
                    ended.push(link);
                    // The brain must not wait for the rest of what it decided.
                    let now = self.now;
                    if let Some(brain) = &mut self.nodes[node].brain {
                        brain.by_key.remove(&peer);
                        brain.swarm.remove_peer(now, peer);
                    }
                    if let Some(session) = self.nodes[node].links.get_mut(&link) {
                        session.key = None;
                        session.outgoing = false; // it was no failed dial
                    }
                }
            }
            Action::Banned { addr } => {
                self.banned.push((node, addr));
                let guilty = self.at.get(&addr).copied();
                let innocent = match guilty {
                    Some(guilty) => self.nodes[guilty].plan.behaviour.is_innocent(),
                    None => self.web_seed_banned(node, addr),
                };
                if innocent && self.nodes[node].is_honest() {
                    self.violated(Invariant::Banned, node, format!("banned {addr}"));
                }
                self.trace.number(guilty.unwrap_or_default() as u64);
            }
            Action::Complete => self.completed(node),
            _ => {}
        }
    }

    fn completed(&mut self, node: usize) {
        self.trace.number(node as u64);
        self.web_seeds_leave(node);
        let (now, epoch) = (self.now, self.nodes[node].epoch);
        if let Some(schedule) = &mut self.nodes[node].schedule {
            schedule.completed();
        }
        self.is_complete(node);
        if let Some(stays) = self.nodes[node].plan.stays {
            self.queue.push(now + stays, Event::Stop { node, epoch });
        }
        self.schedule_announce(node);
    }

    /// Notes that a peer is complete for the first time.
    pub(crate) fn is_complete(&mut self, node: usize) {
        let now = self.now;
        self.nodes[node].completed_at.get_or_insert(now);
    }

    fn verify(&mut self, node: usize, piece: metainfo::PieceIndex) {
        let count = self.data.geometry.block_count(piece) as usize;
        let (now, epoch) = (self.now, self.nodes[node].epoch);
        let delay = self.nodes[node].disk.trouble.delay;
        let Some(brain) = &mut self.nodes[node].brain else { return };
        let mut blocks = brain.open.remove(&piece).unwrap_or_default();
        blocks.resize(count, None);
        let blocks: Vec<Content> = blocks.into_iter().map(Option::unwrap_or_default).collect();
        brain.in_pool.insert(piece, blocks);
        self.queue.push(now + VERIFY + delay, Event::Hashed { node, epoch, piece });
    }

    /// Addresses that came from somewhere.
    pub(crate) fn found(&mut self, node: usize, source: Source, addrs: &[SocketAddr]) {
        let now = self.now;
        if source == Source::Tracker {
            self.nodes[node].told.extend(addrs);
        }
        if let Some(brain) = &mut self.nodes[node].brain {
            brain.swarm.add_candidates(now, source, addrs);
        }
        self.wake(node);
    }
}
