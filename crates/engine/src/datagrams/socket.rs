//! One UDP socket with segmentation offload.

use std::io::{self, IoSliceMut};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};

use quinn_udp::{RecvMeta, Transmit, UdpSocketState};
use tokio::io::Interest;
use tokio::net::UdpSocket;

use super::Path;
use crate::net::{Held, Network, Purpose};

pub(super) struct Socket {
    io: Held<UdpSocket>,
    state: UdpSocketState,
    addr: SocketAddr,
    /// Which of the network's interfaces it was made for.
    generation: u64,
    /// Its port was left: only who is connected by it is heard.
    is_left: AtomicBool,
}

impl Socket {
    pub(super) fn open(network: &Network, addr: SocketAddr) -> io::Result<Self> {
        let generation = network.generation();
        let io = network.udp(addr, Purpose::Datagrams)?;
        let state = UdpSocketState::new((&*io).into())?;
        let addr = io.local_addr()?;
        Ok(Self { io, state, addr, generation, is_left: AtomicBool::default() })
    }

    /// Whether the interface that it is bound to is the one that the network has now.
    pub(super) fn is_of(&self, network: &Network) -> bool {
        self.generation == network.generation()
    }

    /// Whether strangers are heard.
    pub(super) fn lets_in(&self, strangers: bool) {
        self.is_left.store(!strangers, Ordering::Relaxed);
    }

    pub(super) fn is_left(&self) -> bool {
        self.is_left.load(Ordering::Relaxed)
    }

    pub(super) fn local_addr(&self) -> SocketAddr {
        self.addr
    }

    #[allow(dead_code)] // see `Datagrams::writable`
    pub(super) async fn writable(&self) -> io::Result<()> {
        self.io.writable().await
    }

    pub(super) async fn readable(&self) -> io::Result<()> {
        self.io.readable().await
    }

    pub(super) fn try_recv(
        &self,
        buffers: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> io::Result<usize> {
        let recv = || self.state.recv((&*self.io).into(), buffers, meta);
        self.io.try_io(Interest::READABLE, recv)
    }

    /// See [`super::Datagrams::try_send`].
    pub(super) fn try_send(&self, to: Path, bytes: &[u8], segment: usize) -> io::Result<()> {
        let segment = segment.max(1);
        let mut sent = false;
        let mut rest = bytes;
        while !rest.is_empty() {
            // Fewer than before, once the system has turned out not to offload.
            let count = self.state.max_gso_segments().max(1);
            let (now, later) = rest.split_at(rest.len().min(segment.saturating_mul(count)));
            let transmit = Transmit {
                destination: to.remote,
                ecn: None,
                contents: now,
                segment_size: Some(segment).filter(|_| now.len() > segment),
                src_ip: to.local.map(|addr| addr.ip()).filter(|ip| !ip.is_unspecified()),
            };
            let send = || self.state.try_send((&*self.io).into(), &transmit);
            match self.io.try_io(Interest::WRITABLE, send) {
                Ok(()) => {}
                // The rest of a burst that has begun is lost, as the network might lose it.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock && sent => return Ok(()),
                Err(error) if self.offloads_less(count, now.len() > segment, &error) => continue,
                Err(error) => return Err(error),
            }
            (rest, sent) = (later, true);
        }
        Ok(())
    }

    /// Whether a burst failed for the offloading alone, which is off from now on.
    fn offloads_less(&self, before: usize, burst: bool, error: &io::Error) -> bool {
        burst
            && error.kind() != io::ErrorKind::WouldBlock
            && self.state.max_gso_segments().max(1) < before
    }
}
