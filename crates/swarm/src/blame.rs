//! Whose block made a piece bad: the copies of a piece that failed are remembered as one digest a
//! block, and whoever sent a block that differs from the good copy is guilty. Nobody is punished
//! for a neighbour's block.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use metainfo::PieceIndex;

use crate::reach::owner;

/// Failed pieces remembered at one time; the oldest index goes first. A swarm with more bad data
/// than this keeps failing pieces anyway, and each failure is a new chance.
const PIECES_MAX: usize = 32;
/// Failed copies remembered of one piece.
const COPIES_MAX: usize = 4;

/// One block of a failed copy.
type Record = Option<(IpAddr, u64)>;

#[derive(Default)]
pub(crate) struct Blame {
    failed: BTreeMap<PieceIndex, Vec<Vec<Record>>>,
    banned: BTreeSet<IpAddr>,
}

impl Blame {
    pub(crate) fn is_blank(&self) -> bool {
        self.failed.is_empty() && self.banned.is_empty()
    }

    /// Whoever has an address of IPv6 has many, and is not free again with the next.
    pub(crate) fn is_banned(&self, addr: IpAddr) -> bool {
        self.banned.contains(&owner(addr))
    }

    /// Whether an earlier copy of the piece was bad.
    pub(crate) fn suspects(&self, piece: PieceIndex) -> bool {
        self.failed.contains_key(&piece)
    }

    /// A copy was bad. When one address sent all of it, that address is guilty.
    pub(crate) fn failed(
        &mut self,
        piece: PieceIndex,
        senders: &[Option<IpAddr>],
        digests: &[u64],
    ) -> Option<IpAddr> {
        let mut known = senders.iter().flatten();
        if let Some(first) = known.next()
            && known.all(|other| owner(*other) == owner(*first))
        {
            return self.ban(*first);
        }
        let copy = senders.iter().zip(digests).map(|(who, digest)| who.map(|who| (who, *digest)));
        let copies = self.failed.entry(piece).or_default();
        if copies.len() < COPIES_MAX {
            copies.push(copy.collect());
        }
        if self.failed.len() > PIECES_MAX {
            self.failed.pop_first();
        }
        None
    }

    /// A copy was good: whoever sent a different block earlier is guilty.
    pub(crate) fn good(&mut self, piece: PieceIndex, digests: &[u64]) -> Vec<IpAddr> {
        let copies = self.failed.remove(&piece).unwrap_or_default();
        let records = copies.iter().flat_map(|copy| copy.iter().zip(digests));
        let differing = records.filter_map(|(record, good)| {
            record.filter(|(_, digest)| digest != good).map(|(who, _)| who)
        });
        let guilty: BTreeSet<IpAddr> = differing.collect();
        guilty.into_iter().filter_map(|who| self.ban(who)).collect()
    }

    /// Whoever was proved guilty; `None` when that was known.
    pub(crate) fn ban(&mut self, who: IpAddr) -> Option<IpAddr> {
        self.banned.insert(owner(who)).then_some(who)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));
    const B: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 2));

    #[test]
    fn a_lone_sender_is_guilty_at_once() {
        let mut blame = Blame::default();
        assert_eq!(blame.failed(0, &[Some(A), None, Some(A)], &[1, 2, 3]), Some(A));
        assert!(blame.is_banned(A));
        assert!(!blame.suspects(0));
    }

    #[test]
    fn the_block_that_differs_names_its_sender() {
        let mut blame = Blame::default();
        assert_eq!(blame.failed(5, &[Some(A), Some(B)], &[1, 99]), None);
        assert!(blame.suspects(5));
        assert_eq!(blame.good(5, &[1, 2]), [B]);
        assert!(blame.is_banned(B) && !blame.is_banned(A));
        assert!(!blame.suspects(5));
    }

    #[test]
    fn who_has_many_addresses_is_one() {
        let mut blame = Blame::default();
        let of = |host: u16| IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, 0, host]);
        assert_eq!(blame.failed(0, &[Some(of(1)), Some(of(2))], &[1, 2]), Some(of(1)));
        assert!(blame.is_banned(of(3)));
        assert_eq!(blame.ban(of(4)), None, "that was known");
        assert!(!blame.is_banned([0x2001, 0xdb8, 0, 1, 0, 0, 0, 1].into()));
        let at_home = |host: u16| IpAddr::from([0xfd00, 0, 0, 0, 0, 0, 0, host]);
        blame.ban(at_home(1));
        assert!(blame.is_banned(at_home(1)) && !blame.is_banned(at_home(2)));
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut blame = Blame::default();
        for piece in 0..1000 {
            for _ in 0..10 {
                blame.failed(piece, &[Some(A), Some(B)], &[1, 2]);
            }
        }
        assert_eq!(blame.failed.len(), PIECES_MAX);
        assert!(blame.failed.values().all(|copies| copies.len() <= COPIES_MAX));
    }
}
