//! What an honest peer sends and does, as it leaves the brain: the invariants that are about messages.

use swarm::Fault;
use wire::{ExtendedHandshake, Extension, Message};

use crate::invariants::Invariant;
use crate::node::LinkId;
use crate::world::World;

impl World {
    pub(crate) fn check_announced(&mut self, node: usize, message: &Message<'_>) {
        if !self.nodes[node].is_honest() {
            return;
        }
        let pieces = match message {
            Message::Have(piece) | Message::AllowedFast(piece) => *piece..*piece + 1,
            Message::HaveAll => 0..self.plan.pieces,
            Message::Port(_) if self.plan.private => {
                return self.violated(Invariant::Leaked, node, "offers its DHT port".into());
            }
            _ => return,
        };
        for piece in pieces {
            let tampered = self.nodes[node].disk.is_tampered(self.data.blocks_of(piece));
            if !tampered && !self.is_there(node, piece) {
                self.violated(Invariant::Announced, node, format!("piece {piece}"));
            }
        }
    }

    pub(crate) fn check_extended(&mut self, node: usize, id: u8, payload: &[u8]) {
        if !self.plan.private || !self.nodes[node].is_honest() || id != 0 {
            return;
        }
        let Ok(ours) = ExtendedHandshake::decode(payload) else { return };
        let harmless = |name: &str| {
            let known = Extension::ALL.iter().find(|extension| extension.name() == name);
            let tells = [Extension::PeerExchange, Extension::Holepunch];
            known.is_some_and(|extension| !tells.contains(extension))
        };
        for (name, _) in ours.extensions.iter().filter(|(name, _)| !harmless(name)) {
            self.violated(Invariant::Leaked, node, format!("offers {name}"));
        }
    }

    pub(crate) fn check_disconnect(&mut self, node: usize, link: LinkId, reason: Fault) {
        let fair = matches!(
            reason,
            Fault::BothUploadOnly | Fault::MadeRoom | Fault::Duplicate | Fault::Silent(_)
        );
        let [a, b] = self.links[link].ends;
        if !fair && self.nodes[a].is_honest() && self.nodes[b].is_honest() {
            self.violated(Invariant::Fault, node, reason.to_string());
        }
    }
}
