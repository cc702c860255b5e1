//! What an embedder may choose.

use crate::peer_store::PeerLimits;
use crate::rates::SourceLimits;

/// Settings of a [`crate::Dht`].
#[derive(Debug, Clone)]
pub struct Settings {
    /// Ask, but answer nobody (BEP 43): for who cannot be reached, or pays for traffic.
    pub is_read_only: bool,
    /// Two letters of the client and two bytes of its version, in every packet.
    pub client: [u8; 4],
    /// What is kept for others.
    pub peers: PeerLimits,
    /// Items kept for others (BEP 44), each of up to 1,000 bytes.
    pub items_max: usize,
    /// What one source of queries gets.
    pub source: SourceLimits,
    /// Queries we send a second, all in all. A lookup needs about thirty.
    pub queries_per_second: u32,
    /// Bytes of answers a second to all sources together: small beside a line of 1 Mbit/s.
    pub reply_bytes_per_second: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            is_read_only: false,
            client: *b"PL\x01\x00",
            peers: PeerLimits::default(),
            items_max: 1_000,
            source: SourceLimits::default(),
            queries_per_second: 100,
            reply_bytes_per_second: 64 * 1024,
        }
    }
}
