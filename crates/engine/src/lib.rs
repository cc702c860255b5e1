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

// Whoever embeds a handle wants to derive it.
#![warn(missing_debug_implementations)]
// Tests play the other side, with sockets of their own.
#![cfg_attr(test, allow(clippy::disallowed_methods))]

mod accept;
mod add;
mod announce;
mod announcing;
mod budget;
mod choosing;
mod clock;
mod connect;
mod datagrams;
mod dht;
mod encryption;
mod events;
mod explain;
mod file_server;
mod handle;
mod http;
mod intake;
mod ip_filter;
mod limits;
mod link;
mod listening;
mod local_search;
mod magnet;
mod mapping;
mod moving;
#[allow(clippy::disallowed_methods)] // here, and nowhere else
mod net;
mod oneoff;
mod own_ports;
mod panics;
mod payload;
mod peer;
mod probe;
mod reader;
mod relaying;
mod rest;
mod resume;
mod reusing;
mod roster;
mod seeding;
mod session;
mod settings;
mod shard;
mod shelving;
mod stats;
mod stream;
mod torrent;
mod totals;
mod utp_driver;
mod utp_stream;
mod web_seed;

pub use crate::dht::{
    DHT_BOOTSTRAP, DhtError, DhtHandle, DhtPeers, DhtSamples, DhtStored, random_seed,
};
pub use ::dht as dht_core;
pub use add::{AddError, AddTorrent};
pub use announce::{AnnounceError, FamilyReplies, TrackerServer, TrackerStatus};
pub use choosing::{FileStatus, PieceOrder};
pub use encryption::Encryption;
pub use events::{Event, EventStream};
pub use explain::{Amount, Cause, Explanation, Fact, Finding};
pub use file_server::FileServer;
pub use handle::{TorrentError, TorrentHandle};
pub use http::{AddressError, HttpError};
pub use ip_filter::{IpFilterError, read_ip_filter};
pub use limits::{RateLimits, ScheduledLimits, Times, TimesError};
pub use listening::ListenPortError;
pub use magnet::{FollowMagnet, Found, MagnetFailure, MagnetSearch, MagnetStats};
pub use mapping::{MappedPorts, MappingMethod, OpenPinholes, Pinholes, PortMapping};
pub use moving::{MoveError, Moved};
pub use net::{
    Binding, BindingError, InterfaceInfo, Network, NetworkOptions, Proxy, ProxyUrlError, Purpose,
    SocketInfo, SocketProtocol, interfaces,
};
pub use oneoff::{
    AnnounceOptions, FetchError, Subject, TrackerReport, announce_all, fetch_torrent, scrape_all,
};
pub use payload::{CreateError, check, create, create_of};
pub use peer::HandshakeFailure;
pub use probe::{HandshakeReport, HandshakeRequest, handshake};
pub use reader::FileReader;
pub use session::{Session, StartError};
pub use settings::{SessionBuilder, StateLocation, Transport};
pub use stats::{SessionStats, TorrentState, TorrentStats};
pub use swarm::{
    BadLine, IpFilter, IpFilterBuilder, ListError, ListReport, OwnPorts, PeerStats, SeedLimit,
    SeedLimits, Spent, is_named_peer,
};
pub use totals::TorrentTotals;
pub use web_seed::{WebSeedState, WebSeedStatus};
pub use {metainfo, storage, tracker, wire};

/// The README's example compiles as it stands there.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
struct Readme;
