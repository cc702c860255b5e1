//! What a node does when nobody asks anything: joining, checking old nodes, refreshing quiet
//! buckets (BEP 5), forgetting.

use std::time::Duration;

use crate::dht::{Dht, Event, Interface, InterfaceId};
use crate::table::K;
use crate::tasks::Goal;

/// How often we look.
const TICK: Duration = Duration::from_secs(5);

/// How often old peers, items and sources are dropped.
const SWEEP: Duration = Duration::from_mins(1);

/// With few nodes we look for ourselves again after this long, each time later.
pub(crate) const JOIN_WAIT_MIN: Duration = Duration::from_secs(3);
const JOIN_WAIT_MAX: Duration = Duration::from_mins(10);
/// Who knows nobody at all looks more often: his line may be back.
const ALONE_WAIT_MAX: Duration = Duration::from_mins(1);

impl Interface {
    /// The next attempt to join comes later than the last one did.
    pub(crate) fn join_later(&mut self, now: Duration) {
        let is_alone = self.table.len() == 0;
        self.join_at = now.saturating_add(self.join_wait);
        let longest = if is_alone { ALONE_WAIT_MAX } else { JOIN_WAIT_MAX };
        self.join_wait = self.join_wait.saturating_mul(2).min(longest);
    }
}

impl Dht {
    pub(crate) fn upkeep(&mut self, now: Duration) {
        self.next_tick = now.saturating_add(TICK);
        self.tokens.rotate(now, &mut self.secrets);
        if now >= self.next_sweep {
            self.next_sweep = now.saturating_add(SWEEP);
            self.peers.expire(now);
            self.items.expire(now);
            self.sources.forget(now);
            self.forget_met(now);
        }
        let interfaces: Vec<InterfaceId> = self.interfaces.keys().copied().collect();
        interfaces.into_iter().for_each(|interface| self.keep_up(now, interface));
        // Joining may be due before the next look.
        let due = self
            .interfaces
            .values()
            .filter(|node| node.joining.is_none() && node.table.len() < K && node.join_at > now);
        if let Some(first) = due.map(|node| node.join_at).min() {
            self.next_tick = self.next_tick.min(first);
        }
    }

    fn keep_up(&mut self, now: Duration, interface: InterfaceId) {
        let Some(node) = self.interfaces.get_mut(&interface) else { return };
        if node.table.len() >= K && node.is_settled {
            node.join_wait = JOIN_WAIT_MIN;
        } else if node.joining.is_none() && now >= node.join_at {
            let (target, knows_nobody) = (node.id, node.table.len() == 0);
            if knows_nobody {
                self.tell(Event::NeedsBootstrap { interface });
            }
            // A walk that is over at once, for want of anybody to ask, is none.
            let joining = self.start_task(now, interface, None, Goal::Join, target);
            let joining = joining.filter(|task| self.tasks.contains_key(task));
            let Some(node) = self.interfaces.get_mut(&interface) else { return };
            node.joining = joining;
            if joining.is_none() {
                node.join_later(now);
            }
            return;
        }
        let old = node.table.to_check(now);
        // One refresh at a time: a newcomer's buckets follow each other.
        let busy = self.tasks.values().any(|t| t.operation.is_none() && t.interface == interface);
        let stale = if busy { None } else { node.table.take_quiet(now, &mut self.rng) };
        if let Some(old) = old {
            self.check(now, interface, old.addr);
        }
        if let Some(target) = stale {
            self.start_task(now, interface, None, Goal::Find, target);
        }
    }
}
