//! Receives all that a socket has, and hands it to who takes its kind.

use std::io::{self, IoSliceMut};
use std::net::SocketAddr;
use std::sync::{Arc, Weak};
use std::time::Duration;

use quinn_udp::RecvMeta;

use super::socket::Socket;
use super::{Datagrams, Handler, Kind, Path};

/// The longest run of datagrams that the system puts together.
const BUFFER_BYTES: usize = 64 * 1024;
/// Runs taken by one system call: as much as stays in a second-level cache.
const BUFFERS: usize = 4;

/// A socket that fails without having waited must not spin.
const BROKEN_PAUSE: Duration = Duration::from_millis(200);

/// Receives for as long as the hub lives.
pub(super) async fn receive(hub: Weak<Datagrams>, socket: Arc<Socket>) {
    // Pages that nothing is received into are never touched.
    let mut memory = vec![0; BUFFERS * BUFFER_BYTES];
    let mut meta = [RecvMeta::default(); BUFFERS];
    let mut pending = Pending::default();
    loop {
        let ready = socket.readable().await;
        let Some(hub) = hub.upgrade() else { return };
        let mut parts = memory.chunks_mut(BUFFER_BYTES);
        let mut buffers: [IoSliceMut<'_>; BUFFERS] =
            std::array::from_fn(|_| IoSliceMut::new(parts.next().unwrap_or_default()));
        let received = ready.and_then(|()| socket.try_recv(&mut buffers, &mut meta));
        match received {
            Ok(count) => {
                for (buffer, meta) in buffers.iter().zip(&meta[..count]) {
                    let local = meta.dst_ip.unwrap_or(socket.local_addr().ip());
                    let local = Some(SocketAddr::new(local, socket.local_addr().port()));
                    let from = Path { remote: meta.addr, local };
                    for datagram in buffer[..meta.len].chunks(meta.stride.max(1)) {
                        if !socket.is_left() || goes_on(datagram) {
                            pending.pass_on(&hub, from, datagram);
                        }
                    }
                }
                if count < BUFFERS {
                    pending.drained();
                }
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => pending.drained(),
            // Somebody whom we sent to is not there: no fault of the socket's.
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => {}
            Err(error) => {
                tracing::debug!(%error, "can't receive datagrams");
                pending.drained();
                drop(hub);
                tokio::time::sleep(BROKEN_PAUSE).await;
            }
        }
    }
}

/// Whether it may be of a connection that there is.
fn goes_on(datagram: &[u8]) -> bool {
    Kind::of(datagram) == Some(Kind::Utp) && !Kind::opens(datagram)
}

/// Handlers that got something and don't know yet that it was all.
#[derive(Default)]
pub(super) struct Pending([Option<Arc<dyn Handler>>; 2]);

impl Pending {
    pub(super) fn pass_on(&mut self, hub: &Datagrams, from: Path, datagram: &[u8]) {
        let Some(kind) = Kind::of(datagram) else { return };
        if hub.gate.holds(from.remote.ip()) {
            // Who wants to connect is refused; the rest would have been for nobody.
            if Kind::opens(datagram) {
                hub.gate.refuses(from.remote.ip());
            }
            return;
        }
        let handler = &mut self.0[kind as usize];
        if handler.is_none() {
            *handler = hub.handler(kind);
        }
        if let Some(handler) = handler {
            handler.datagram(from, datagram);
        }
    }

    pub(super) fn drained(&mut self) {
        self.0.iter_mut().filter_map(Option::take).for_each(|handler| handler.drained());
    }
}
