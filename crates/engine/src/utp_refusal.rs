//! Says no to uTP (BEP 29) at once, on the UDP port beside the TCP listener.
//!
//! Clients that prefer uTP try it first and come back over TCP when it fails. Silence costs
//! libtorrent three seconds of retries; a reset costs a round trip.

use std::time::Duration;

use tokio::net::UdpSocket;

/// Bytes of a uTP header, which is all that a SYN or a reset is.
const HEADER: usize = 20;
/// Type 4 (SYN), version 1.
const SYN: u8 = 0x41;
/// Type 3 (reset), version 1.
const RESET: u8 = 0x31;

/// A socket that fails without having waited must not spin.
const BROKEN_PAUSE: Duration = Duration::from_millis(200);

/// Answers for as long as the session lives.
pub(crate) async fn refuse(socket: UdpSocket) {
    let mut packet = [0; HEADER];
    loop {
        // What follows the header, an extension, is cut off and not needed.
        let Ok((received, from)) = socket.recv_from(&mut packet).await else {
            tokio::time::sleep(BROKEN_PAUSE).await;
            continue;
        };
        if received == HEADER && packet[0] == SYN {
            // Never longer than what asks for it: no use to who forges the sender.
            let _ = socket.send_to(&reset(packet, fastrand::u16(..)), from).await;
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
    use super::*;

    #[tokio::test]
    async fn a_syn_is_reset_and_nothing_else_is_answered() {
        let ours = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let addr = ours.local_addr().unwrap();
        let task = tokio::spawn(refuse(ours));
        let theirs = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        theirs.connect(addr).await.unwrap();
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
        task.abort();
    }
}
