//! When which torrent is looked for: soon at first, later only as often as an announce has to be
//! renewed, and few at a time however many there are.

use std::collections::{BTreeSet, HashMap};
use std::sync::Weak;
use std::time::Duration;

use dht::OperationId;
use metainfo::InfoHash;

use crate::handle::TorrentShared;

/// Nodes forget an announce after half an hour.
const ANNOUNCE_EVERY: Duration = Duration::from_mins(15);

/// A search that found nobody is repeated after this long, and then twice as long each time.
const AGAIN_FIRST: Duration = Duration::from_secs(5);

/// Torrents looked for at one time: each asks about thirty nodes.
const PARALLEL_MAX: usize = 4;

struct Watched {
    shared: Weak<TorrentShared>,
    due: Duration,
    /// Until the next search, if this one finds nobody.
    again: Duration,
    /// What the search under way announces is no longer so.
    outdated: bool,
}

/// The torrents to look for.
#[derive(Default)]
pub(super) struct Torrents {
    all: HashMap<InfoHash, Watched>,
    /// Those that are not being looked for, by when they are to be.
    queue: BTreeSet<(Duration, InfoHash)>,
    running: HashMap<OperationId, InfoHash>,
}

impl Torrents {
    /// From now on.
    pub(super) fn add(&mut self, now: Duration, info_hash: InfoHash, shared: Weak<TorrentShared>) {
        self.remove(&info_hash);
        self.queue.insert((now, info_hash));
        self.all
            .insert(info_hash, Watched { shared, due: now, again: AGAIN_FIRST, outdated: false });
    }

    pub(super) fn remove(&mut self, info_hash: &InfoHash) -> Option<OperationId> {
        let watched = self.all.remove(info_hash)?;
        self.queue.remove(&(watched.due, *info_hash));
        let running = self.running.iter().find(|(_, of)| *of == info_hash);
        let operation = running.map(|(operation, _)| *operation)?;
        self.running.remove(&operation);
        Some(operation)
    }

    /// All at once: other nodes are known for the first time.
    pub(super) fn hurry(&mut self, now: Duration) {
        let waiting: Vec<InfoHash> = self.queue.iter().map(|(_, info_hash)| *info_hash).collect();
        for info_hash in waiting {
            self.schedule(info_hash, now, AGAIN_FIRST);
        }
    }

    /// All at once, and those that are being looked for once more: there is something else to announce.
    pub(super) fn renew(&mut self, now: Duration) {
        for info_hash in self.running.values() {
            if let Some(watched) = self.all.get_mut(info_hash) {
                watched.outdated = true;
            }
        }
        self.hurry(now);
    }

    fn schedule(&mut self, info_hash: InfoHash, due: Duration, again: Duration) {
        if let Some(watched) = self.all.get_mut(&info_hash) {
            self.queue.remove(&(watched.due, info_hash));
            (watched.due, watched.again) = (due, again);
            self.queue.insert((due, info_hash));
        }
    }

    /// When [`Self::next`] has something.
    pub(super) fn next_at(&self) -> Option<Duration> {
        let has_room = self.running.len() < PARALLEL_MAX;
        self.queue.first().filter(|_| has_room).map(|(due, _)| *due)
    }

    /// A torrent to look for now; [`Self::started`] says that it is.
    pub(super) fn next(&mut self, now: Duration) -> Option<(InfoHash, Weak<TorrentShared>)> {
        self.next_at().filter(|due| *due <= now)?;
        let (_, info_hash) = self.queue.pop_first()?;
        Some((info_hash, self.all.get(&info_hash)?.shared.clone()))
    }

    pub(super) fn started(&mut self, operation: OperationId, info_hash: InfoHash) {
        self.running.insert(operation, info_hash);
    }

    /// Whom a search is for.
    pub(super) fn of(&self, operation: OperationId) -> Option<InfoHash> {
        self.running.get(&operation).copied()
    }

    /// A search is over. `enough`: the torrent needs no other soon.
    pub(super) fn finished(&mut self, now: Duration, operation: OperationId, enough: bool) {
        let Some(info_hash) = self.running.remove(&operation) else { return };
        let Some(watched) = self.all.get(&info_hash) else { return };
        let wait = if enough { ANNOUNCE_EVERY } else { watched.again.min(ANNOUNCE_EVERY) };
        let again = if enough { AGAIN_FIRST } else { (watched.again * 2).min(ANNOUNCE_EVERY) };
        if let Some(watched) = self.all.get_mut(&info_hash) {
            let due = if std::mem::take(&mut watched.outdated) { now } else { now + wait };
            (watched.due, watched.again) = (due, again);
            self.queue.insert((due, info_hash));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn hash(n: u8) -> InfoHash {
        InfoHash([n; 20])
    }

    #[test]
    fn what_is_announced_by_now_outdated_is_announced_again() {
        let mut torrents = Torrents::default();
        let mut operation = operations();
        for n in 1..=2 {
            torrents.add(Duration::ZERO, hash(n), Weak::new());
        }
        let now = Duration::from_secs(1);
        let [done, running] = [operation(), operation()];
        for search in [done, running] {
            let (info_hash, _) = torrents.next(now).unwrap();
            torrents.started(search, info_hash);
        }
        torrents.finished(now, done, true);
        assert_eq!(torrents.next_at(), Some(now + ANNOUNCE_EVERY));
        let later = Duration::from_secs(2);
        torrents.renew(later);
        assert!(torrents.next(later).is_some() && torrents.next(later).is_none());
        torrents.finished(later, running, true);
        assert_eq!(torrents.next_at(), Some(later));
    }

    fn operations() -> impl FnMut() -> OperationId {
        let mut core = dht::Dht::new(dht::Settings::default(), [0; 32], Duration::ZERO);
        move || core.find_node(Duration::ZERO, dht::Id([0; 20]))
    }

    #[test]
    fn few_are_looked_for_at_once_and_each_again_in_time() {
        let mut operation = operations();
        let mut torrents = Torrents::default();
        (0..10).for_each(|n| torrents.add(Duration::ZERO, hash(n), Weak::new()));
        let mut running = Vec::new();
        while let Some((info_hash, _)) = torrents.next(Duration::ZERO) {
            running.push((operation(), info_hash));
            let (operation, info_hash) = running[running.len() - 1];
            torrents.started(operation, info_hash);
        }
        assert_eq!(running.len(), PARALLEL_MAX);
        let (first, info_hash) = running[0];
        assert_eq!(torrents.of(first), Some(info_hash));
        torrents.finished(Duration::from_secs(3), first, true);
        assert!(torrents.next(Duration::from_secs(3)).is_some(), "another's turn");
        running[1..]
            .iter()
            .for_each(|(one, _)| torrents.finished(Duration::from_secs(3), *one, true));
        let waiting: Vec<_> =
            torrents.queue.iter().copied().filter(|(due, _)| due.is_zero()).collect();
        waiting.iter().for_each(|(_, of)| assert_eq!(torrents.remove(of), None));
        assert_eq!(torrents.next_at(), Some(Duration::from_secs(3) + ANNOUNCE_EVERY));
    }

    #[test]
    fn nobody_found_is_tried_again_soon_and_then_later_and_later() {
        let mut operation = operations();
        let mut torrents = Torrents::default();
        torrents.add(Duration::ZERO, hash(1), Weak::new());
        let mut now = Duration::ZERO;
        let mut waits = Vec::new();
        for _ in 0..10 {
            let (info_hash, _) = torrents.next(now).expect("it is due");
            let this = operation();
            torrents.started(this, info_hash);
            torrents.finished(now, this, false);
            let next = torrents.next_at().expect("it is queued");
            waits.push(next.as_secs() - now.as_secs());
            now = next;
        }
        assert_eq!(waits, [5, 10, 20, 40, 80, 160, 320, 640, 900, 900]);
        torrents.hurry(now);
        assert_eq!(torrents.next_at(), Some(now));
    }

    #[test]
    fn a_torrent_that_is_removed_is_gone_wherever_it_was() {
        let mut operation = operations();
        let mut torrents = Torrents::default();
        torrents.add(Duration::ZERO, hash(1), Weak::new());
        torrents.add(Duration::ZERO, hash(2), Weak::new());
        let (info_hash, _) = torrents.next(Duration::ZERO).unwrap();
        let this = operation();
        torrents.started(this, info_hash);
        assert_eq!(torrents.remove(&info_hash), Some(this), "to be cancelled");
        torrents.finished(Duration::ZERO, this, false);
        let other = if info_hash == hash(1) { hash(2) } else { hash(1) };
        assert_eq!(torrents.remove(&other), None);
        assert_eq!(torrents.next_at(), None);
    }
}
