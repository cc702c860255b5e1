//! The peerless BitTorrent engine: a [`Session`] of torrents, on threads of its own.
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use engine::metainfo::Torrent;
//! use engine::{AddTorrent, Session};
//!
//! let session = Session::builder().start().await?;
//! let torrent = Torrent::parse(&std::fs::read("ubuntu.torrent")?)?;
//! let download = session.add(AddTorrent::new(torrent, "/downloads")).await?;
//! download.wait().await?;          // every byte verified and on disk
//! println!("{:?}", download.stats());
//! session.shutdown().await;        // tells the trackers, saves its state
//! # Ok(()) }
//! ```
//!
//! [`TorrentHandle`]s are cheap clones, [`Session::events`] is the one stream of what happens, and
//! numbers come as snapshots by value. The engine drives the pure crates ([`metainfo`], [`wire`],
//! `swarm`, `tracker`) and `storage`; it decides nothing that they could decide. ARCHITECTURE.md in
//! the repository has the map.
//!
//! Without a session there are [`handshake`], [`announce_all`], [`scrape_all`], [`fetch_torrent`],
//! [`create`] and [`check`].

mod accept;
mod add;
mod announce;
mod announcing;
mod budget;
mod clock;
mod connect;
mod datagrams;
mod dht;
mod encryption;
mod events;
mod explain;
mod handle;
mod http;
mod intake;
mod limits;
mod local_search;
mod magnet;
mod net;
mod oneoff;
mod panics;
mod payload;
mod peer;
mod probe;
mod rest;
mod resume;
mod roster;
mod session;
mod settings;
mod shard;
mod stats;
mod stream;
mod torrent;
mod utp_driver;
mod utp_stream;

pub use crate::dht::{
    DHT_BOOTSTRAP, DhtError, DhtHandle, DhtPeers, DhtSamples, DhtStored, random_seed,
};
pub use ::dht as dht_core;
pub use add::{AddError, AddTorrent};
pub use announce::{AnnounceError, FamilyReplies, TrackerServer, TrackerStatus};
pub use encryption::Encryption;
pub use events::{Event, EventStream};
pub use explain::{Amount, Cause, Explanation, Fact, Finding};
pub use handle::{TorrentError, TorrentHandle};
pub use http::{AddressError, HttpError};
pub use limits::RateLimits;
pub use magnet::{FollowMagnet, Found, MagnetFailure, MagnetSearch, MagnetStats};
pub use oneoff::{
    AnnounceOptions, FetchError, Subject, TrackerReport, announce_all, fetch_torrent, scrape_all,
};
pub use payload::{CreateError, check, create, create_of};
pub use peer::HandshakeFailure;
pub use probe::{HandshakeReport, HandshakeRequest, handshake};
pub use session::{Session, StartError};
pub use settings::{SessionBuilder, StateLocation, Transport};
pub use stats::{SessionStats, TorrentState, TorrentStats};
pub use swarm::PeerStats;
pub use {metainfo, storage, tracker, wire};
