//! Whom the user's IP filter refuses, while the metadata is looked for.

use std::sync::Arc;
use std::time::Duration;

use super::{Metadata, MetadataFault};
use crate::{IpFilter, PeerKey};

impl Metadata {
    /// Has nothing to do any more with whom `filter` has: peers are sent away, addresses forgotten.
    pub fn set_ip_filter(&mut self, now: Duration, filter: Arc<IpFilter>) {
        self.now = now;
        self.candidates.set_filter(filter);
        let peers = self.peers.iter();
        let refused = peers.filter(|(_, peer)| self.candidates.refuses(peer.hello.addr.ip()));
        for key in refused.map(|(key, _)| *key).collect::<Vec<PeerKey>>() {
            self.disconnect(key, MetadataFault::Filtered);
        }
        self.ask();
    }
}
