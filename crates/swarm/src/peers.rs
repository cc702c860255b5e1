//! The table of connected peers: who comes in, who leaves.

use std::cmp::Reverse;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use metainfo::PieceIndex;
use wire::{ExtendedHandshake, Extension, Message, allowed_fast_set};

use crate::candidates::Tried;
use crate::crowd::{Crowds, crowd};
use crate::peer::{Peer, PeerPieces};
use crate::reach::owner;
use crate::window::Window;
use crate::{Action, Fault, Hello, PeerKey, Refusal, Source, Swarm, holepunch, is_stand_in, steps};

/// Pieces a choked peer may request (BEP 6 suggests 10).
const ALLOWED_FAST: usize = 10;
/// A newcomer takes the place of a peer that nothing joins us to for this long.
const IDLE_AFTER: Duration = Duration::from_mins(2);

/// Peers by key. A slot's generation tells its tenants apart.
#[derive(Default)]
pub(crate) struct Peers {
    slots: Vec<Slot>,
    free: Vec<u32>,
    len: usize,
    web_seeds: usize,
    /// Of those that take a place, and are not told to leave.
    crowds: Crowds,
    /// Of slots that nobody was in.
    first_generation: u32,
}

#[derive(Default)]
struct Slot {
    generation: u32,
    peer: Option<Box<Peer>>,
}

impl Peers {
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Those that take a connection's place: all but web seeds.
    pub(crate) fn places(&self) -> usize {
        self.len - self.web_seeds
    }

    pub(crate) fn get(&self, key: PeerKey) -> Option<&Peer> {
        let slot = self.slots.get(key.index as usize)?;
        slot.peer.as_deref().filter(|_| slot.generation == key.generation)
    }

    pub(crate) fn get_mut(&mut self, key: PeerKey) -> Option<&mut Peer> {
        let slot = self.slots.get_mut(key.index as usize)?;
        slot.peer.as_deref_mut().filter(|_| slot.generation == key.generation)
    }

    pub(crate) fn at(&mut self, index: u32) -> Option<&mut Peer> {
        self.slots.get_mut(index as usize)?.peer.as_deref_mut()
    }

    /// Whoever has this index now.
    pub(crate) fn peek(&self, index: u32) -> Option<&Peer> {
        self.slots.get(index as usize)?.peer.as_deref()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Peer> {
        let slots = self.slots.iter().inspect(|_| steps::count());
        slots.filter_map(|slot| slot.peer.as_deref())
    }

    /// To walk over the peers and change the swarm at the same time.
    pub(crate) fn indices(&self) -> std::ops::Range<u32> {
        0..self.slots.len() as u32
    }

    pub(crate) fn key_at(&self, index: u32) -> Option<PeerKey> {
        steps::count();
        self.peek(index).map(|peer| peer.key)
    }

    pub(crate) fn keys(&self) -> Vec<PeerKey> {
        self.iter().map(|peer| peer.key).collect()
    }

    /// A generation that no peer was of.
    pub(crate) fn next_generation(&self) -> u32 {
        let used = self.slots.iter().map(|slot| slot.generation);
        used.max().unwrap_or_default().max(self.first_generation)
    }

    /// No key of a generation before this one names anybody. Nobody is there yet.
    pub(crate) fn begin_at(&mut self, generation: u32) {
        self.first_generation = generation;
    }

    fn insert(&mut self, make: impl FnOnce(PeerKey) -> Peer) -> PeerKey {
        let index = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot { generation: self.first_generation, peer: None });
            (self.slots.len() - 1) as u32
        });
        let generation = self.slots.get(index as usize).map_or(0, |slot| slot.generation);
        let key = PeerKey { index, generation };
        if let Some(slot) = self.slots.get_mut(index as usize) {
            let peer = Box::new(make(key));
            self.web_seeds += usize::from(peer.web_seed);
            if !peer.web_seed {
                self.crowds.joins(peer.hello.addr.ip());
            }
            slot.peer = Some(peer);
            self.len += 1;
        }
        key
    }

    fn remove(&mut self, key: PeerKey) -> Option<Peer> {
        self.get(key)?;
        let slot = self.slots.get_mut(key.index as usize)?;
        let peer = slot.peer.take()?;
        slot.generation = slot.generation.wrapping_add(1);
        self.free.push(key.index);
        self.len -= 1;
        self.web_seeds -= usize::from(peer.web_seed);
        if !peer.web_seed && !peer.closing {
            self.crowds.leaves(peer.hello.addr.ip());
        }
        Some(*peer)
    }

    /// It is to leave; false when that was so.
    pub(crate) fn close(&mut self, key: PeerKey) -> bool {
        let Some(peer) = self.get_mut(key).filter(|peer| !peer.closing) else { return false };
        peer.closing = true;
        let ip = (!peer.web_seed).then(|| peer.hello.addr.ip());
        ip.into_iter().for_each(|ip| self.crowds.leaves(ip));
        true
    }

    pub(crate) fn crowds(&self) -> &Crowds {
        &self.crowds
    }
}

impl Swarm {
    /// A peer shook hands. What we have to say first is queued.
    ///
    /// # Errors
    /// [`Refusal`]: close the connection; the swarm knows nothing of it.
    pub fn add_peer(&mut self, now: Duration, hello: Hello) -> Result<PeerKey, Refusal> {
        self.let_in(now, hello, false)
    }

    /// A peer that was connected while the metadata was looked for: it heard that we have nothing, and
    /// hears now what we have. `listens_at` is where it said that it accepts connections.
    ///
    /// # Errors
    /// [`Refusal`]: as of [`Self::add_peer`].
    pub fn take_over(
        &mut self,
        now: Duration,
        hello: Hello,
        listens_at: Option<SocketAddr>,
    ) -> Result<PeerKey, Refusal> {
        let key = self.let_in(now, hello, true)?;
        if let (Some(addr), Some(peer)) = (listens_at, self.peers.get_mut(key)) {
            peer.listens_at = Some(addr);
            self.candidates.add(now, Source::Incoming, addr);
            self.candidates.connected(addr);
        }
        Ok(key)
    }

    fn let_in(&mut self, now: Duration, hello: Hello, greeted: bool) -> Result<PeerKey, Refusal> {
        self.now = now;
        if let Err(refusal) = self.admit(&hello) {
            if hello.outgoing {
                match refusal {
                    Refusal::Ourselves => {
                        self.candidates.ourselves(hello.addr);
                        self.account_alone();
                    }
                    Refusal::Duplicate => self.reached_twice(now, &hello),
                    Refusal::Full => {
                        self.candidates.has_no_place(now, hello.addr);
                        self.account_alone();
                    }
                    Refusal::Banned | Refusal::Filtered => self.dial_failed(now, hello.addr),
                }
            }
            return Err(refusal);
        }
        let pieces = self.geometry.piece_count();
        let key = self.peers.insert(|key| Peer::new(now, key, hello, pieces));
        if hello.outgoing {
            self.candidates.connected(hello.addr);
        }
        self.candidates.came_to(Tried::Nothing);
        self.account_alone();
        self.account(key);
        self.greet(key, &hello, greeted);
        self.schedule_check(key);
        self.exchange_soon();
        self.hashes_due();
        Ok(key)
    }

    /// A web seed begins as what it is: nothing has to be said first.
    pub(crate) fn web_seed_joins(&mut self, hello: Hello) -> PeerKey {
        let now = self.now;
        let (pieces, missing) = (self.geometry.piece_count(), self.missing);
        let key = self.peers.insert(|key| {
            let mut peer = Peer::new(now, key, hello, pieces);
            peer.web_seed = true;
            peer.pieces = PeerPieces::All;
            peer.interesting = missing;
            peer.is_choking = false;
            peer.upload_only = true;
            peer.window = Window::of_web_seed(now);
            peer
        });
        self.picker.add_seed();
        self.account_alone();
        self.account(key);
        self.changed_interest(key);
        key
    }

    fn admit(&mut self, hello: &Hello) -> Result<(), Refusal> {
        if hello.peer_id == self.own_peer_id {
            return Err(Refusal::Ourselves);
        }
        if self.blame.is_banned(hello.addr.ip()) {
            return Err(Refusal::Banned);
        }
        if self.candidates.refuses(hello.addr.ip()) {
            return Err(Refusal::Filtered);
        }
        if let Some(twin) = self.twin(hello) {
            let (key, other) = (twin.key, twin.hello.outgoing);
            // Both ends keep the connection that the larger id made, so they keep the same one.
            let ours_stays = self.own_peer_id > hello.peer_id;
            if other == hello.outgoing || hello.outgoing != ours_stays {
                return Err(Refusal::Duplicate);
            }
            self.disconnect(key, Fault::Duplicate); // the newcomer takes its place
        } else if self.peers.places() >= self.settings.peers_max && !self.make_room(hello) {
            return Err(Refusal::Full);
        }
        Ok(())
    }

    /// Ends the connection that has been of no use for longest, or one of a crowd; false when all are of
    /// some, and nobody has many.
    fn make_room(&mut self, newcomer: &Hello) -> bool {
        let idle = |peer: &Peer| self.now.saturating_sub(peer.connected_at) >= IDLE_AFTER;
        let useless = self.peers.iter().filter(|peer| {
            !peer.closing
                && !peer.web_seed
                && !peer.is_interested
                && peer.interesting == 0
                && idle(peer)
        });
        let useless = useless.min_by_key(|peer| peer.last_block).map(|peer| peer.key);
        let Some(key) = useless.or_else(|| self.one_of_crowd(newcomer)) else { return false };
        self.disconnect(key, Fault::MadeRoom);
        true
    }

    /// The connection of a crowd that gave least, and of those the latest.
    fn one_of_crowd(&self, newcomer: &Hello) -> Option<PeerKey> {
        let places = || self.peers.iter().filter(|peer| !peer.closing && !peer.web_seed);
        let crowd = crowd(places().map(|peer| peer.hello.addr.ip()), Some(newcomer.addr.ip()))?;
        let theirs = places().filter(|peer| owner(peer.hello.addr.ip()) == crowd);
        theirs.min_by_key(|peer| (peer.downloaded, Reverse(peer.connected_at))).map(|peer| peer.key)
    }

    /// The connection that the same peer has already.
    fn twin(&self, hello: &Hello) -> Option<&Peer> {
        let known = |peer: &&Peer| !peer.closing && !peer.web_seed;
        self.peers.iter().filter(known).find(|peer| peer.hello.peer_id == hello.peer_id)
    }

    /// A dial led to a peer that is connected already: its address is not dialled while it is.
    fn reached_twice(&mut self, now: Duration, hello: &Hello) {
        let twin = self.twin(hello).map(|twin| twin.key);
        match twin.and_then(|twin| self.peers.get_mut(twin)) {
            Some(twin) if twin.listens_at.is_none_or(|addr| addr == hello.addr) => {
                twin.listens_at = Some(hello.addr);
                self.candidates.connected(hello.addr);
            }
            _ => self.dial_failed(now, hello.addr),
        }
    }

    /// Our extensions, those left out that this torrent may not have.
    fn our_extensions(&self) -> Vec<(String, u8)> {
        let mut ours = ExtendedHandshake::our_extensions();
        ours.retain(|(name, _)| {
            (self.metadata_size.is_some() || name != Extension::Metadata.name())
                && (self.settings.peer_exchange || name != Extension::PeerExchange.name())
                && (self.punches() || name != Extension::Holepunch.name())
        });
        ours
    }

    /// What we have, what we can do, and what the peer may have while choked. Who was `greeted` heard
    /// that we have nothing.
    fn greet(&mut self, peer: PeerKey, hello: &Hello, greeted: bool) {
        let fast = hello.reserved.fast();
        let super_seeds = self.super_seeds();
        if super_seeds {
            if fast && !greeted {
                self.send(peer, Message::HaveNone);
            }
        } else if greeted {
            let have: Vec<PieceIndex> = self.have.iter().collect();
            have.into_iter().for_each(|piece| self.send(peer, Message::Have(piece)));
        } else if fast && self.have.is_full() {
            self.send(peer, Message::HaveAll);
        } else if fast && self.have.count() == 0 {
            self.send(peer, Message::HaveNone);
        } else if self.have.count() > 0 {
            self.actions.push_back(Action::SendBitfield { peer });
        }
        if hello.reserved.extended() {
            self.introduce(peer, hello.addr.ip());
        }
        let dht_port = self.settings.dht_ports.and_then(|ports| ports.over(hello.addr.ip()));
        if let (true, Some(port)) = (hello.reserved.dht(), dht_port) {
            self.send(peer, Message::Port(port));
        }
        if super_seeds {
            self.begin_showing(peer);
        } else if let (true, std::net::IpAddr::V4(ip)) = (fast, hello.addr.ip()) {
            let count = self.geometry.piece_count();
            let set = allowed_fast_set(ip, self.info_hash, count, ALLOWED_FAST);
            let set: Vec<PieceIndex> = set.into_iter().filter(|p| self.have.has(*p)).collect();
            for piece in &set {
                self.send(peer, Message::AllowedFast(*piece));
            }
            let blocks = set.iter().map(|piece| self.geometry.block_count(*piece)).sum();
            if let Some(peer) = self.peers.get_mut(peer) {
                peer.allowed_out = set;
                peer.allowed_blocks_left = blocks;
            }
        }
    }

    /// What extensions we have, and what is to be known of us (BEP 10).
    fn introduce(&mut self, peer: PeerKey, to: IpAddr) {
        let ours = ExtendedHandshake {
            extensions: self.our_extensions(),
            client: Some(self.client_version.clone()),
            yourip: Some(to).filter(|ip| !is_stand_in(*ip)),
            reqq: Some(self.settings.reqq),
            port: self.listen_ports.over(to),
            upload_only: (self.is_complete() && !self.super_seeds()).then_some(true),
            metadata_size: self.metadata_size,
        };
        self.actions.push_back(Action::SendExtended { peer, id: 0, payload: ours.encode() });
    }

    /// Tells those at these addresses anew: the later one holds.
    pub(crate) fn introduce_again(&mut self, whom: impl Fn(IpAddr) -> bool) {
        let open = self
            .peers
            .iter()
            .filter(|peer| !peer.closing && !peer.web_seed && peer.hello.reserved.extended());
        let open: Vec<_> = open.map(|peer| (peer.key, peer.hello.addr.ip())).collect();
        let open = open.into_iter().filter(|(_, to)| whom(*to));
        open.for_each(|(peer, to)| self.introduce(peer, to));
    }

    /// The connection ended, whatever the reason. Unknown and stale keys are ignored.
    pub fn remove_peer(&mut self, now: Duration, peer: PeerKey) {
        self.now = now;
        let Some(gone) = self.peers.remove(peer) else { return };
        match &gone.pieces {
            PeerPieces::All => self.picker.remove_seed(),
            PeerPieces::Some(set) => self.picker.remove_all(set, &mut self.rng),
        }
        self.account_last(&gone);
        self.shows_no_more(&gone);
        self.forget_hashes_of(peer);
        self.checks.remove(&(gone.check_at, peer));
        self.release(peer.index, gone.outstanding.iter().map(|request| request.block));
        self.free_work(peer.index, gone.working);
        if let Some(addr) = gone.listens_at {
            let connected_for = now.saturating_sub(gone.connected_at);
            let uploads_only = gone.is_seed() || gone.upload_only;
            let jitter = self.rng.f64();
            if holepunch::speaks(&gone) {
                self.candidates.introduces(addr);
            }
            self.candidates.disconnected(now, addr, connected_for, uploads_only, jitter);
        }
        self.exchange_soon();
        let banned = self.blame.is_banned(gone.hello.addr.ip());
        if !gone.web_seed {
            self.candidates.came_to(if banned { Tried::Banned } else { Tried::Left });
        }
        self.account_alone();
        if !gone.am_choking {
            self.fill_upload_slots();
        }
        self.refill_everybody();
        if self.peers.len() == 0 && self.is_complete() {
            self.rest();
        }
    }

    /// A complete torrent that nobody is connected to keeps what it has and whom it knows. Thousands
    /// of them must fit into little memory.
    fn rest(&mut self) {
        self.picker.rest();
        self.pieces.rest();
        self.forget_served_hashes();
        self.refill.shrink_to_fit();
        self.waiting.shrink_to_fit();
        self.actions.shrink_to_fit();
    }
}
