//! Opening a port of a home router for us, or a pinhole in its firewall for IPv6: NAT-PMP (RFC 6886), PCP
//! (RFC 6887) and UPnP's Internet Gateway Device, versions 1 and 2, as messages; and when that is renewed.
//!
//! Pure: bytes in, bytes out. Whatever answers may be anything on a network that is not ours, so every
//! answer is checked against what was asked, and none makes us wait for ever or ask without pause.

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

mod epoch;
pub mod igd;
pub mod natpmp;
pub mod pcp;
mod renewal;
mod routes;
pub mod ssdp;
mod xml;

pub use epoch::Epoch;
pub use renewal::{LIFETIME_SECONDS, Renewal};
pub use routes::{default_gateway_v4, default_gateway_v6};

/// What carries what is mapped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

impl Protocol {
    /// Both, in the order in which they are mapped: peers hear of TCP's port.
    pub const BOTH: [Self; 2] = [Self::Tcp, Self::Udp];

    /// As IP numbers them.
    pub(crate) fn number(self) -> u8 {
        match self {
            Self::Tcp => 6,
            Self::Udp => 17,
        }
    }
}

impl std::fmt::Display for Protocol {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(match self {
            Self::Tcp => "TCP",
            Self::Udp => "UDP",
        })
    }
}

/// The UDP port on which gateways speak NAT-PMP and PCP.
pub const GATEWAY_PORT: u16 = 5351;
