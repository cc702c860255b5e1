//! Who has a place while the metadata is looked for, and who makes room: nobody keeps those out who would
//! give it, be it by silence or by coming often.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::{Metadata, MetadataFault, PEERS_MAX, Peer};
use crate::crowd::crowd;
use crate::reach::owner;
use crate::{Hello, PeerKey, Refusal};

impl Metadata {
    pub(super) fn admit(&mut self, hello: &Hello) -> Result<(), Refusal> {
        if hello.peer_id == self.config.own_peer_id {
            return Err(Refusal::Ourselves);
        }
        if self.liars.contains(&owner(hello.addr.ip())) {
            return Err(Refusal::Banned);
        }
        if self.candidates.refuses(hello.addr.ip()) {
            return Err(Refusal::Filtered);
        }
        if self.peers.values().any(|peer| peer.hello.peer_id == hello.peer_id) {
            return Err(Refusal::Duplicate);
        }
        if self.found {
            return Err(Refusal::Full);
        }
        if self.is_full() {
            let least = self.least(Some(hello.addr.ip())).ok_or(Refusal::Full)?;
            self.disconnect(least, MetadataFault::MadeRoom);
        }
        Ok(())
    }

    pub(super) fn is_full(&self) -> bool {
        self.places().count() >= PEERS_MAX
    }

    fn places(&self) -> impl Iterator<Item = (&PeerKey, &Peer)> {
        self.peers.iter().filter(|(_, peer)| !peer.closing)
    }

    /// How often each host was asked in vain, or is asked now: others are asked first.
    pub(super) fn burdens(&self) -> BTreeMap<IpAddr, u32> {
        let mut burdens = BTreeMap::new();
        for (_, peer) in self.places() {
            let burden: &mut u32 = burdens.entry(owner(peer.hello.addr.ip())).or_default();
            let more = peer.failures.saturating_add(u32::from(peer.copy.is_some()));
            *burden = burden.saturating_add(more);
        }
        burdens
    }

    /// Whom a newcomer is worth more than: who was asked in vain, most often first, or one of a crowd.
    pub(super) fn least(&self, newcomer: Option<IpAddr>) -> Option<PeerKey> {
        let idle = || self.places().filter(|(_, peer)| peer.copy.is_none());
        let in_vain = idle().filter(|(_, peer)| peer.failures > 0);
        if let Some((key, _)) = in_vain.max_by_key(|(_, peer)| peer.failures) {
            return Some(*key);
        }
        let crowd = crowd(self.places().map(|(_, peer)| peer.hello.addr.ip()), newcomer)?;
        let theirs = idle().filter(|(_, peer)| owner(peer.hello.addr.ip()) == crowd);
        theirs.map(|(key, _)| *key).max()
    }
}
