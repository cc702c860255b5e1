//! A socket and its place on the list of sockets, which ends with it.

use std::io::{self, IoSlice};
use std::ops::Deref;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use super::registry::Entry;

/// A socket that is on the list for as long as it lives.
#[derive(Debug)]
pub(crate) struct Held<T> {
    socket: T,
    entry: Entry,
}

impl<T> Held<T> {
    pub(super) fn new(socket: T, entry: Entry) -> Self {
        Self { socket, entry }
    }

    /// A socket that a test made by itself.
    #[cfg(test)]
    pub(crate) fn unlisted(socket: T) -> Self {
        Self { socket, entry: Entry::default() }
    }

    /// The same socket as something else.
    pub(crate) fn map<U>(self, make: impl FnOnce(T) -> io::Result<U>) -> io::Result<Held<U>> {
        Ok(Held { socket: make(self.socket)?, entry: self.entry })
    }
}

impl<T> Deref for Held<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.socket
    }
}

impl AsyncRead for Held<TcpStream> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().socket).poll_read(context, buffer)
    }
}

impl AsyncWrite for Held<TcpStream> {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().socket).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().socket).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().socket).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().socket).poll_shutdown(context)
    }
}
