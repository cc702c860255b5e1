//! How it goes.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use crate::dht::{Dht, InterfaceId};
use crate::id::Id;

/// Counts since the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counters {
    /// Packets of any kind.
    pub packets_in: u64,
    /// Packets of any kind.
    pub packets_out: u64,
    /// Bytes of them.
    pub bytes_out: u64,
    /// Queries others asked.
    pub queries_in: u64,
    /// Queries we asked.
    pub queries_out: u64,
    /// Answers to ours.
    pub replies_in: u64,
    /// Errors for an answer.
    pub errors_in: u64,
    /// Queries without an answer.
    pub lost: u64,
    /// Answers to nothing we asked: late, or forged.
    pub stray: u64,
    /// What was no message.
    pub junk: u64,
    /// Queries of others not answered since they had had their share.
    pub limited: u64,
}

/// A socket's node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InterfaceStatus {
    /// Which.
    pub interface: InterfaceId,
    /// Where it is bound.
    pub local: SocketAddr,
    /// Its id.
    pub id: Id,
    /// Where others see it.
    pub external: Option<IpAddr>,
    /// Nodes in its table.
    pub nodes: usize,
    /// Of those, nodes heard of in the last quarter of an hour.
    pub good: usize,
    /// Buckets of its table: about the number's power of two times eight is how many nodes there
    /// are in all.
    pub buckets: usize,
    /// Whether somebody answered when it joined.
    pub has_joined: bool,
}

/// What a [`Dht`] is doing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// Its sockets.
    pub interfaces: Vec<InterfaceStatus>,
    /// Torrents whose peers it keeps for others.
    pub torrents: usize,
    /// Their peers.
    pub peers: usize,
    /// Items it keeps for others.
    pub items: usize,
    /// Queries on their way.
    pub in_flight: usize,
    /// Walks under way.
    pub walks: usize,
    /// Counts since the start.
    pub counters: Counters,
}

impl Dht {
    /// How it goes.
    pub fn status(&self, now: Duration) -> Status {
        let interface = |(id, node): (&InterfaceId, &crate::dht::Interface)| InterfaceStatus {
            interface: *id,
            local: node.local,
            id: node.id,
            external: node.votes.elected(),
            nodes: node.table.len(),
            good: node.table.good(now),
            buckets: node.table.depth(),
            has_joined: node.has_joined,
        };
        let (torrents, peers) = self.peers.len();
        Status {
            interfaces: self.interfaces.iter().map(interface).collect(),
            torrents,
            peers,
            items: self.items.len(),
            in_flight: self.transactions.len(),
            walks: self.tasks.len(),
            counters: self.counters,
        }
    }
}
