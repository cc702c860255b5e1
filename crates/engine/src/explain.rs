//! Why a torrent is not faster: the brain's account of its peers' time, with what only the engine knows
//! (trackers, dials, the disk) put to it. Nothing is computed unless somebody asks.

mod cause;
mod evidence;

use std::time::Duration;

use metainfo::InfoHash;
use swarm::{PeerStats, Spending, Spent, Stats};
use tokio::sync::oneshot;
use tracker::TrackerState;

pub use cause::Cause;
pub use evidence::{Amount, Fact};

use crate::handle::{TorrentHandle, TorrentShared};
use crate::session::{Session, SessionShared};
use crate::shard::ShardMessage;
use crate::stats::TorrentState;
use crate::torrent::Mishaps;
use crate::web_seed::WebSeedStatus;

/// What a torrent's shard knows at one moment.
pub(crate) struct Account {
    pub(crate) spending: Vec<Spending>,
    pub(crate) peers: Vec<PeerStats>,
    pub(crate) stats: Stats,
    pub(crate) mishaps: Mishaps,
    pub(crate) storage_error: Option<String>,
    pub(crate) web_seeds: Vec<WebSeedStatus>,
    /// Pieces that are being hashed and written.
    pub(crate) in_pool: u32,
    /// Bytes of memory that its unfinished pieces have.
    pub(crate) reserved_bytes: u64,
}

/// Where a torrent's time went, the cause of most first.
#[derive(Debug, Clone)]
pub struct Explanation {
    /// Which torrent.
    pub info_hash: InfoHash,
    /// What it is doing.
    pub state: TorrentState,
    /// What its peers' time went to. Never empty.
    pub findings: Vec<Finding>,
}

/// One cause, and what shows it.
#[derive(Debug, Clone)]
pub struct Finding {
    /// What it is.
    pub cause: Cause,
    /// Seconds of peers that it took; without peers, seconds.
    pub time: Duration,
    /// Its share of all such seconds: 0 to 1.
    pub share: f64,
    /// Numbers and words. Words may be a stranger's: not to be shown unescaped.
    pub evidence: Vec<Fact>,
    /// The line of the brain's account.
    spent: Option<Spent>,
}

impl Explanation {
    /// The cause that took most.
    pub fn first(&self) -> Option<&Finding> {
        self.findings.first()
    }

    /// The same of the time since an earlier explanation of the torrent.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let before = |finding: &Finding| {
            let same = |other: &&Finding| other.spent == finding.spent;
            earlier.findings.iter().find(same).map_or(Duration::ZERO, |before| before.time)
        };
        let mut since = self.clone();
        for finding in &mut since.findings {
            finding.time = finding.time.saturating_sub(before(finding));
        }
        since.rank();
        since
    }

    /// The longest first. What took no time is left out, but for the last one there is.
    fn rank(&mut self) {
        self.findings.sort_by_key(|finding| std::cmp::Reverse(finding.time));
        let some = self.findings.iter().filter(|finding| !finding.time.is_zero()).count();
        self.findings.truncate(some.max(1));
        let all: Duration = self.findings.iter().map(|finding| finding.time).sum();
        for finding in &mut self.findings {
            finding.share =
                if all.is_zero() { 1.0 } else { finding.time.as_secs_f64() / all.as_secs_f64() };
        }
    }
}

impl TorrentHandle {
    /// Why it is not faster: what each second of each peer went to since it began to run, ranked. To
    /// hear of a part of that time, ask twice: [`Explanation::since`].
    pub async fn explain(&self) -> Explanation {
        self.explained(self.ask()).await
    }

    /// Asks its shard, which answers when it comes to it.
    fn ask(&self) -> oneshot::Receiver<Account> {
        let (reply, account) = oneshot::channel();
        let info_hash = self.info_hash();
        if let Some(shard) = self.session.shard_of(&info_hash) {
            shard.send(ShardMessage::Explain { info_hash, reply });
        }
        account
    }

    async fn explained(&self, account: oneshot::Receiver<Account>) -> Explanation {
        // Dropped, not answered, when it does not run.
        match account.await {
            Ok(account) => running(&self.session, &self.shared, &account),
            Err(_) => idle(&self.shared),
        }
    }
}

impl Session {
    /// The same of every torrent.
    pub async fn explain(&self) -> Vec<Explanation> {
        let torrents = self.torrents();
        let asked: Vec<_> = torrents.iter().map(|torrent| (torrent, torrent.ask())).collect();
        let mut explained = Vec::new();
        for (torrent, account) in asked {
            explained.push(torrent.explained(account).await);
        }
        explained
    }
}

/// Of a torrent that has no brain: it is being checked, or was stopped.
fn idle(shared: &TorrentShared) -> Explanation {
    let stats = shared.stats();
    let (cause, evidence) = match &stats.state {
        TorrentState::Stopped => (Cause::Stopped, evidence::failure(shared)),
        _ => (Cause::Checking, evidence::check(&stats)),
    };
    let time = Duration::ZERO;
    let findings = vec![Finding { cause, time, share: 1.0, evidence, spent: None }];
    Explanation { info_hash: shared.info_hash(), state: stats.state, findings }
}

fn running(session: &SessionShared, shared: &TorrentShared, account: &Account) -> Explanation {
    let findings = account.spending.iter().map(|line| {
        let cause = cause_of(line.what, session, shared, account);
        let evidence = evidence::of(line, cause, session, shared, account);
        Finding { cause, time: line.time, share: 0.0, evidence, spent: Some(line.what) }
    });
    let mut explanation = Explanation {
        info_hash: shared.info_hash(),
        state: shared.stats().state,
        findings: findings.collect(),
    };
    explanation.rank();
    explanation
}

/// What a line of the brain's account is called by who knows the rest of the engine.
fn cause_of(
    spent: Spent,
    session: &SessionShared,
    shared: &TorrentShared,
    account: &Account,
) -> Cause {
    let is_alone = matches!(
        spent,
        Spent::Connecting | Spent::Unreached | Spent::Left | Spent::NobodyKnown | Spent::Unvisited
    );
    if is_alone && session.network.is_lost() {
        return Cause::NetworkLost;
    }
    if is_alone && session.network.proxy_trouble().is_some() {
        return Cause::ProxyFails;
    }
    match spent {
        Spent::Sending => Cause::PeersRate,
        Spent::Window => Cause::Window,
        Spent::Unanswered => Cause::Unanswered,
        Spent::Choked => Cause::Choked,
        Spent::Rejecting => Cause::Rejected,
        Spent::NothingNew => Cause::NothingNew,
        Spent::AllAsked => Cause::AllAsked,
        Spent::Memory => Cause::Memory,
        Spent::Disk => {
            let effort = shared.store.effort();
            if effort.hashing > effort.writing { Cause::HashQueue } else { Cause::Disk }
        }
        Spent::Limited => Cause::RateLimit,
        Spent::Paused if shared.seed_only && account.storage_error.is_none() => Cause::SeedOnly,
        Spent::Paused => Cause::DiskRefuses,
        Spent::Connecting if session.connections.available_permits() == 0 => Cause::ConnectionLimit,
        Spent::Connecting => Cause::Connecting,
        Spent::Unreached => account.mishaps.most_dials(),
        Spent::Left => Cause::PeersLeft,
        Spent::Banned => Cause::Banned,
        Spent::NobodyKnown if account.web_seeds.iter().any(|seed| seed.error.is_some()) => {
            Cause::WebSeedsFail
        }
        Spent::NobodyKnown if account.stats.filtered > 0 => Cause::Filtered,
        Spent::NobodyKnown => without_addresses(shared),
        Spent::Serving => Cause::Serving,
        Spent::NoSlot => Cause::NoUploadSlot,
        Spent::Unwanted => Cause::Unwanted,
        Spent::Unvisited => Cause::Unvisited,
    }
}

fn without_addresses(shared: &TorrentShared) -> Cause {
    let trackers = shared.trackers();
    if trackers.is_empty() {
        Cause::NoTrackers
    } else if trackers.iter().any(|tracker| tracker.state == TrackerState::Working) {
        Cause::NobodyKnown
    } else if trackers.iter().any(|tracker| tracker.error.is_some()) {
        Cause::TrackerError
    } else {
        Cause::TrackerWaits
    }
}
