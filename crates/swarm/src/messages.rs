//! What peers say (BEP 3, 6, 9, 10, 11, 21, 52, 54, 55), and what it changes.

use std::net::SocketAddr;
use std::time::Duration;

use metainfo::PieceIndex;
use wire::{Bitfield, ExtendedHandshake, Extension, Message, MetadataMessage};

use crate::peer::PeerPieces;
use crate::{Action, Fault, PeerKey, Source, Swarm, is_stand_in};

impl Swarm {
    /// A message other than a block arrived.
    ///
    /// # Errors
    /// [`Fault`]: the peer broke the protocol; close the connection and remove the peer.
    pub fn handle(
        &mut self,
        now: Duration,
        key: PeerKey,
        message: &Message<'_>,
    ) -> Result<(), Fault> {
        self.now = now;
        let Some(peer) = self.peers.get_mut(key).filter(|peer| !peer.closing) else {
            return Ok(());
        };
        peer.last_received = now;
        let fast = peer.is_fast();
        match *message {
            Message::Choke => {
                self.choked(key);
                Ok(())
            }
            Message::Unchoke => {
                peer.is_choking = false;
                peer.exhausted = None;
                self.wants_more(key);
                Ok(())
            }
            Message::Interested => {
                self.interested(key, true);
                Ok(())
            }
            Message::NotInterested => {
                self.interested(key, false);
                Ok(())
            }
            Message::Have(piece) => self.peer_has(key, piece),
            Message::Bitfield(bits) => {
                let set = Bitfield::from_wire(bits, self.geometry.piece_count())?;
                self.peer_has_all_of(key, set)
            }
            Message::Request(block) => self.requested(key, block),
            Message::Cancel(block) => {
                self.cancelled(key, block);
                Ok(())
            }
            Message::HaveAll
            | Message::HaveNone
            | Message::SuggestPiece(_)
            | Message::RejectRequest(_)
            | Message::AllowedFast(_)
                if !fast =>
            {
                Err(Fault::NotFast)
            }
            Message::HaveAll if matches!(peer.pieces, PeerPieces::All) || peer.withdrew => Ok(()),
            Message::HaveAll => {
                self.peer_has_all_of(key, Bitfield::full(self.geometry.piece_count()))
            }
            // Without a word of what it has, a peer has nothing.
            Message::HaveNone | Message::KeepAlive | Message::Unknown { .. } => Ok(()),
            Message::Port(port) => {
                let is_news = !std::mem::replace(&mut peer.named_node, true);
                let addr = SocketAddr::new(peer.hello.addr.ip(), port);
                let is_node = port != 0 && !is_stand_in(addr.ip());
                if is_news && is_node && self.settings.dht_ports.is_some() {
                    self.actions.push_back(Action::DhtNode { addr });
                }
                Ok(())
            }
            Message::SuggestPiece(piece) => {
                self.exists(piece)?;
                if let Some(peer) = self.peers.get_mut(key) {
                    peer.suggest(piece);
                }
                Ok(())
            }
            Message::AllowedFast(piece) => self.allowed_fast(key, piece),
            Message::RejectRequest(block) => self.rejected(key, block),
            Message::HashRequest(request) => {
                self.hashes_asked(key, request);
                Ok(())
            }
            Message::Hashes { request, hashes } => self.hashes_came(key, request, hashes),
            Message::HashReject(request) => {
                self.hashes_refused(key, request);
                Ok(())
            }
            Message::Extended { id, payload } => {
                self.extended(key, id, payload);
                Ok(())
            }
        }
    }

    fn exists(&self, piece: PieceIndex) -> Result<(), Fault> {
        let exists = piece < self.geometry.piece_count();
        if exists { Ok(()) } else { Err(Fault::NoSuchPiece(piece)) }
    }

    /// The peer has all of `set`, and what it said before. BEP 3 and 6 want this as the first
    /// message, but aria2 sends it at any time in place of many `have`.
    fn peer_has_all_of(&mut self, key: PeerKey, set: Bitfield) -> Result<(), Fault> {
        let Some(peer) = self.peers.get_mut(key) else { return Ok(()) };
        peer.told_many |= set.count() > 0;
        match &peer.pieces {
            PeerPieces::All => return Ok(()),
            // One that withdraws pieces can't have us walk over all of them for five bytes.
            PeerPieces::Some(_) if peer.withdrew => return Ok(()),
            PeerPieces::Some(before) if before.count() == 0 => {}
            PeerPieces::Some(before) => {
                let news: Vec<_> = set.iter().filter(|piece| !before.has(*piece)).collect();
                return news.into_iter().try_for_each(|piece| self.peer_has(key, piece));
            }
        }
        let (interesting, pieces) = if set.is_full() && !set.is_empty() {
            self.picker.add_seed();
            (self.missing, PeerPieces::All)
        } else {
            self.picker.add_all(&set, &mut self.rng);
            let missing = set.iter().filter(|piece| self.is_missing(*piece));
            (missing.count() as u32, PeerPieces::Some(set))
        };
        if let Some(peer) = self.peers.get_mut(key) {
            peer.pieces = pieces;
            peer.interesting = interesting;
            peer.exhausted = None;
        }
        self.hears_of_all(key);
        self.changed_interest(key);
        self.wants_more(key);
        self.hashes_due();
        self.drop_if_both_upload(key);
        Ok(())
    }

    fn peer_has(&mut self, key: PeerKey, piece: PieceIndex) -> Result<(), Fault> {
        self.exists(piece)?;
        let missing = self.is_missing(piece);
        let count = self.geometry.piece_count();
        let Some(peer) = self.peers.get_mut(key) else { return Ok(()) };
        let PeerPieces::Some(set) = &mut peer.pieces else { return Ok(()) };
        if !set.insert(piece) {
            return Ok(()); // said before
        }
        if missing {
            peer.interesting += 1;
            peer.exhausted = None;
        }
        let listed = set.count();
        self.hashes_due();
        let Some(peer) = self.peers.get_mut(key) else { return Ok(()) };
        if listed == count && !peer.withdrew {
            let all = std::mem::replace(&mut peer.pieces, PeerPieces::All);
            if let PeerPieces::Some(mut set) = all {
                set.remove(piece); // this last one was never counted
                self.picker.remove_all(&set, &mut self.rng);
            }
            self.picker.add_seed();
            self.drop_if_both_upload(key);
        } else {
            self.picker.add_copy(piece, &mut self.rng);
            self.drop_if_both_upload(key);
        }
        self.hears_of(key, piece);
        if missing {
            self.changed_interest(key);
            self.wants_more(key);
        }
        Ok(())
    }

    /// The peer no longer has a piece (BEP 54).
    pub(crate) fn peer_lost(&mut self, key: PeerKey, piece: PieceIndex) {
        if self.exists(piece).is_err() {
            return;
        }
        let missing = self.is_missing(piece);
        let count = self.geometry.piece_count();
        let Some(peer) = self.peers.get_mut(key).filter(|peer| peer.has(piece)) else { return };
        peer.withdrew = true;
        match &mut peer.pieces {
            PeerPieces::All => {
                let mut set = Bitfield::full(count);
                set.remove(piece);
                self.picker.remove_seed();
                self.picker.add_all(&set, &mut self.rng);
                peer.pieces = PeerPieces::Some(set);
            }
            PeerPieces::Some(set) => {
                set.remove(piece);
                self.picker.remove_copy(piece, &mut self.rng);
            }
        }
        if missing {
            peer.interesting = peer.interesting.saturating_sub(1);
        }
        let taken = peer.take_back(|request| request.block.piece == piece);
        if !taken.is_empty() {
            peer.lets_down();
            let working = peer.working.take_if(|working| *working == piece);
            self.release(key.index, taken);
            self.free_work(key.index, working);
            self.refill_everybody();
        }
        self.changed_interest(key);
        self.account(key);
    }

    /// Tells the peer when our interest in it changed.
    pub(crate) fn changed_interest(&mut self, key: PeerKey) {
        let Some(peer) = self.peers.get_mut(key).filter(|peer| !peer.closing) else { return };
        let interested = peer.interesting > 0 && !self.paused;
        if interested == peer.am_interested {
            return;
        }
        peer.am_interested = interested;
        let message = if interested { Message::Interested } else { Message::NotInterested };
        self.send(key, message);
        if interested {
            self.wants_more(key);
        }
        self.account(key);
    }

    /// A choke takes our requests back, but with the fast extension each is still answered. Others
    /// may go on with its piece.
    fn choked(&mut self, key: PeerKey) {
        let Some(peer) = self.peers.get_mut(key) else { return };
        peer.is_choking = true;
        let working = peer.working.take();
        if !peer.is_fast() {
            let taken = peer.take_back(|_| true);
            if !taken.is_empty() {
                peer.lets_down();
            }
            self.release(key.index, taken);
        }
        self.free_work(key.index, working);
        self.refill_everybody();
    }

    fn allowed_fast(&mut self, key: PeerKey, piece: PieceIndex) -> Result<(), Fault> {
        self.exists(piece)?;
        let missing = self.is_missing(piece);
        if let Some(peer) = self.peers.get_mut(key)
            && missing
            && peer.allowed_in.len() < ALLOWED_IN_MAX
            && !peer.allowed_in.contains(&piece)
        {
            peer.allowed_in.push(piece);
            peer.exhausted = None;
            self.wants_more(key);
        }
        Ok(())
    }

    fn extended(&mut self, key: PeerKey, id: u8, payload: &[u8]) {
        match (id, Extension::from_our_id(id)) {
            (0, _) => {
                // A handshake that does not parse says nothing; the peer may be fine otherwise.
                let Ok(theirs) = ExtendedHandshake::decode(payload) else { return };
                let Some(peer) = self.peers.get_mut(key) else { return };
                peer.extensions.update(&theirs);
                if let (Some(ip), false) =
                    (theirs.yourip, std::mem::replace(&mut peer.saw_us, true))
                {
                    let peer = peer.hello.addr.ip();
                    self.actions.push_back(Action::SeenAt { peer, ip });
                }
                if let Some(reqq) = theirs.reqq {
                    peer.window.set_reqq(reqq);
                }
                if theirs.client.is_some() {
                    peer.client = theirs.client;
                }
                if let Some(port) = theirs.port {
                    self.says_port(key, port);
                }
                self.exchange_soon();
                if let Some(upload_only) = theirs.upload_only {
                    self.says_upload_only(key, upload_only);
                }
            }
            (_, Some(Extension::UploadOnly)) => {
                if let [flag] = payload {
                    self.says_upload_only(key, *flag != 0);
                }
            }
            (_, Some(Extension::DontHave)) => {
                if let Ok(piece) = <[u8; 4]>::try_from(payload) {
                    self.peer_lost(key, u32::from_be_bytes(piece));
                }
            }
            (_, Some(Extension::Metadata)) => self.metadata_asked(key, payload),
            (_, Some(Extension::PeerExchange)) => self.told_of_peers(key, payload),
            (_, Some(Extension::Holepunch)) => self.holepunch(key, payload),
            (_, None) => {}
        }
    }

    /// Where it listens, and later where else (BEP 10). The address that we dialled leads to it whatever
    /// its port is called behind a NAT, until it says that it has another one.
    fn says_port(&mut self, key: PeerKey, port: u16) {
        let Some(peer) = self.peers.get_mut(key) else { return };
        // A name leads to the port that it was given with.
        if is_stand_in(peer.hello.addr.ip()) {
            return;
        }
        if peer.said_port == Some(port) || peer.ports_said >= PORTS_SAID_MAX {
            return;
        }
        peer.ports_said += 1;
        let is_first = peer.said_port.replace(port).is_none();
        let addr = SocketAddr::new(peer.hello.addr.ip(), port);
        match peer.listens_at {
            Some(_) if is_first => return,
            Some(before) if before == addr => return,
            _ => {}
        }
        let before = peer.listens_at.replace(addr);
        let taken = |addr| self.peers.iter().any(|other| other.listens_at == Some(addr));
        if let Some(before) = before.filter(|before| !taken(*before)) {
            self.candidates.moved_away(self.now, before);
        }
        self.candidates.add(self.now, Source::Incoming, addr);
        self.candidates.connected(addr);
    }

    /// What else BEP 9 has is for who lacks the metadata.
    fn metadata_asked(&mut self, key: PeerKey, payload: &[u8]) {
        let asked = MetadataMessage::decode(payload);
        let Some(MetadataMessage::Request { piece }) = asked else { return };
        let Some(peer) = self.peers.get(key).filter(|_| self.metadata_size.is_some()) else {
            return;
        };
        if let Some(id) = peer.extensions.id_of(Extension::Metadata) {
            self.actions.push_back(Action::SendMetadata { peer: key, id, piece });
        }
    }

    fn says_upload_only(&mut self, key: PeerKey, upload_only: bool) {
        if let Some(peer) = self.peers.get_mut(key) {
            peer.upload_only = upload_only;
            self.drop_if_both_upload(key);
        }
    }

    /// Seeds have nothing for seeds (BEP 21).
    pub(crate) fn drop_if_both_upload(&mut self, key: PeerKey) {
        let Some(peer) = self.peers.get(key) else { return };
        let uploads = peer.upload_only || peer.is_seed();
        if uploads && self.is_complete() && self.geometry.piece_count() > 0 {
            self.disconnect(key, Fault::BothUploadOnly);
        }
    }
}

/// Pieces a peer may let us have while it chokes us: BEP 6 sets have 10.
const ALLOWED_IN_MAX: usize = 64;

/// Ports that a connection may say it listens on, one after the other. Each may become an address that
/// is dialled.
const PORTS_SAID_MAX: u8 = 8;
