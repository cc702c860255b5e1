//! A stream to a peer while hands are shaken: what it goes through, and what came early.

use std::io;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use wire::mse::{Ciphers, Method};

use crate::stream::{Detached, Stream};

/// What two sides talk over. What is read and written here is plaintext.
pub(crate) struct Line<S = Stream> {
    pub(super) stream: S,
    /// What all bytes on the stream go through, if anything.
    pub(super) ciphers: Option<Box<Ciphers>>,
    /// What has arrived and was not read, decrypted.
    pub(super) early: Vec<u8>,
    /// What was agreed on, if anything.
    pub(super) method: Option<Method>,
}

impl Line {
    pub(crate) fn new(stream: Stream) -> Self {
        Self { stream, ciphers: None, early: Vec::new(), method: None }
    }

    /// Whether uTP carries it.
    pub(crate) fn is_utp(&self) -> bool {
        self.stream.is_utp()
    }

    /// How the payload goes when the handshake was encrypted.
    pub(crate) fn method(&self) -> Option<Method> {
        self.method
    }

    /// Reads what is there, or waits for something; 0 when the other side has closed.
    pub(crate) async fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        if !self.early.is_empty() {
            let part = bytes.len().min(self.early.len());
            bytes[..part].copy_from_slice(&self.early[..part]);
            self.early.drain(..part);
            return Ok(part);
        }
        let got = self.stream.read(bytes).await?;
        if let Some(ciphers) = &mut self.ciphers {
            ciphers.receive.apply(&mut bytes[..got]);
        }
        Ok(got)
    }

    pub(crate) async fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        let Some(ciphers) = &mut self.ciphers else { return self.stream.write_all(bytes).await };
        let mut bytes = bytes.to_vec();
        ciphers.send.apply(&mut bytes);
        self.stream.write_all(&bytes).await
    }

    /// What is read next, before what has come since.
    pub(crate) fn put_back(&mut self, bytes: Vec<u8>) {
        self.early.splice(..0, bytes);
    }

    /// Readies it for another thread.
    pub(crate) fn detach(self) -> io::Result<Line<Detached>> {
        let Self { stream, ciphers, early, method } = self;
        Ok(Line { stream: stream.detach()?, ciphers, early, method })
    }
}

impl Line<Detached> {
    /// One that this was agreed on.
    #[cfg(test)]
    pub(crate) fn agreed(stream: Detached, ciphers: Option<Ciphers>) -> Self {
        Self { stream, ciphers: ciphers.map(Box::new), early: Vec::new(), method: None }
    }

    /// Makes it this runtime's.
    pub(crate) fn attach(self) -> io::Result<Line> {
        let Self { stream, ciphers, early, method } = self;
        Ok(Line { stream: stream.attach()?, ciphers, early, method })
    }
}
