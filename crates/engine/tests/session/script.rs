//! Scripted peers that speak raw bytes, so that nothing of ours vouches for ours.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use crate::support::DEADLINE;

/// A peer on loopback that runs `script` on each connection. Scripts end with the connection; a
/// broken pipe is the expected end of most.
pub(crate) fn peer(
    script: impl Fn(Peer) -> std::io::Result<()> + Send + Sync + 'static,
) -> SocketAddr {
    // An address of its own: a ban must not hit the honest peer.
    let listener = TcpListener::bind((Ipv4Addr::new(127, 0, 0, 66), 0)).unwrap();
    let addr = listener.local_addr().unwrap();
    let script = std::sync::Arc::new(script);
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let script = std::sync::Arc::clone(&script);
            thread::spawn(move || {
                stream.set_read_timeout(Some(DEADLINE)).unwrap();
                stream.set_write_timeout(Some(DEADLINE)).unwrap();
                let _ = script(Peer { stream });
            });
        }
    });
    addr
}

/// A port of every address whose connections nobody ever answers.
pub(crate) fn silence() -> (TcpListener, u16) {
    let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    (listener, port)
}

/// One connection of a scripted peer.
pub(crate) struct Peer {
    stream: TcpStream,
}

impl Peer {
    /// Connects with the fast extension and sends its handshake. Reads nothing, and gives up what
    /// it can't send within two seconds.
    pub(crate) fn connect_deaf(addr: SocketAddr, info_hash: [u8; 20]) -> std::io::Result<Self> {
        let stream = TcpStream::connect(addr)?;
        stream.set_write_timeout(Some(Duration::from_secs(2)))?;
        let mut peer = Self { stream };
        peer.send(b"\x13BitTorrent protocol\0\0\0\0\0\0\0\x04")?;
        peer.send(&info_hash)?;
        peer.send(b"-XX0001-hostile-peer")?;
        Ok(peer)
    }

    /// Reads the other side's handshake and answers with the same info hash. The reserved bits ask
    /// for nothing, or for the fast extension.
    pub(crate) fn shake_hands(&mut self, fast: bool) -> std::io::Result<[u8; 68]> {
        self.shake_hands_with([0, 0, 0, 0, 0, 0, 0, if fast { 4 } else { 0 }])
    }

    /// The same with any reserved bits.
    pub(crate) fn shake_hands_with(&mut self, reserved: [u8; 8]) -> std::io::Result<[u8; 68]> {
        let mut theirs = [0; 68];
        self.stream.read_exact(&mut theirs)?;
        let mut ours = theirs;
        ours[20..28].copy_from_slice(&reserved);
        ours[48..].copy_from_slice(b"-XX0001-hostile-peer");
        self.send(&ours)?;
        Ok(theirs)
    }

    /// The kind and body of the next message; keep-alives are skipped.
    pub(crate) fn next_message(&mut self) -> std::io::Result<(u8, Vec<u8>)> {
        loop {
            let mut length = [0; 4];
            self.stream.read_exact(&mut length)?;
            let mut body = vec![0; u32::from_be_bytes(length) as usize];
            self.stream.read_exact(&mut body)?;
            if !body.is_empty() {
                return Ok((body.remove(0), body));
            }
        }
    }

    /// Reads the other side's handshake, and from then on waits for as long as a test may.
    pub(crate) fn read_handshake(&mut self) -> std::io::Result<()> {
        self.stream.set_read_timeout(Some(DEADLINE))?;
        self.stream.set_write_timeout(Some(DEADLINE))?;
        self.stream.read_exact(&mut [0; 68])
    }

    /// The same connection, for who reads while another writes.
    pub(crate) fn other_half(&self) -> std::io::Result<Self> {
        Ok(Self { stream: self.stream.try_clone()? })
    }

    pub(crate) fn read_exact(&mut self, bytes: &mut [u8]) -> std::io::Result<()> {
        self.stream.read_exact(bytes)
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.stream.write_all(bytes)
    }

    /// A length-prefixed message.
    pub(crate) fn message(&mut self, id: u8, body: &[u8]) -> std::io::Result<()> {
        let mut bytes = u32::try_from(body.len() + 1).unwrap().to_be_bytes().to_vec();
        bytes.push(id);
        bytes.extend_from_slice(body);
        self.send(&bytes)
    }

    /// Offers all of `pieces` pieces and unchokes.
    pub(crate) fn offer_everything(&mut self, pieces: u32) -> std::io::Result<()> {
        let mut bits = vec![0u8; pieces.div_ceil(8) as usize];
        (0..pieces).for_each(|piece| bits[piece as usize / 8] |= 0x80 >> (piece % 8));
        self.message(5, &bits)?;
        self.message(1, &[])
    }

    /// The next `request` (piece, begin, length), skipping everything else.
    pub(crate) fn next_request(&mut self) -> std::io::Result<(u32, u32, u32)> {
        loop {
            let mut length = [0; 4];
            self.stream.read_exact(&mut length)?;
            let mut body = vec![0; u32::from_be_bytes(length) as usize];
            self.stream.read_exact(&mut body)?;
            if body.first() == Some(&6) {
                let word = |at: usize| u32::from_be_bytes(body[at..at + 4].try_into().unwrap());
                return Ok((word(1), word(5), word(9)));
            }
        }
    }

    /// A `piece` message.
    pub(crate) fn block(&mut self, piece: u32, begin: u32, data: &[u8]) -> std::io::Result<()> {
        let mut body = piece.to_be_bytes().to_vec();
        body.extend_from_slice(&begin.to_be_bytes());
        body.extend_from_slice(data);
        self.message(7, &body)
    }

    /// Reads and drops until the other side closes.
    pub(crate) fn drain(&mut self) -> std::io::Result<()> {
        let mut sink = [0; 4096];
        while self.stream.read(&mut sink)? > 0 {}
        Ok(())
    }
}
