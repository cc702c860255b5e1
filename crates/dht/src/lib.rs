//! The distributed hash table of BEP 5: a node as a state machine, without sockets, clock or
//! threads; pure.
//!
//! Packets and the time go in, packets and events come out. What to do with them is the driver's:
//!
//! ```text
//! let mut dht = Dht::new(Settings::default(), seed, now);
//! dht.import(&saved, true);
//! let interface = dht.add_interface(now, socket.local_addr());
//! dht.add_bootstrap(now, addr);
//! let lookup = dht.get_peers(now, info_hash, PeersQuery::default());
//! loop {
//!     while let Some(packet) = dht.poll_transmit() { send(packet) }
//!     while let Some(event) = dht.poll_event() { … }
//!     // a datagram:           dht.handle_packet(now, interface, from, &bytes)
//!     // dht.poll_timeout():   dht.handle_timeout(now)
//! }
//! ```
//!
//! | BEP | where |
//! |---|---|
//! | 5 | `krpc` (messages), `table`, `lookup`, `tokens`, `peer_store`, `answering`, `upkeep` |
//! | 32 (IPv6) | one node for each socket, `answering` (`want`), `tasks` |
//! | 33 (counting swarms) | [`Bloom`], `peer_store` |
//! | 42 (ids that follow from the address) | [`secure_id`], `votes`, `lookup` |
//! | 43 (read-only) | [`Settings::is_read_only`], `answering` |
//! | 44 (items) | `item`, `item_store`, `tasks` |
//! | 45 (many addresses) | [`Dht::add_interface`], `operations` |
//! | 51 (samples of torrents) | `answering`, [`Dht::sample`] |

#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects
    )
)]

mod address;
mod answering;
mod bloom;
mod dht;
mod hearing;
mod id;
mod item;
mod item_store;
mod krpc;
mod lookup;
mod operations;
mod peer_store;
mod rates;
mod saved;
mod secrets;
mod secure;
mod settings;
mod status;
mod table;
mod tasks;
mod tokens;
mod transactions;
mod upkeep;
mod votes;

pub use address::{Contact, Family};
pub use bloom::Bloom;
pub use dht::{Dht, Event, InterfaceId, Transmit};
pub use id::{Id, ParseIdError};
pub use item::{
    Item, ItemError, ItemSignature, SALT_BYTES_MAX, SecretKey, VALUE_BYTES_MAX, immutable_target,
    mutable_target,
};
pub use krpc::{DATAGRAM_BYTES_MAX, code};
pub use operations::{Announce, OperationId, Outcome, PeersQuery, Pong, SwarmSize};
pub use peer_store::PeerLimits;
pub use rates::SourceLimits;
pub use secure::{is_secure, secure_id};
pub use settings::Settings;
pub use status::{Counters, InterfaceStatus, Status};
