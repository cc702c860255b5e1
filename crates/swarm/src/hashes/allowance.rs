//! How many hashes an address may have of us, and how much we read for it: as much as downloads take
//! (BEP 52), and not for ever. An answer is three hundred times as long as its question, and behind one
//! for leaves a piece may have to be read and hashed.
//!
//! What was given is a debt, which time pays off, and blocks that the peer was sent. It outlives the
//! connection: who comes back owes it still, and a torrent does not rest before all is paid.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use crate::reach::owner;

/// Hashes a second that anybody may have: of 8 MiB of data, with the reading, and 32 KiB to send.
const PER_SECOND: u64 = 1024;
/// Hashes that a block earns who is sent it: its leaf, and that leaf's reading.
const PER_BLOCK: u64 = 2;
/// The highest debt, unless the layers of the torrent need more: leaves and reading for 128 MiB.
const DEBT_MAX: u64 = 16 * 1024;
/// Addresses in debt: more are given nothing. A debt is over within 16 seconds, and three more for each
/// 1,024 pieces of the torrent.
const ADDRESSES_MAX: usize = 1024;

/// The debts of all addresses.
#[derive(Debug)]
pub(super) struct Allowance {
    debt_max: Duration,
    /// When each will be paid.
    paid_at: BTreeMap<IpAddr, Duration>,
}

/// In which time so many hashes are paid for.
fn time(hashes: u64) -> Duration {
    Duration::from_nanos(hashes.saturating_mul(1_000_000_000) / PER_SECOND)
}

impl Allowance {
    /// For a torrent with so many leaves, and hashes of pieces: all of them twice at once is never
    /// needed, whole layers twice may be, and what is above them may have to be made once.
    pub(super) fn new(leaves: u64, pieces: u64) -> Self {
        let layers = pieces.saturating_mul(3);
        let all = leaves.saturating_mul(2 * PER_BLOCK).saturating_add(layers);
        let debt_max = time(all.min(DEBT_MAX.saturating_add(layers)));
        Self { debt_max, paid_at: BTreeMap::new() }
    }

    /// Whether so many hashes may be given, or read, for the address. If so it owes them.
    pub(super) fn take(&mut self, now: Duration, ip: IpAddr, hashes: u64) -> bool {
        let ip = owner(ip);
        if self.paid_at.len() >= ADDRESSES_MAX {
            self.forget_paid(now);
        }
        let owed = self.paid_at.get(&ip).map_or(Duration::ZERO, |at| at.saturating_sub(now));
        let owes = owed.saturating_add(time(hashes));
        let fits = owed.is_zero() || owes <= self.debt_max;
        let has_room = self.paid_at.contains_key(&ip) || self.paid_at.len() < ADDRESSES_MAX;
        if fits && has_room {
            self.paid_at.insert(ip, now.saturating_add(owes));
        }
        fits && has_room
    }

    /// The address was sent so many bytes of blocks.
    pub(super) fn earned(&mut self, ip: IpAddr, bytes: u32) {
        if let Some(at) = self.paid_at.get_mut(&owner(ip)) {
            // By bytes: many small parts of a block are no more than the block.
            let hash_bytes = u64::from(bytes).saturating_mul(PER_BLOCK * 1_000_000_000);
            let paid = hash_bytes / (u64::from(metainfo::BLOCK_LENGTH) * PER_SECOND);
            *at = at.saturating_sub(Duration::from_nanos(paid));
        }
    }

    /// When the last debt will be paid; `None` when all are.
    pub(super) fn all_paid_at(&self, now: Duration) -> Option<Duration> {
        self.paid_at.values().max().copied().filter(|at| *at > now)
    }

    /// Forgets who owes nothing any more.
    pub(super) fn forget_paid(&mut self, now: Duration) {
        self.paid_at.retain(|_, at| *at > now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(number: u32) -> IpAddr {
        std::net::Ipv4Addr::from_bits(0x0a00_0000 + number).into()
    }

    #[test]
    fn a_debt_is_paid_by_time_and_by_blocks_and_each_address_has_its_own() {
        let mut allowance = Allowance::new(1 << 20, 1 << 10);
        let most = DEBT_MAX + 3 * 1024;
        let now = Duration::from_secs(100);
        assert!(allowance.take(now, ip(1), most) && !allowance.take(now, ip(1), 1));
        assert!(allowance.take(now, ip(2), 1), "another address");
        let later = now + Duration::from_secs(1);
        assert!(!allowance.take(later, ip(1), PER_SECOND + 1));
        assert!(allowance.take(later, ip(1), PER_SECOND) && !allowance.take(later, ip(1), 1));
        allowance.earned(ip(1), 10 * metainfo::BLOCK_LENGTH);
        assert!(!allowance.take(later, ip(1), 10 * PER_BLOCK + 1));
        assert!(allowance.take(later, ip(1), 10 * PER_BLOCK));
        allowance.earned(ip(3), 100); // it owes nothing
        (0..metainfo::BLOCK_LENGTH).for_each(|_| allowance.earned(ip(1), 1));
        assert!(!allowance.take(later, ip(1), PER_BLOCK + 1), "a block byte by byte");
        assert!(allowance.take(later, ip(1), PER_BLOCK - 1), "is a block, but for roundings");
        allowance.earned(ip(1), u32::MAX);
        assert!(allowance.take(later, ip(1), most - PER_BLOCK), "no overflow");
        allowance.forget_paid(later + Duration::from_mins(1));
        assert!(allowance.paid_at.is_empty());
    }

    #[test]
    fn a_small_torrent_is_asked_for_a_little_and_its_longest_answer_is_always_given() {
        let mut allowance = Allowance::new(4, 2);
        assert!(allowance.take(Duration::ZERO, ip(1), 500), "who owes nothing may owe more");
        assert!(!allowance.take(Duration::ZERO, ip(1), 1));
    }

    #[test]
    fn addresses_that_one_has_without_effort_share_a_debt() {
        let mut allowance = Allowance::new(4, 2);
        let mut may = |ip: &str| allowance.take(Duration::ZERO, ip.parse().unwrap(), 500);
        assert!(may("2001:db8:1:2::1") && !may("2001:db8:1:2:3:4:5:6"));
        assert!(may("2001:db8:1:3::1"), "of another network");
        assert!(may("192.0.2.1") && !may("::ffff:192.0.2.1") && may("192.0.2.2"));
        allowance.earned("2001:db8:1:2::9".parse().unwrap(), u32::MAX);
        assert!(allowance.take(Duration::ZERO, "2001:db8:1:2::8".parse().unwrap(), 500));
    }

    #[test]
    fn many_addresses_take_little_memory() {
        let mut allowance = Allowance::new(1 << 20, 1 << 10);
        let given = (0..5000).filter(|n| allowance.take(Duration::ZERO, ip(*n), 1000)).count();
        assert_eq!((given, allowance.paid_at.len()), (ADDRESSES_MAX, ADDRESSES_MAX));
        assert!(allowance.take(Duration::from_secs(1), ip(6000), 1), "others paid meanwhile");
    }
}
