//! How long a torrent is seeded, and to whom it shows what, as its owner sees it.

use std::sync::{Mutex, MutexGuard, PoisonError};

use swarm::{SeedLimit, SeedLimits};

use crate::handle::{TorrentError, TorrentHandle};
use crate::shard::ShardMessage;

/// The part that all threads see.
#[derive(Default)]
pub(crate) struct SeedingShared(Mutex<Inner>);

#[derive(Default)]
struct Inner {
    limits: SeedLimits,
    super_seed: bool,
    ended: Option<SeedLimit>,
}

impl SeedingShared {
    pub(crate) fn begin(&self, limits: SeedLimits, super_seed: bool) {
        let mut inner = self.lock();
        (inner.limits, inner.super_seed) = (limits, super_seed);
    }

    pub(crate) fn limits(&self) -> SeedLimits {
        self.lock().limits
    }

    pub(crate) fn super_seeds(&self) -> bool {
        self.lock().super_seed
    }

    pub(crate) fn ends(&self, limit: SeedLimit) {
        self.lock().ended = Some(limit);
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.lock().ended.is_some()
    }

    /// Plain data: whole after every change.
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl TorrentHandle {
    /// Changes when its seeding ends. What was sent and how long it was seeded counts, in
    /// earlier runs too.
    pub fn set_seed_limits(&self, limits: SeedLimits) {
        self.shared.seeding.lock().limits = limits;
        let info_hash = self.info_hash();
        if let Some(shard) = self.session.shard_of(&info_hash) {
            shard.send(ShardMessage::SeedLimits { info_hash, limits });
        }
    }

    /// When its seeding ends.
    pub fn seed_limits(&self) -> SeedLimits {
        self.shared.seeding.limits()
    }

    /// Tells each peer that comes from now on of one piece at a time (BEP 16), or not any longer.
    pub fn set_super_seed(&self, on: bool) {
        self.shared.seeding.lock().super_seed = on;
        let info_hash = self.info_hash();
        if let Some(shard) = self.session.shard_of(&info_hash) {
            shard.send(ShardMessage::SuperSeed { info_hash, on });
        }
    }

    /// Waits until it was seeded enough, and stopped for that.
    ///
    /// # Errors
    /// [`TorrentError`] when something else ends it.
    pub async fn seeded(&self) -> Result<SeedLimit, TorrentError> {
        let stopped = self.reach(|_| false).await;
        let ended = self.shared.seeding.lock().ended;
        ended.map_or_else(|| Err(stopped.err().unwrap_or(TorrentError::Stopped)), Ok)
    }
}
