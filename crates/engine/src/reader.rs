//! Reading a file of a torrent while it is being downloaded: [`FileReader`].
//!
//! A reader gives bytes as soon as the piece that they are in was verified and written, or their block
//! was proved by its leaf (BEP 52), never before. What it waits for, and what it will need next, the
//! torrent's brain asks for before all else (`swarm::urgent`). Where it is, the shard hears once for
//! each piece that is there, and at each read of one that is not (`torrent/readers.rs`). The bytes
//! themselves come from the disk pool, or, proved and not yet written, with the shard's answer.

use std::fmt;
use std::io::{self, SeekFrom};
use std::ops::Deref;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};

use metainfo::PieceIndex;
use storage::{READ_BYTES_MAX, ReadBuffer};
use swarm::ReaderId;
use tokio::io::{AsyncRead, AsyncSeek, ReadBuf};
use tokio::sync::oneshot;

use crate::handle::{TorrentError, TorrentHandle};
use crate::shard::ShardMessage;
use crate::torrent::readers::Found;

type Fetching = Pin<Box<dyn Future<Output = Result<Chunk, TorrentError>> + Send + Sync>>;

/// What one read brought.
enum Chunk {
    /// From the disk: the whole piece is there.
    Read(ReadBuffer),
    /// From memory.
    Proved(Vec<u8>),
}

impl Deref for Chunk {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Read(bytes) => bytes,
            Self::Proved(bytes) => bytes,
        }
    }
}

/// Bytes of one file, as soon as they are proved: [`AsyncRead`] and [`AsyncSeek`].
///
/// While bytes are missing a read waits; it fails when the torrent stops, when the disk refuses,
/// or when the bytes are not among those to be downloaded. Several readers may be at work at a
/// time. One that is dropped asks for nothing any more.
pub struct FileReader {
    source: Arc<Source>,
    position: u64,
    /// Bytes that were read, and where they begin.
    chunk: Option<(u64, Chunk)>,
    /// The read for `position` that is under way.
    fetching: Option<Fetching>,
    /// The piece that the shard heard of last, and said that it is there.
    there: Option<PieceIndex>,
}

impl fmt::Debug for FileReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FileReader").field("position", &self.position).finish_non_exhaustive()
    }
}

/// What a reader reads. The shard hears of its end.
struct Source {
    handle: TorrentHandle,
    id: ReaderId,
    /// Where the file begins in the torrent.
    start: u64,
    length: u64,
}

impl TorrentHandle {
    /// A reader at the beginning of a file, by its number in [`metainfo::Info::files`].
    ///
    /// # Errors
    /// [`TorrentError::NoSuchFile`]; padding (BEP 47) is no file.
    pub fn reader(&self, file: usize) -> Result<FileReader, TorrentError> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let files = self.torrent().info.files();
        let entry = files.get(file).filter(|entry| !entry.attributes.pad);
        let entry = entry.ok_or(TorrentError::NoSuchFile { file, count: files.len() })?;
        let source = Source {
            handle: self.clone(),
            id: ReaderId(NEXT.fetch_add(1, Ordering::Relaxed)),
            start: entry.offset,
            length: entry.length,
        };
        let source = Arc::new(source);
        Ok(FileReader { source, position: 0, chunk: None, fetching: None, there: None })
    }
}

impl FileReader {
    /// Bytes of the file.
    pub fn length(&self) -> u64 {
        self.source.length
    }

    /// Where the next read begins.
    pub fn position(&self) -> u64 {
        self.position
    }

    fn piece(&self) -> PieceIndex {
        self.source.place(self.position).0
    }

    fn goes_to(&mut self, position: u64) {
        if position != self.position {
            self.position = position;
            self.fetching = None;
        }
    }
}

impl Source {
    /// The piece that a byte of the file is in, and where.
    fn place(&self, position: u64) -> (PieceIndex, u32) {
        let geometry = self.handle.torrent().info.geometry();
        let length = u64::from(geometry.piece_length().max(1));
        let at = self.start.saturating_add(position);
        ((at / length) as PieceIndex, (at % length) as u32)
    }

    /// The bytes from `position` on that one read brings; waits for them.
    async fn fetch(self: Arc<Self>, position: u64, is_there: bool) -> Result<Chunk, TorrentError> {
        let (shared, session) = (&self.handle.shared, &self.handle.session);
        let (piece, begin) = self.place(position);
        if !is_there {
            self.handle.checked().await?; // only then the shard knows the torrent
            let (reply, there) = oneshot::channel();
            let shard = session.shard_of(&shared.info_hash()).ok_or(TorrentError::Stopped)?;
            shard.send(ShardMessage::Reader {
                info_hash: shared.info_hash(),
                reader: self.id,
                at: self.start + position,
                end: self.start + self.length,
                reply,
            });
            if let Found::Bytes(bytes) = there.await.map_err(|_| TorrentError::Stopped)?? {
                return Ok(Chunk::Proved(bytes));
            }
        }
        let size = shared.torrent.info.geometry().piece_size(piece);
        let left = u32::try_from(self.length - position).unwrap_or(u32::MAX);
        let length = size.saturating_sub(begin).min(left).min(READ_BYTES_MAX);
        let (done, read) = oneshot::channel();
        session.pools.read(&shared.store, piece, begin, length, move |result| {
            let _ = done.send(result); // the reader may have gone
        });
        Ok(Chunk::Read(read.await.map_err(|_| TorrentError::Stopped)??))
    }
}

impl Drop for Source {
    fn drop(&mut self) {
        let info_hash = self.handle.info_hash();
        if let Some(shard) = self.handle.session.shard_of(&info_hash) {
            shard.send(ShardMessage::ReaderGone { info_hash, reader: self.id });
        }
    }
}

impl AsyncRead for FileReader {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        while this.position < this.source.length && out.remaining() > 0 {
            let rest = this.chunk.as_ref().and_then(|(start, bytes)| {
                let from = usize::try_from(this.position.checked_sub(*start)?).ok()?;
                bytes.get(from..).filter(|rest| !rest.is_empty())
            });
            if let Some(rest) = rest {
                let rest = rest.get(..out.remaining()).unwrap_or(rest);
                out.put_slice(rest);
                this.position += rest.len() as u64;
                return Poll::Ready(Ok(()));
            }
            let (position, piece) = (this.position, this.piece());
            let is_there = this.there == Some(piece);
            let source = &this.source;
            let fetching = this
                .fetching
                .get_or_insert_with(|| Box::pin(Arc::clone(source).fetch(position, is_there)));
            let fetched = ready!(fetching.as_mut().poll(context));
            this.fetching = None;
            this.chunk = None;
            this.there = matches!(fetched, Ok(Chunk::Read(_))).then_some(piece);
            this.chunk = Some((position, fetched.map_err(io::Error::other)?));
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncSeek for FileReader {
    fn start_seek(mut self: Pin<&mut Self>, position: SeekFrom) -> io::Result<()> {
        let to = match position {
            SeekFrom::Start(to) => Some(to),
            SeekFrom::End(by) => self.source.length.checked_add_signed(by),
            SeekFrom::Current(by) => self.position.checked_add_signed(by),
        };
        let to = to.ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
        self.goes_to(to);
        Ok(())
    }

    fn poll_complete(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<u64>> {
        Poll::Ready(Ok(self.position))
    }
}
