//! The end of a torrent's seeding, as its owner set it.

use std::sync::Arc;

use swarm::{SeedLimit, SeedLimits};

use super::Torrent;
use crate::events::Event;

impl Torrent {
    pub(crate) fn set_seed_limits(&self, limits: SeedLimits) {
        let only_seeds = self.shared.seed_only;
        self.with_swarm(|swarm, now| swarm.set_seed_limits(now, limits, only_seeds));
        self.wake(); // it may be due before anything else
    }

    /// Says so, and stops the torrent as its owner would.
    pub(super) fn seeded_enough(&self, limit: SeedLimit) {
        let info_hash = self.shared.info_hash();
        tracing::info!(torrent = %info_hash, ?limit, "seeded enough");
        self.shared.seeding.ends(limit);
        self.context.session.events.send(Event::SeededEnough { info_hash, limit });
        let (session, shared) = (Arc::clone(&self.context.session), Arc::clone(&self.shared));
        tokio::task::spawn_local(async move { session.stop_torrent(&shared).await });
    }
}
