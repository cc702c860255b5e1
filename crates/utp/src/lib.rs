//! uTP (BEP 29): reliable streams over UDP that give way to everything else; pure.
//!
//! Nothing here opens a socket, reads a clock or draws its own randomness. An [`Endpoint`] is driven
//! like this:
//!
//! ```text
//! loop {
//!     // a datagram came:        endpoint.handle(now, from, to, &bytes)
//!     // endpoint.due() is over: endpoint.tick(now)
//!     while let Some(burst) = endpoint.transmit(now, 32, &mut buffer) { /* send it */ }
//!     while let Some(event) = endpoint.event() { /* read, write, connect, close */ }
//! }
//! ```
//!
//! | what | where |
//! |---|---|
//! | packets, selective acks | [`Packet`], [`Header`] |
//! | wrapping numbers and clocks | `seq` |
//! | who is who, half-open connections, resets | [`Endpoint`] |
//! | how one connection opens, goes on and ends | `connection` |
//! | loss, retransmission | `send`, `rtt` |
//! | order, acks, room | `receive` |
//! | LEDBAT (RFC 6817), delays, pacing, path MTU | `ledbat`, `delay`, `pace`, `mtu` |

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

mod connection;
mod delay;
mod endpoint;
mod ledbat;
mod mtu;
mod pace;
mod packet;
mod receive;
mod rtt;
mod send;
mod seq;

pub use connection::Closed;
pub use endpoint::{Blocked, Config, ConnectionId, Endpoint, Event, Transmit};
pub use packet::{HEADER_BYTES, Header, Kind, Packet, SACK_BYTES_MAX};
pub use seq::Seq;
