//! One uTP connection as a stream: it is read, written and waited for like a socket.

use std::future::poll_fn;
use std::io::{self, IoSlice, IoSliceMut};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};

use ::utp::{Blocked, Closed, ConnectionId};
use tokio::io::{Interest, Ready};

use crate::utp_driver::{Utp, error_of};

const READABLE: u8 = 1;
const WRITABLE: u8 = 2;
const CONNECTED: u8 = 4;
const CLOSED: u8 = 8;

/// What a connection is ready for, and the one task that waits for it.
///
/// It is set under the endpoint's lock, and unset under it by who found that it was not so.
#[derive(Debug)]
pub(crate) struct Wake {
    ready: AtomicU8,
    waiting: Mutex<Option<Waker>>,
    closed: Mutex<Option<Closed>>,
}

impl Default for Wake {
    fn default() -> Self {
        Self { ready: WRITABLE.into(), waiting: Mutex::default(), closed: Mutex::default() }
    }
}

impl Wake {
    fn set(&self, what: u8) {
        self.ready.fetch_or(what, Ordering::AcqRel);
        let waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(waiting) = waiting {
            waiting.wake();
        }
    }

    fn unset(&self, what: u8) {
        self.ready.fetch_and(!what, Ordering::AcqRel);
    }

    pub(crate) fn readable(&self) {
        self.set(READABLE);
    }

    pub(crate) fn writable(&self) {
        self.set(WRITABLE);
    }

    pub(crate) fn connected(&self) {
        self.set(CONNECTED);
    }

    pub(crate) fn closed(&self, reason: Closed) {
        *self.closed.lock().unwrap_or_else(PoisonError::into_inner) = Some(reason);
        self.set(READABLE | WRITABLE | CLOSED);
    }

    /// Which of these it is ready for, when it is for any.
    fn poll(&self, what: u8, context: &Context<'_>) -> Poll<u8> {
        let ready = || self.ready.load(Ordering::Acquire) & what;
        if ready() == 0 {
            *self.waiting.lock().unwrap_or_else(PoisonError::into_inner) =
                Some(context.waker().clone());
            if ready() == 0 {
                return Poll::Pending;
            }
        }
        Poll::Ready(ready())
    }
}

/// A uTP connection. Dropping it sends what was written, and closes it.
pub(crate) struct UtpStream {
    utp: Option<Arc<Utp>>,
    id: ConnectionId,
    pub(crate) remote: SocketAddr,
    wake: Arc<Wake>,
}

impl std::fmt::Debug for UtpStream {
    fn fmt(&self, to: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(to, "uTP to {}", self.remote)
    }
}

impl UtpStream {
    pub(crate) fn new(
        utp: Arc<Utp>,
        id: ConnectionId,
        remote: SocketAddr,
        wake: Arc<Wake>,
    ) -> Self {
        Self { utp: Some(utp), id, remote, wake }
    }

    /// Lets go of a connection that the endpoint closes itself.
    pub(crate) fn forget(mut self) {
        self.utp = None;
    }

    pub(crate) async fn connected(&self) -> io::Result<()> {
        let ready = poll_fn(|context| self.wake.poll(CONNECTED | CLOSED, context)).await;
        if ready & CONNECTED != 0 {
            return Ok(());
        }
        let closed = *self.wake.closed.lock().unwrap_or_else(PoisonError::into_inner);
        Err(error_of(Blocked::Closed(closed.unwrap_or(Closed::TimedOut))))
    }

    pub(crate) async fn ready(&self, interest: Interest) -> io::Result<Ready> {
        let mut what = 0;
        what |= if interest.is_readable() { READABLE } else { 0 };
        what |= if interest.is_writable() { WRITABLE } else { 0 };
        let ready = poll_fn(|context| self.wake.poll(what, context)).await;
        let readable = if ready & READABLE == 0 { Ready::EMPTY } else { Ready::READABLE };
        let writable = if ready & WRITABLE == 0 { Ready::EMPTY } else { Ready::WRITABLE };
        Ok(readable | writable)
    }

    pub(crate) fn try_read_vectored(&self, slices: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        let Some(utp) = &self.utp else { return Ok(0) };
        utp.with(|endpoint| {
            let mut total = 0;
            for slice in slices.iter_mut().filter(|slice| !slice.is_empty()) {
                match endpoint.read(self.id, slice) {
                    Ok(count) => {
                        total += count;
                        if count == 0 {
                            break; // the end: if something came before it, the next call tells
                        }
                    }
                    Err(Blocked::Later) => {
                        self.wake.unset(READABLE);
                        if total == 0 {
                            return Err(io::ErrorKind::WouldBlock.into());
                        }
                        break;
                    }
                    Err(closed) if total == 0 => return Err(error_of(closed)),
                    Err(_) => break,
                }
            }
            Ok(total)
        })
    }

    pub(crate) fn try_write_vectored(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let Some(utp) = &self.utp else { return Err(io::ErrorKind::NotConnected.into()) };
        utp.with(|endpoint| {
            let mut total = 0;
            for slice in slices.iter().filter(|slice| !slice.is_empty()) {
                match endpoint.write(self.id, slice) {
                    Ok(count) => {
                        total += count;
                        if count < slice.len() {
                            self.wake.unset(WRITABLE);
                            break;
                        }
                    }
                    Err(blocked) => {
                        if blocked == Blocked::Later {
                            self.wake.unset(WRITABLE);
                        }
                        if total == 0 {
                            return Err(error_of(blocked));
                        }
                        break;
                    }
                }
            }
            Ok(total)
        })
    }

    pub(crate) fn poll_read(
        &self,
        context: &Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        loop {
            if self.wake.poll(READABLE, context).is_pending() {
                return Poll::Pending;
            }
            match self.try_read_vectored(&mut [IoSliceMut::new(buffer)]) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                done => return Poll::Ready(done),
            }
        }
    }

    pub(crate) fn poll_write(
        &self,
        context: &Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        loop {
            if self.wake.poll(WRITABLE, context).is_pending() {
                return Poll::Pending;
            }
            match self.try_write_vectored(&[IoSlice::new(bytes)]) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                done => return Poll::Ready(done),
            }
        }
    }
}

impl Drop for UtpStream {
    fn drop(&mut self) {
        if let Some(utp) = &self.utp {
            utp.close(self.id);
        }
    }
}
