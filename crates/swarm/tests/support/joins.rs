//! A scripted peer that comes in and says what it has: for the tests in this folder and beside the code, so
//! the types are their owner's.

use std::net::SocketAddr;
use std::time::Duration;

use wire::{Message, PeerId, Reserved};

use super::{Hello, PeerKey, Swarm};

/// The peer of that number comes to us, says `greeting` and lets us ask; `None` when it is not let in.
pub(crate) fn joins(
    swarm: &mut Swarm,
    now: Duration,
    number: u8,
    reserved: Reserved,
    greeting: &Message<'_>,
) -> Option<PeerKey> {
    let hello = Hello {
        addr: SocketAddr::from(([192, 0, 2, number], 6881)),
        peer_id: PeerId([number; 20]),
        outgoing: false,
        reserved,
    };
    let key = swarm.add_peer(now, hello).ok()?;
    for message in [greeting, &Message::Unchoke] {
        swarm.handle(now, key, message).unwrap();
    }
    Some(key)
}
