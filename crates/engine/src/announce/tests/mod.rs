//! The announce room against scripted trackers on loopback, and against our own.

mod announcer;
mod client;
mod server;
mod udp;

use std::time::Duration;

use metainfo::InfoHash;
use tracker::{AnnounceRequest, Event};

use super::*;
use crate::http::{HttpClient, HttpSettings, PrivatePolicy};
use crate::net::Network;

const HASH: InfoHash = InfoHash([0xab; 20]);

fn client() -> TrackerClient {
    TrackerClient::new(HttpClient::new(HttpSettings::default()), Network::default())
}

fn allowing() -> AskOptions {
    AskOptions { private_addresses: PrivatePolicy::Allow, ..AskOptions::default() }
}

fn request(port: u16) -> AnnounceRequest {
    AnnounceRequest {
        info_hash: HASH,
        peer_id: *b"-PL0100-abcdefghijkl",
        port,
        uploaded: 1,
        downloaded: 2,
        left: 3,
        event: Event::Started,
        key: 0xfeed,
        numwant: 50,
        tracker_id: None,
    }
}
