//! Says no to uTP (BEP 29) at once, on the UDP port beside the TCP listener.
//!
//! Clients that prefer uTP try it first and come back over TCP when it fails. Silence costs
//! libtorrent three seconds of retries; a reset costs a round trip.

use std::sync::Arc;

use crate::datagrams::{Datagrams, Handler, Path};

/// Bytes of a uTP header, which is all that a SYN or a reset is.
const HEADER: usize = 20;
/// Type 4 (SYN), version 1.
const SYN: u8 = 0x41;
/// Type 3 (reset), version 1.
const RESET: u8 = 0x31;

/// Answers for as long as it lives.
pub(crate) struct UtpRefusal(pub(crate) Arc<Datagrams>);

impl Handler for UtpRefusal {
    fn datagram(&self, from: Path, bytes: &[u8]) {
        // What follows the header, an extension, is not needed.
        let Some(&header) = bytes.first_chunk::<HEADER>() else { return };
        if header[0] == SYN {
            // Never longer than what asks for it: no use to who forges the sender.
            let _ = self.0.try_send(from, &reset(header, fastrand::u16(..)), HEADER);
        }
    }
}

/// The reset that answers a SYN.
fn reset(syn: [u8; HEADER], sequence: u16) -> [u8; HEADER] {
    let mut reply = [0; HEADER];
    reply[0] = RESET;
    reply[2..4].copy_from_slice(&syn[2..4]); // the connection
    reply[16..18].copy_from_slice(&sequence.to_be_bytes());
    reply[18..].copy_from_slice(&syn[16..18]); // what it acknowledges: the SYN's own number
    reply
}

#[cfg(test)]
mod tests {
    use tokio::net::UdpSocket;

    use super::*;
    use crate::datagrams::Kind;

    #[tokio::test]
    async fn a_syn_is_reset_and_nothing_else_is_answered() {
        let hub = Datagrams::open(&["127.0.0.1:0".parse().unwrap()]);
        let refusal = Arc::new(UtpRefusal(Arc::clone(&hub)));
        hub.register(Kind::Utp, &refusal);
        let theirs = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        theirs.connect(hub.local_addrs()[0]).await.unwrap();
        let mut syn = [0; HEADER];
        syn[0] = SYN;
        syn[2..4].copy_from_slice(&[0xab, 0xcd]);
        syn[16..18].copy_from_slice(&[0x12, 0x34]);
        let data = [0x01; HEADER];
        for packet in [&data[..], &syn[..19], &[], &syn[..]] {
            theirs.send(packet).await.unwrap();
        }
        let mut reply = [0; 64];
        let received = theirs.recv(&mut reply).await.unwrap();
        assert_eq!(received, HEADER);
        assert_eq!((reply[0], &reply[2..4], &reply[18..20]), (0x31, &syn[2..4], &syn[16..18]));
        assert!(theirs.try_recv(&mut reply).is_err(), "one answer for one SYN");
    }
}
