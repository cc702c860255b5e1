//! What goes behind a response's head: a part of a file, as it is read, or a few words.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use hyper::body::{Body, Bytes, Frame, SizeHint};
use tokio::io::{AsyncRead, AsyncSeek, ReadBuf};

use crate::reader::FileReader;

/// Bytes that are handed over at a time.
const FRAME_BYTES_MAX: u64 = 64 * 1024;

pub(super) struct Answer {
    text: Bytes,
    reader: Option<FileReader>,
    /// Bytes of the file to come.
    left: u64,
    buffer: Vec<u8>,
}

impl Answer {
    pub(super) fn nothing() -> Self {
        Self::of_text("")
    }

    pub(super) fn of_text(text: &str) -> Self {
        let text = Bytes::copy_from_slice(text.as_bytes());
        Self { text, reader: None, left: 0, buffer: Vec::new() }
    }

    /// `count` bytes from `from` on.
    pub(super) fn of_file(mut reader: FileReader, from: u64, count: u64) -> Self {
        // A seek to a place from the start on can't fail.
        let _ = Pin::new(&mut reader).start_seek(io::SeekFrom::Start(from));
        Self { text: Bytes::new(), reader: Some(reader), left: count, buffer: Vec::new() }
    }
}

impl Body for Answer {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let this = &mut *self;
        if !this.text.is_empty() {
            return Poll::Ready(Some(Ok(Frame::data(std::mem::take(&mut this.text)))));
        }
        let Some(reader) = this.reader.as_mut().filter(|_| this.left > 0) else {
            return Poll::Ready(None);
        };
        this.buffer.resize(this.left.min(FRAME_BYTES_MAX) as usize, 0);
        let mut into = ReadBuf::new(&mut this.buffer);
        ready!(Pin::new(reader).poll_read(context, &mut into))?;
        let length = into.filled().len();
        if length == 0 {
            return Poll::Ready(Some(Err(io::ErrorKind::UnexpectedEof.into())));
        }
        this.left -= length as u64;
        this.buffer.truncate(length);
        let frame = std::mem::take(&mut this.buffer);
        Poll::Ready(Some(Ok(Frame::data(Bytes::from(frame)))))
    }

    fn is_end_stream(&self) -> bool {
        self.text.is_empty() && self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.text.len() as u64 + self.left)
    }
}
