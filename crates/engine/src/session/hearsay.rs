//! What others tell a session, and whom it passes that on to: addresses of peers to the torrent or search
//! that they are for, our own address to all, another tracker to the private torrent that has it.

use std::net::{IpAddr, SocketAddr};
use std::sync::{MutexGuard, PoisonError};

use metainfo::InfoHash;
use swarm::{ExternalVotes, Source, Voter};

use super::SessionShared;
use crate::events::Event;
use crate::shard::ShardMessage;

impl SessionShared {
    /// Another tracker gives a private torrent its peers from now on.
    pub(crate) fn tracker_changed(&self, info_hash: InfoHash) {
        if let Some(shard) = self.shard_of(&info_hash) {
            shard.send(ShardMessage::TrackerChanged { info_hash });
        }
    }

    /// Gives a torrent addresses to try.
    pub(crate) fn candidates(&self, info_hash: InfoHash, source: Source, addrs: Vec<SocketAddr>) {
        let Some((shared, shard)) = self.find(&info_hash) else {
            if let Some(search) = self.searches.find(&info_hash) {
                search.add_candidates(source, &addrs);
            }
            return;
        };
        let Err(addrs) = shared.keep_early(source, addrs) else { return };
        let info_hash = shared.info_hash();
        shard.send(ShardMessage::Candidates { info_hash, source, addrs });
    }

    /// Somebody sees us at an address: torrents are told when that changes what most say.
    pub(crate) fn seen_at(&self, voter: Voter, ip: IpAddr) {
        let Some(ip) = self.external().cast(voter, ip) else { return };
        self.events.send(Event::ExternalAddress { ip });
        if let Some(dht) = &self.dht {
            dht.external(ip);
        }
        for shared in self.all() {
            let info_hash = shared.info_hash();
            if let Some(shard) = self.shard_of(&info_hash) {
                shard.send(ShardMessage::ExternalIp { info_hash, ip });
            }
        }
    }

    /// Our addresses as most others see them.
    pub(crate) fn external_addresses(&self) -> Vec<IpAddr> {
        self.external().elected()
    }

    /// Votes are plain data: whole after every change.
    fn external(&self) -> MutexGuard<'_, ExternalVotes> {
        self.external.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use metainfo::{CreateOptions, Torrent};

    use super::*;
    use crate::handle::EARLY_MAX;
    use crate::{AddTorrent, Session};

    #[tokio::test]
    async fn addresses_for_a_torrent_that_never_runs_are_not_kept_without_end() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        std::fs::write(&path, [1; 100]).unwrap();
        let bytes = crate::create(&path, &CreateOptions::default(), |_| {}, &false.into()).unwrap();
        std::fs::write(&path, [2; 100]).unwrap(); // somebody's own
        let session = Session::builder().listen(false).start().await.unwrap();
        let torrent = AddTorrent::new(Torrent::parse(&bytes).unwrap(), dir.path());
        let handle = session.add(torrent.use_trackers(false)).await.unwrap();
        handle.checked().await.unwrap_err();
        for number in 0..2 * EARLY_MAX as u32 {
            let addr = SocketAddr::from((Ipv4Addr::from(0x0a00_0000 + number), 6881));
            let source = Source::LocalDiscovery;
            session.inner.shared.candidates(handle.info_hash(), source, vec![addr]);
        }
        assert_eq!(handle.shared.take_early().len(), EARLY_MAX);
        session.shutdown().await;
    }
}
