//! To a peer by TCP or uTP (BEP 29), whichever is there first. Encryption and the handshake come on top,
//! in `peer/outgoing.rs`.

use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::time::Duration;

use tokio::time::timeout;

use crate::ip_filter::Gate;
use crate::net::Purpose;
use crate::session::SessionShared;
use crate::settings::Transport;
use crate::stream::Stream;

/// What TCP has before uTP is tried beside it: most peers that take TCP at all have answered.
const HEAD_START: Duration = Duration::from_millis(400);
/// How long uTP is tried where TCP was refused: a router may have let one of the two through. Most
/// such peers are gone, and others wait to be dialled.
const AFTER_REFUSAL: Duration = Duration::from_secs(3);

/// Connects by what the settings allow, or by uTP alone: to who dials us at the same time (BEP 55), and
/// where TCP leads to no peer.
pub(crate) async fn connect(
    session: &SessionShared,
    addr: SocketAddr,
    utp_alone: bool,
) -> io::Result<Stream> {
    if session.gate.refuses(addr.ip()) {
        return Err(Gate::error(addr.ip()));
    }
    let tcp = async { session.network.connect(addr, Purpose::Peers).await.map(Stream::Tcp) };
    let utp = async { session.utp.connect(addr).await.map(Stream::Utp) };
    match session.settings.transport {
        _ if utp_alone => utp.await,
        Transport::Tcp => tcp.await,
        Transport::Utp => utp.await,
        Transport::Both => race(tcp, utp).await,
    }
}

/// Lets the second start later than the first, and takes who arrives.
async fn race(
    first: impl Future<Output = io::Result<Stream>>,
    second: impl Future<Output = io::Result<Stream>>,
) -> io::Result<Stream> {
    let (mut first, mut second) = (pin!(first), pin!(second));
    match timeout(HEAD_START, &mut first).await {
        Ok(Ok(stream)) => return Ok(stream),
        Ok(Err(error)) => {
            return timeout(AFTER_REFUSAL, second).await.ok().and_then(Result::ok).ok_or(error);
        }
        Err(_) => {}
    }
    tokio::select! {
        done = &mut first => match done {
            Ok(stream) => Ok(stream),
            Err(error) => second.await.map_err(|_| error),
        },
        done = &mut second => match done {
            Ok(stream) => Ok(stream),
            Err(_) => first.await,
        },
    }
}

#[cfg(test)]
mod tests;
