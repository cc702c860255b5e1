//! Drives both sides of MSE over a stream, up to where the handshake of BEP 3 goes on.

use metainfo::InfoHash;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use wire::mse::{Agreed, Initiator, Methods, MseError, Responder};

use super::handshake::{HandshakeFailure, Ours, broken};
use super::line::Line;
use crate::stream::Stream;

/// Bytes read at a time: more than any part of the handshake but what was sent within.
const READ_BYTES: usize = 1024;

/// Connects with our handshake inside. The peer's follows on the line.
pub(super) async fn initiate(mut stream: Stream, ours: Ours) -> Result<Line, HandshakeFailure> {
    let mut mse = Initiator::new(ours.info_hash, Methods::BOTH, ours.encode(), randomness());
    loop {
        stream.write_all(&mse.take_output()).await.map_err(broken(0))?;
        if mse.need() == 0 {
            break;
        }
        let mut bytes = [0; READ_BYTES];
        let got = read(&mut stream, &mut bytes, mse.need()).await?;
        mse.receive(&bytes[..got])?;
    }
    Ok(line(stream, mse.finish().ok_or(MseError::NoMark)?))
}

/// Answers who began with `first`. What it sent within, its handshake mostly, is the first that can be
/// read from the line. Also returns the torrent it means.
pub(super) async fn respond(
    mut stream: Stream,
    first: &[u8],
    find: impl Fn(&[u8; 20]) -> Option<InfoHash>,
) -> Result<(Line, InfoHash), HandshakeFailure> {
    let mut mse = Responder::new(Methods::BOTH, randomness());
    mse.receive(first, &find)?;
    while mse.need() > 0 {
        let mut bytes = [0; READ_BYTES];
        let got = read(&mut stream, &mut bytes, mse.need()).await?;
        mse.receive(&bytes[..got], &find)?;
        stream.write_all(&mse.take_output()).await.map_err(broken(0))?;
    }
    let agreed = mse.finish().ok_or(MseError::NoMark)?;
    let torrent = agreed.info_hash;
    Ok((line(stream, agreed), torrent))
}

/// Reads `need` bytes at most: what comes behind the handshake stays in the stream.
async fn read(
    stream: &mut Stream,
    bytes: &mut [u8],
    need: usize,
) -> Result<usize, HandshakeFailure> {
    let length = need.min(bytes.len());
    match stream.read(&mut bytes[..length]).await.map_err(broken(0))? {
        0 => Err(HandshakeFailure::ClosedEarly { received: 0 }),
        got => Ok(got),
    }
}

fn line(stream: Stream, agreed: Agreed) -> Line {
    let method = Some(agreed.method());
    Line { stream, ciphers: agreed.ciphers.map(Box::new), early: agreed.initial, method }
}

/// Padding and keys. They hide what is spoken from who looks on, and keep no secret.
fn randomness() -> impl FnMut() -> u8 {
    let mut rng = fastrand::Rng::new();
    move || rng.u8(..)
}
