//! The 160-bit names of nodes and of what they keep, and the distance between two (BEP 5).

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use metainfo::InfoHash;

/// The bits of an [`Id`].
pub(crate) const BITS: usize = 160;

/// The name of a node, an info hash, or the target of an item: all live in one space.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Id(pub [u8; 20]);

/// How far two ids are apart: their exclusive or, read as a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Distance([u8; 20]);

impl Distance {
    /// Further than anything: for nodes whose id is not known yet.
    pub(crate) const FURTHEST: Self = Self([0xff; 20]);
}

/// Text that is not 40 hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an id is 40 hexadecimal digits")]
pub struct ParseIdError;

impl Id {
    /// The id in `bytes`, when there are exactly twenty.
    pub fn from_slice(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }

    pub(crate) fn distance(self, other: Self) -> Distance {
        let mut distance = self.0;
        distance.iter_mut().zip(other.0).for_each(|(byte, other)| *byte ^= other);
        Distance(distance)
    }

    /// Leading bits that both have: 160 for equal ids.
    pub(crate) fn common_bits(self, other: Self) -> usize {
        let distance = self.distance(other);
        match distance.0.iter().position(|byte| *byte != 0) {
            None => BITS,
            Some(at) => {
                let zeros = distance.0.get(at).map_or(0, |byte| byte.leading_zeros());
                at.saturating_mul(8).saturating_add(zeros as usize)
            }
        }
    }

    /// Twenty random bytes.
    pub(crate) fn random(rng: &mut fastrand::Rng) -> Self {
        let mut id = [0; 20];
        rng.fill(&mut id);
        Self(id)
    }

    /// A random id that has exactly `bits` leading bits in common with this one.
    pub(crate) fn random_at(self, bits: usize, rng: &mut fastrand::Rng) -> Self {
        let mut random = Self::random(rng).0;
        for (at, (byte, own)) in random.iter_mut().zip(self.0).enumerate() {
            let same = bits.saturating_sub(at.saturating_mul(8)).min(8) as u32;
            let free = 0xff_u8.checked_shr(same).unwrap_or(0);
            *byte = (own & !free) | (*byte & free);
        }
        if let (Some(byte), Some(own)) = (random.get_mut(bits / 8), self.0.get(bits / 8)) {
            let bit = 0x80_u8.wrapping_shr((bits % 8) as u32);
            *byte = (*byte & !bit) | (!own & bit);
        }
        Self(random)
    }
}

impl Id {
    fn bit(self, at: usize) -> bool {
        let mask = 0x80_u8.wrapping_shr((at % 8) as u32);
        self.0.get(at / 8).is_some_and(|byte| byte & mask != 0)
    }

    /// The first `bits` of this one, and then those of `byte` again and again.
    fn filled(self, bits: usize, byte: u8) -> Self {
        let mut id = self.0;
        for (at, own) in id.iter_mut().enumerate() {
            let same = bits.saturating_sub(at.saturating_mul(8)).min(8) as u32;
            let free = 0xff_u8.checked_shr(same).unwrap_or(0);
            *own = (*own & !free) | (byte & free);
        }
        Self(id)
    }

    /// Of these ids the one that is furthest from this one, without a walk over all of them.
    pub(crate) fn furthest_of<T>(self, ids: &BTreeMap<Self, T>) -> Option<Self> {
        let (mut low, mut high) = (Self([0; 20]), Self([0xff; 20]));
        loop {
            let mut within = ids.range(low..=high).map(|(id, _)| *id);
            let first = within.next()?;
            let Some(last) = within.next_back() else { return Some(first) };
            // Those that differ from us in the first bit in which any two of them differ.
            let bits = first.common_bits(last);
            let whole = bits.saturating_add(1);
            if self.bit(bits) {
                (low, high) = (first, first.filled(whole, 0xff));
            } else {
                (low, high) = (last.filled(whole, 0), last);
            }
        }
    }
}

impl From<InfoHash> for Id {
    fn from(hash: InfoHash) -> Self {
        Self(hash.0)
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Id({self})")
    }
}

impl FromStr for Id {
    type Err = ParseIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse::<InfoHash>().map(Self::from).map_err(|_| ParseIdError)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_furthest_is_found_among_any(
            // Few bits, so that many have a long beginning in common, and all of them.
            ids in proptest::collection::vec(proptest::array::uniform20(0_u8..3), 0..40),
            more in proptest::collection::vec(any::<[u8; 20]>(), 0..40),
            own: [u8; 20],
        ) {
            let all: BTreeMap<Id, u8> = ids.into_iter().chain(more).map(|id| (Id(id), 0)).collect();
            for own in [Id(own), Id([0; 20]), Id([1; 20])] {
                let furthest = all.keys().copied().max_by_key(|id| id.distance(own));
                prop_assert_eq!(own.furthest_of(&all), furthest);
            }
        }
    }

    #[test]
    fn a_random_id_shares_exactly_the_bits_it_should() {
        let mut rng = fastrand::Rng::with_seed(1);
        let own = Id::random(&mut rng);
        for bits in 0..BITS {
            assert_eq!(own.random_at(bits, &mut rng).common_bits(own), bits);
        }
        assert_eq!(own.common_bits(own), BITS);
    }

    #[test]
    fn distance_orders_by_the_first_bit_that_differs() {
        let (zero, mut near, mut far) = (Id([0; 20]), Id([0; 20]), Id([0; 20]));
        near.0[19] = 255;
        far.0[18] = 1;
        assert!(zero.distance(near) < zero.distance(far));
        assert_eq!(zero.distance(near), near.distance(zero));
    }
}
