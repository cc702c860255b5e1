//! Relays that bring peers together (BEP 55) and know them by where their packets come from alone, as
//! libtorrent does: where a peer says that it listens is not looked at.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use swarm::Leg;
use wire::{Extension, HolepunchError, HolepunchMessage, Message};

use crate::node::LinkId;
use crate::stream::Chunk;
use crate::world::World;

/// What such a relay sees of NATs.
pub(crate) struct HolesSeen {
    /// Where who asks could be dialled.
    asker: bool,
    /// Where others could be.
    others: BTreeSet<SocketAddr>,
}

impl HolesSeen {
    /// Whom the message asks to be brought together with, if that can't be.
    pub(crate) fn unseen(&self, message: &Message<'_>) -> Option<SocketAddr> {
        let Message::Extended { id, payload } = message else { return None };
        let asked = HolepunchMessage::decode(payload).filter(|_| *id == id_of_holepunch());
        let Some(HolepunchMessage::Rendezvous(addr)) = asked else { return None };
        (!self.asker || !self.others.contains(&addr)).then_some(addr)
    }
}

/// Everybody's, since all have the same program.
fn id_of_holepunch() -> u8 {
    Extension::Holepunch.our_id()
}

impl World {
    /// `None` of a relay that goes by what its peers say.
    pub(crate) fn holes_seen(&self, node: usize, asker: LinkId) -> Option<HolesSeen> {
        let by_utp = |link: LinkId| self.links[link].by == Leg::Utp;
        self.nodes[node].plan.sees_sources.then(|| {
            let links = self.nodes[node].links.iter().filter(|(link, _)| by_utp(**link));
            HolesSeen { asker: by_utp(asker), others: links.map(|(_, peer)| peer.addr).collect() }
        })
    }

    /// Says that it can't bring a peer together with `addr`.
    pub(crate) fn introduces_not(&mut self, node: usize, link: LinkId, addr: SocketAddr) {
        let payload = HolepunchMessage::Error(addr, HolepunchError::NotConnected).encode();
        let mut bytes = Vec::new();
        Message::Extended { id: id_of_holepunch(), payload: &payload }.encode(&mut bytes);
        self.transmit(node, link, vec![Chunk::Bytes(bytes)]);
    }
}
