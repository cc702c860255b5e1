//! What a torrent tells who asks why it is slow: its brain's account, and what went wrong with its peers.

use metainfo::BLOCK_LENGTH;

use super::Torrent;
use crate::explain::{Account, Cause};
use crate::peer::HandshakeFailure;

/// Something that may happen again and again.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tally {
    pub(crate) count: u32,
    /// What was said of it last.
    pub(crate) last: Option<String>,
}

impl Tally {
    fn add(&mut self, last: String) {
        self.count = self.count.saturating_add(1);
        self.last = Some(last);
    }
}

/// What went wrong with its peers so far; most of many torrents have none, and so no room for them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Mishaps(Option<Box<Tallies>>);

#[derive(Debug, Clone, Default)]
struct Tallies {
    /// Dials that led to no connection.
    unreachable: Tally,
    /// Dials that led to somebody without this torrent.
    not_served: Tally,
    /// Dials that led to no peer that we understand.
    not_bittorrent: Tally,
    /// Peers that were connected and left.
    left: Tally,
    /// Addresses that sent bad data.
    banned: Tally,
}

impl Mishaps {
    pub(super) fn is_blank(&self) -> bool {
        self.0.is_none()
    }

    pub(super) fn dial_failed(&mut self, peer: &str, failure: &HandshakeFailure) {
        use HandshakeFailure as F;
        let tallies = self.0.get_or_insert_default();
        let (tally, says_whom) = match failure {
            F::Connect { .. } | F::NoWay { .. } | F::ConnectTimeout { .. } => {
                (&mut tallies.unreachable, true)
            }
            F::Resolve(_) | F::Io(_) => (&mut tallies.unreachable, false),
            // Most clients close at once when they are asked for a torrent that they don't have.
            F::WrongInfoHash { .. } | F::ClosedEarly { .. } => (&mut tallies.not_served, false),
            F::NotBitTorrent | F::Timeout { .. } | F::Encryption(_) | F::Unencrypted => {
                (&mut tallies.not_bittorrent, false)
            }
        };
        tally.add(if says_whom { failure.to_string() } else { format!("{peer}: {failure}") });
    }

    pub(super) fn left(&mut self, peer: &str, reason: &str) {
        self.0.get_or_insert_default().left.add(format!("{peer}: {reason}"));
    }

    pub(super) fn banned(&mut self, host: String) {
        self.0.get_or_insert_default().banned.add(host);
    }

    /// How most dials failed.
    pub(crate) fn most_dials(&self) -> Cause {
        let kinds = [Cause::Unreachable, Cause::NotBitTorrent, Cause::NotServed];
        kinds.into_iter().max_by_key(|kind| self.of(*kind).count).unwrap_or(Cause::Unreachable)
    }

    /// What is behind this cause: dials that failed, or peers that left or were banned.
    pub(crate) fn of(&self, cause: Cause) -> &Tally {
        const NOTHING: &Tally = &Tally { count: 0, last: None };
        let Some(tallies) = &self.0 else { return NOTHING };
        match cause {
            Cause::NotServed => &tallies.not_served,
            Cause::NotBitTorrent => &tallies.not_bittorrent,
            Cause::PeersLeft => &tallies.left,
            Cause::Banned => &tallies.banned,
            _ => &tallies.unreachable,
        }
    }
}

impl Torrent {
    /// What it knows now; `None` when it does not run any more.
    pub(crate) fn account(&self) -> Option<Account> {
        if self.stopped.get() {
            return None;
        }
        Some(self.change(|state, now| Account {
            spending: state.swarm.spending(now),
            peers: state.swarm.peers(now),
            stats: state.swarm.stats(now),
            mishaps: state.mishaps.clone(),
            storage_error: state.storage_error.clone(),
            web_seeds: state.web.statuses(now, |_| 0),
            in_pool: self.in_pool.get(),
            reserved_bytes: u64::from(state.swarm.reserved_blocks()) * u64::from(BLOCK_LENGTH),
        }))
    }
}
