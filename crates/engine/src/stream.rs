//! A peer's stream of bytes, whatever carries it: what is above reads and writes, and no more.

use std::io::{self, IoSlice, IoSliceMut};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf, Ready};
use tokio::net::TcpStream;

use crate::net::Held;
use crate::utp_stream::UtpStream;

/// A connection to a peer.
#[derive(Debug)]
pub(crate) enum Stream {
    Tcp(Held<TcpStream>),
    Utp(UtpStream),
}

/// The same between two threads: it belongs to no runtime.
#[derive(Debug)]
pub(crate) enum Detached {
    Tcp(Held<std::net::TcpStream>),
    Utp(UtpStream),
}

impl Stream {
    /// Whether uTP carries it.
    pub(crate) fn is_utp(&self) -> bool {
        matches!(self, Self::Utp(_))
    }

    /// Waits until one of these can be done.
    pub(crate) async fn ready(&self, interest: Interest) -> io::Result<Ready> {
        match self {
            Self::Tcp(stream) => stream.ready(interest).await,
            Self::Utp(stream) => stream.ready(interest).await,
        }
    }

    /// One scattered read, or `WouldBlock`.
    pub(crate) fn try_read_vectored(&self, slices: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.try_read_vectored(slices),
            Self::Utp(stream) => stream.try_read_vectored(slices),
        }
    }

    /// One gathered write, or `WouldBlock`.
    pub(crate) fn try_write_vectored(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.try_write_vectored(slices),
            Self::Utp(stream) => stream.try_write_vectored(slices),
        }
    }

    /// A read that left room took all there was: to read again would be in vain. The runtime is told
    /// so in its own terms, and wakes the task when more has come.
    pub(crate) fn await_more(&self) {
        match self {
            Self::Tcp(stream) => {
                let nothing = || Err::<(), _>(io::ErrorKind::WouldBlock.into());
                let _ = stream.try_io(Interest::READABLE, nothing);
            }
            Self::Utp(_) => {} // it knows
        }
    }

    /// Readies an accepted stream for another thread.
    pub(crate) fn detach(self) -> io::Result<Detached> {
        match self {
            Self::Tcp(stream) => {
                stream.set_nodelay(true)?;
                stream.map(TcpStream::into_std).map(Detached::Tcp)
            }
            Self::Utp(stream) => Ok(Detached::Utp(stream)),
        }
    }
}

impl Detached {
    /// Makes it this runtime's.
    pub(crate) fn attach(self) -> io::Result<Stream> {
        match self {
            Self::Tcp(stream) => stream.map(TcpStream::from_std).map(Stream::Tcp),
            Self::Utp(stream) => Ok(Stream::Utp(stream)),
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_read(context, buffer),
            Self::Utp(stream) => {
                let count = ready!(stream.poll_read(context, buffer.initialize_unfilled()))?;
                buffer.advance(count);
                Poll::Ready(Ok(()))
            }
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_write(context, bytes),
            Self::Utp(stream) => stream.poll_write(context, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_flush(context),
            Self::Utp(_) => Poll::Ready(Ok(())),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_shutdown(context),
            Self::Utp(_) => Poll::Ready(Ok(())), // its drop closes it
        }
    }
}
