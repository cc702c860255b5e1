//! Talking to trackers, and being a small one (BEP 3, 7, 12, 15, 23, 24, 31, 41, 48).
//!
//! The thinking is in the `tracker` crate: what to write, how to read it, when to ask whom. Here
//! are the sockets, clocks and tasks: [`TrackerClient`] asks one tracker once, over both address
//! families; [`Announcer`] keeps one torrent announced; [`TrackerServer`] answers others.

mod client;
mod error;
mod families;
mod in_flight;
mod server;
mod status;
mod task;
mod udp;

#[cfg(test)]
mod tests;

pub(crate) use client::{AskOptions, TrackerClient};
pub use error::AnnounceError;
pub use families::FamilyReplies;
pub use server::TrackerServer;
pub use status::TrackerStatus;
pub(crate) use status::host_of;
pub(crate) use task::{Announcer, AnnouncerConfig, AnnouncerHandle, News, Numbers};
