//! The DHT (BEP 5 and its extensions) for a session: the pure [`dht::Dht`] with the session's UDP
//! sockets, its clock and its torrents.
//!
//! One task on the control runtime owns the core (`driver.rs`). It gets packets from the session's
//! sockets, and wishes through a [`DhtHandle`]. `torrents.rs` says which torrent is looked for and
//! announced when; private ones (BEP 27) never come here.

mod driver;
mod naming;
mod torrents;

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Weak};
use std::time::Duration;

use dht::{
    Id, Item, ItemError, OperationId, Outcome, PeersQuery, Pong, SecretKey, Status, SwarmSize,
};
use metainfo::InfoHash;
use tokio::sync::{mpsc, oneshot, watch};

use crate::datagrams::{Handler, Path};
use crate::handle::TorrentShared;

pub(crate) use driver::start;

/// Nodes that are there for everybody to begin with, as clients use them. A session asks only those
/// it is given ([`crate::SessionBuilder::dht_bootstrap`]).
pub const DHT_BOOTSTRAP: [&str; 4] = [
    "dht.libtorrent.org:25401",
    "router.bittorrent.com:6881",
    "dht.transmissionbt.com:6881",
    "router.utorrent.com:6881",
];

/// Secret random bytes, to make a [`SecretKey`] of.
///
/// # Errors
/// When the system gives none.
pub fn random_seed() -> std::io::Result<[u8; 32]> {
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).map_err(std::io::Error::other)?;
    Ok(seed)
}

/// Packets that wait for the task; more are lost, as they might be on the way.
const PACKETS_WAITING_MAX: usize = 512;

/// What the task is told.
enum Command {
    Operate(Begin, oneshot::Sender<Result<Finished, ItemError>>),
    Status(oneshot::Sender<Status>),
    /// A peer says that it is a node.
    Candidate(SocketAddr),
    /// Names of bootstrap nodes have these addresses.
    Bootstrap(Vec<SocketAddr>),
    /// Our sockets have another port, or another one leads to them.
    PortChanged,
    /// Where others say that we are.
    External(IpAddr),
    /// Look for peers of this torrent from now on.
    Watch(InfoHash, Weak<TorrentShared>),
    Unwatch(InfoHash),
    /// Save the table and end.
    Close(oneshot::Sender<()>),
}

type Begin = Box<dyn FnOnce(&mut dht::Dht, Duration) -> Result<OperationId, ItemError> + Send>;

/// An operation's end.
struct Finished {
    outcome: Outcome,
    peers: Vec<SocketAddr>,
}

/// Where packets wait for the task.
struct Inbox(mpsc::Sender<(Path, Vec<u8>)>);

impl Handler for Inbox {
    fn datagram(&self, from: Path, bytes: &[u8]) {
        if bytes.len() <= dht::DATAGRAM_BYTES_MAX {
            let _ = self.0.try_send((from, bytes.to_vec())); // full: lost, like many on the way
        }
    }
}

/// Peers of a torrent, and how the search went.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct DhtPeers {
    /// Addresses that nodes named, unproven.
    pub peers: Vec<SocketAddr>,
    /// Nodes that answered.
    pub nodes: usize,
    /// Nodes asked one after the other until the first peer was known.
    pub hops: Option<u8>,
    /// Nodes that keep our announce.
    pub announced: usize,
    /// The swarm's size (BEP 33), when it was asked for and anybody knew.
    pub size: Option<SwarmSize>,
}

/// What became of an item that was put.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct DhtStored {
    /// Where others find it.
    pub target: Id,
    /// Nodes that have it.
    pub count: usize,
    /// Codes and words of those that did not take it.
    pub refused: Vec<(i64, String)>,
}

/// Torrents that nodes keep peers of (BEP 51).
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct DhtSamples {
    /// Different ones.
    pub torrents: Vec<InfoHash>,
    /// How many all those nodes have, copies included.
    pub kept: u64,
    /// Nodes that answered.
    pub nodes: usize,
}

/// Why the DHT gave nothing.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DhtError {
    /// Nodes would refuse the item.
    #[error(transparent)]
    Item(#[from] ItemError),
    /// The session is shutting down.
    #[error("the session has ended")]
    Ended,
}

/// A session's DHT node. Clones are handles to the same one.
#[derive(Clone)]
pub struct DhtHandle {
    commands: mpsc::UnboundedSender<Command>,
    joined: watch::Receiver<bool>,
    /// Receives for as long as a handle lives.
    _inbox: Arc<Inbox>,
}

impl fmt::Debug for DhtHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DhtHandle").field("joined", &*self.joined.borrow()).finish_non_exhaustive()
    }
}

impl DhtHandle {
    /// Waits until other nodes are known. Until then nothing is found.
    pub async fn joined(&self) {
        let mut joined = self.joined.clone();
        if joined.wait_for(|joined| *joined).await.is_err() {
            std::future::pending::<()>().await; // the session ended; nobody will ever join
        }
    }

    /// Asks one node whether it is there. `None`: no answer.
    ///
    /// # Errors
    /// [`DhtError::Ended`].
    pub async fn ping(&self, addr: SocketAddr) -> Result<Option<Pong>, DhtError> {
        let finished = self.operate(move |core, now| Ok(core.ping(now, addr))).await?;
        Ok(if let Outcome::Pong(pong) = finished.outcome { pong } else { None })
    }

    /// Looks for a torrent's peers; announces us only if `query` says so.
    ///
    /// # Errors
    /// [`DhtError::Ended`].
    pub async fn peers(
        &self,
        info_hash: InfoHash,
        query: PeersQuery,
    ) -> Result<DhtPeers, DhtError> {
        let begin =
            move |core: &mut dht::Dht, now| Ok(core.get_peers(now, info_hash.into(), query));
        let Finished { outcome, peers } = self.operate(begin).await?;
        Ok(match outcome {
            Outcome::Peers { answers, hops, announced, size, .. } => {
                DhtPeers { peers, nodes: answers, hops, announced, size }
            }
            _ => DhtPeers { peers, nodes: 0, hops: None, announced: 0, size: None },
        })
    }

    /// Looks for an item: an immutable one, or a mutable one without salt.
    ///
    /// # Errors
    /// [`DhtError::Ended`].
    pub async fn item(&self, target: Id) -> Result<Option<Item>, DhtError> {
        self.item_of(move |core, now| Ok(core.get_item(now, target))).await
    }

    /// Looks for the newest version of a mutable item.
    ///
    /// # Errors
    /// [`DhtError::Ended`].
    pub async fn mutable_item(
        &self,
        key: [u8; 32],
        salt: Vec<u8>,
    ) -> Result<Option<Item>, DhtError> {
        self.item_of(move |core, now| Ok(core.get_mutable_item(now, &key, &salt))).await
    }

    /// Puts an immutable item: one bencoded value.
    ///
    /// # Errors
    /// [`DhtError`].
    pub async fn put(&self, value: Vec<u8>) -> Result<DhtStored, DhtError> {
        self.store(move |core, now| core.put_item(now, &value)).await
    }

    /// Puts a version of a mutable item: number `seq`, or one more than the newest there is; with
    /// `cas` only where that is the current number.
    ///
    /// # Errors
    /// [`DhtError`].
    pub async fn put_mutable(
        &self,
        key: SecretKey,
        salt: Vec<u8>,
        value: Vec<u8>,
        seq: Option<i64>,
        cas: Option<i64>,
    ) -> Result<DhtStored, DhtError> {
        let begin = move |core: &mut dht::Dht, now| {
            core.put_mutable_item(now, &key, &salt, &value, seq, cas)
        };
        self.store(begin).await
    }

    /// Asks the nodes on the way to a target which torrents they know.
    ///
    /// # Errors
    /// [`DhtError::Ended`].
    pub async fn sample(&self, target: Id) -> Result<DhtSamples, DhtError> {
        let finished = self.operate(move |core, now| Ok(core.sample(now, target))).await?;
        Ok(match finished.outcome {
            Outcome::Samples { torrents, kept, answers } => {
                let torrents = torrents.into_iter().map(|id| InfoHash(id.0)).collect();
                DhtSamples { torrents, kept, nodes: answers }
            }
            _ => DhtSamples { torrents: Vec::new(), kept: 0, nodes: 0 },
        })
    }

    /// How it goes.
    ///
    /// # Errors
    /// [`DhtError::Ended`].
    pub async fn status(&self) -> Result<Status, DhtError> {
        let (done, status) = oneshot::channel();
        self.tell(Command::Status(done));
        status.await.map_err(|_| DhtError::Ended)
    }

    async fn operate(
        &self,
        begin: impl FnOnce(&mut dht::Dht, Duration) -> Result<OperationId, ItemError> + Send + 'static,
    ) -> Result<Finished, DhtError> {
        let (done, finished) = oneshot::channel();
        self.tell(Command::Operate(Box::new(begin), done));
        Ok(finished.await.map_err(|_| DhtError::Ended)??)
    }

    async fn item_of(
        &self,
        begin: impl FnOnce(&mut dht::Dht, Duration) -> Result<OperationId, ItemError> + Send + 'static,
    ) -> Result<Option<Item>, DhtError> {
        let finished = self.operate(begin).await?;
        Ok(if let Outcome::Item { item, .. } = finished.outcome { item } else { None })
    }

    async fn store(
        &self,
        begin: impl FnOnce(&mut dht::Dht, Duration) -> Result<OperationId, ItemError> + Send + 'static,
    ) -> Result<DhtStored, DhtError> {
        match self.operate(begin).await?.outcome {
            Outcome::Stored { target, count, refused, .. } => {
                Ok(DhtStored { target, count, refused })
            }
            _ => Err(DhtError::Ended),
        }
    }

    /// A peer's PORT message.
    pub(crate) fn candidate(&self, addr: SocketAddr) {
        self.tell(Command::Candidate(addr));
    }

    /// Our sockets have another port, or another one leads to them: announces that at once.
    pub(crate) fn port_changed(&self) {
        self.tell(Command::PortChanged);
    }

    /// Our address by what is known elsewhere, until nodes agree on one.
    pub(crate) fn external(&self, ip: IpAddr) {
        self.tell(Command::External(ip));
    }

    /// Looks for peers of a torrent, and announces it, from now on.
    pub(crate) fn watch(&self, shared: &Arc<TorrentShared>) {
        for name in shared.names() {
            self.tell(Command::Watch(name, Arc::downgrade(shared)));
        }
    }

    /// No longer.
    pub(crate) fn unwatch(&self, info_hash: InfoHash) {
        self.tell(Command::Unwatch(info_hash));
    }

    /// Saves the table and ends.
    pub(crate) async fn close(&self) {
        let (done, closed) = oneshot::channel();
        self.tell(Command::Close(done));
        let _ = closed.await; // it had ended before
    }

    fn tell(&self, command: Command) {
        let _ = self.commands.send(command); // its end is told where an answer is waited for
    }
}
