//! The one stream of things that happen in a session.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::{PoisonError, RwLock};

use metainfo::{InfoHash, PieceIndex};
use swarm::SeedLimit;
use tokio::sync::broadcast;

use crate::mapping::{Pinholes, PortMapping};

/// Events kept for a listener that is busy; an older one is dropped for it, with a count.
const EVENTS_KEPT: usize = 1024;

/// Something that happened in a session.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Event {
    /// The files were looked at; what is good is known.
    Checked {
        /// Which torrent.
        info_hash: InfoHash,
        /// Bytes trusted from the resume state.
        resumed_bytes: u64,
        /// Bytes found good by hashing them.
        hashed_bytes: u64,
    },
    /// A file that was missing was found elsewhere and taken over. Its pieces are hashed next.
    FileTaken {
        /// Which torrent.
        info_hash: InfoHash,
        /// The file's number in it.
        file: usize,
        /// Where its data came from.
        from: PathBuf,
        /// It shares its blocks with that file until one of them is written.
        is_reflink: bool,
    },
    /// A piece was verified and written.
    PieceCompleted {
        /// Which torrent.
        info_hash: InfoHash,
        /// Which piece.
        piece: PieceIndex,
    },
    /// The last wanted piece was verified and written.
    Completed {
        /// Which torrent.
        info_hash: InfoHash,
    },
    /// A peer shook hands and was let in.
    PeerConnected {
        /// Which torrent.
        info_hash: InfoHash,
        /// The peer.
        addr: SocketAddr,
    },
    /// A connection ended.
    PeerDisconnected {
        /// Which torrent.
        info_hash: InfoHash,
        /// The peer.
        addr: SocketAddr,
        /// Why, in words.
        reason: String,
    },
    /// An address sent data that was proved bad.
    PeerBanned {
        /// Which torrent.
        info_hash: InfoHash,
        /// The address; [`crate::Network::host_name`] says what it is called.
        addr: IpAddr,
    },
    /// A web seed failed, or does not have a file.
    WebSeedFailed {
        /// Which torrent.
        info_hash: InfoHash,
        /// Whose URL, without secrets; a stranger's words.
        url: String,
        /// Why, in words.
        message: String,
        /// What to do about it.
        next_step: &'static str,
    },
    /// A tracker answered.
    TrackerReply {
        /// Which torrent.
        info_hash: InfoHash,
        /// The tracker's host, without anything secret.
        tracker: String,
        /// Addresses it gave.
        peers: usize,
    },
    /// A tracker did not answer, or refused.
    TrackerError {
        /// Which torrent.
        info_hash: InfoHash,
        /// The tracker's host, without anything secret.
        tracker: String,
        /// Why, in words.
        message: String,
    },
    /// A search in the DHT is over.
    DhtReply {
        /// Which torrent.
        info_hash: InfoHash,
        /// Addresses it gave.
        peers: usize,
        /// Nodes that answered.
        nodes: usize,
    },
    /// The disk refused something; the torrent waits and tries again.
    StorageError {
        /// Which torrent.
        info_hash: InfoHash,
        /// What and where, in words.
        message: String,
    },
    /// The disk takes data again.
    StorageRecovered {
        /// Which torrent.
        info_hash: InfoHash,
    },
    /// Most others see us at another address than before.
    ExternalAddress {
        /// Which.
        ip: IpAddr,
    },
    /// Port mapping began, worked, or failed.
    PortMapping(PortMapping),
    /// Opening pinholes for IPv6 began, worked, or failed.
    Pinholes(Pinholes),
    /// What the session is bound to is gone: nothing is sent until it is back.
    NetworkLost {
        /// Why, in words.
        message: String,
    },
    /// What the session is bound to is back, and it goes on.
    NetworkBack,
    /// What the session is bound to is there, but not the port that it is to listen on: it is tried
    /// again and again.
    NotListening {
        /// Why, in words.
        message: String,
    },
    /// The proxy relays no datagrams: uTP and the DHT are off until it does.
    RelayLost {
        /// Why, in words.
        message: String,
    },
    /// The proxy relays datagrams again.
    RelayBack,
    /// Seeding came to the end that was set for it: the torrent stops.
    SeededEnough {
        /// Which torrent.
        info_hash: InfoHash,
        /// What was reached.
        limit: SeedLimit,
    },
    /// It can't run, or not any longer, and was stopped. Other torrents go on.
    TorrentFailed {
        /// Which torrent.
        info_hash: InfoHash,
        /// Why, in words.
        message: String,
    },
}

/// The sending end; `None` once the session has ended, though handles of it may still be there.
pub(crate) struct Events(RwLock<Option<broadcast::Sender<Event>>>);

impl Events {
    pub(crate) fn new() -> Self {
        Self(RwLock::new(Some(broadcast::channel(EVENTS_KEPT).0)))
    }

    pub(crate) fn send(&self, event: Event) {
        if let Some(sender) = &*self.0.read().unwrap_or_else(PoisonError::into_inner) {
            let _ = sender.send(event); // nobody listens: nothing to do
        }
    }

    pub(crate) fn subscribe(&self) -> EventStream {
        let sender = self.0.read().unwrap_or_else(PoisonError::into_inner);
        // One whose sender is gone at once has come to its end.
        let ended = || broadcast::channel(1).1;
        EventStream(sender.as_ref().map_or_else(ended, broadcast::Sender::subscribe))
    }

    /// Who listens hears what there still is, and then that it was all.
    pub(crate) fn close(&self) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).take();
    }
}

/// A session's events from the moment it was asked for, to its shutdown.
pub struct EventStream(broadcast::Receiver<Event>);

impl fmt::Debug for EventStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventStream").finish_non_exhaustive()
    }
}

impl EventStream {
    /// The next event; `None` when there are no more, since the session was shut down or nobody has a
    /// handle to it: what happened until then is heard before. A listener that falls more than 1,024
    /// events behind misses the oldest.
    pub async fn next(&mut self) -> Option<Event> {
        loop {
            match self.0.recv().await {
                Ok(event) => return Some(event),
                Err(broadcast::error::RecvError::Lagged(missed)) => {
                    tracing::debug!(missed, "an event listener fell behind");
                }
                Err(broadcast::error::RecvError::Closed) => return None,
            }
        }
    }
}
