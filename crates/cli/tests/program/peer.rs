//! A scripted peer on a plain socket: says what it is told to, byte for byte.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread::{self, JoinHandle};

use crate::process::LIMIT;

/// The 68 bytes of a peer that has the extension protocol and the fast extension.
pub(crate) fn greeting(info_hash: [u8; 20]) -> Vec<u8> {
    let mut bytes = b"\x13BitTorrent protocol\0\0\0\0\0\x10\0\x04".to_vec();
    bytes.extend(info_hash);
    bytes.extend(b"-TR3000-abcdefghijkl");
    bytes
}

/// Accepts one connection and runs `script` on it.
pub(crate) fn once(
    script: impl FnOnce(&mut TcpStream) + Send + 'static,
) -> (SocketAddr, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback");
    let addr = listener.local_addr().expect("bound");
    let thread = thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("somebody comes");
        stream.set_read_timeout(Some(LIMIT)).expect("it is not zero");
        script(&mut stream);
    });
    (addr, thread)
}

/// Reads until the other side closes.
pub(crate) fn drain(stream: &mut TcpStream) {
    let mut buffer = [0; 4096];
    while stream.read(&mut buffer).is_ok_and(|read| read > 0) {}
}

/// A peer that has the pieces of `data` before `served` bytes and serves them. Ends when the other
/// side closes.
pub(crate) fn partial_seed(
    info_hash: [u8; 20],
    data: Vec<u8>,
    piece_length: usize,
    served: usize,
) -> (SocketAddr, JoinHandle<()>) {
    once(move |stream| {
        let _ = serve(stream, info_hash, &data, piece_length, served); // it goes away when killed
    })
}

fn serve(
    stream: &mut TcpStream,
    info_hash: [u8; 20],
    data: &[u8],
    piece_length: usize,
    served: usize,
) -> std::io::Result<()> {
    let mut hello = [0; 68];
    stream.read_exact(&mut hello)?;
    let mut out = b"\x13BitTorrent protocol\0\0\0\0\0\0\0\0".to_vec();
    out.extend(info_hash);
    out.extend(b"-XX0001-abcdefghijkl");
    let mut bitfield = vec![0_u8; data.len().div_ceil(piece_length).div_ceil(8)];
    for piece in 0..served / piece_length {
        bitfield[piece / 8] |= 0x80 >> (piece % 8);
    }
    out.extend((1 + bitfield.len() as u32).to_be_bytes());
    out.push(5);
    out.extend(bitfield);
    out.extend([0, 0, 0, 1, 1]); // unchoke
    stream.write_all(&out)?;
    loop {
        let mut length = [0; 4];
        stream.read_exact(&mut length)?;
        let mut message = vec![0; u32::from_be_bytes(length) as usize];
        stream.read_exact(&mut message)?;
        if message.first() != Some(&6) {
            continue;
        }
        let number = |at: usize| {
            let bytes: [u8; 4] = message[at..at + 4].try_into().expect("four bytes");
            u32::from_be_bytes(bytes) as usize
        };
        let (start, length) = (number(1) * piece_length + number(5), number(9));
        let mut reply = (9 + length as u32).to_be_bytes().to_vec();
        reply.push(7);
        reply.extend(&message[1..9]);
        reply.extend(&data[start..start + length]);
        stream.write_all(&reply)?;
    }
}
