//! The counting of swarms without naming who is in them: bloom filters of addresses (BEP 33).

use std::net::IpAddr;

use sha1::{Digest as _, Sha1};

/// Bytes of a filter.
pub(crate) const BYTES: usize = 256;
const BITS: f64 = (BYTES * 8) as f64;

/// A set of addresses that tells about how many are in it, and can be joined with others.
#[derive(Clone, PartialEq, Eq)]
pub struct Bloom([u8; BYTES]);

impl Default for Bloom {
    fn default() -> Self {
        Self([0; BYTES])
    }
}

impl std::fmt::Debug for Bloom {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Bloom(~{:.0})", self.estimate())
    }
}

impl Bloom {
    /// The filter in `bytes`, when there are 256.
    pub fn from_slice(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }

    /// As it is sent.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The two bits of an address: place and mask of each.
    fn bits(ip: IpAddr) -> [(usize, u8); 2] {
        let hash: [u8; 20] = match ip {
            IpAddr::V4(ip) => Sha1::digest(ip.octets()).into(),
            IpAddr::V6(ip) => Sha1::digest(ip.octets()).into(),
        };
        let [a, b, c, d, ..] = hash;
        [u16::from_le_bytes([a, b]), u16::from_le_bytes([c, d])].map(|bit| {
            let bit = usize::from(bit) % (BYTES * 8);
            (bit / 8, 1_u8.wrapping_shl((bit % 8) as u32))
        })
    }

    /// Adds an address.
    pub fn insert(&mut self, ip: IpAddr) {
        for (place, mask) in Self::bits(ip) {
            if let Some(byte) = self.0.get_mut(place) {
                *byte |= mask;
            }
        }
    }

    /// Whether the address may be in it.
    pub fn contains(&self, ip: IpAddr) -> bool {
        let has = |(place, mask): (usize, u8)| self.0.get(place).is_some_and(|b| b & mask != 0);
        Self::bits(ip).into_iter().all(has)
    }

    /// Makes this the union of both.
    pub fn join(&mut self, other: &Self) {
        self.0.iter_mut().zip(other.0).for_each(|(byte, other)| *byte |= other);
    }

    /// About how many addresses are in it; good up to 6,000.
    pub fn estimate(&self) -> f64 {
        if self.0 == [0; BYTES] {
            return 0.0;
        }
        let zeros: u32 = self.0.iter().map(|byte| byte.count_zeros()).sum();
        let zeros = f64::from(zeros).clamp(1.0, BITS - 1.0);
        (zeros / BITS).ln() / (2.0 * (1.0 - 1.0 / BITS).ln())
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};

    use super::*;

    /// BEP 33's own: 256 IPv4 and 1,000 IPv6 addresses.
    const PUBLISHED: &str = "
        F6C3F5EA A07FFD91 BDE89F77 7F26FB2B FF37BDB8 FB2BBAA2 FD3DDDE7 BACFFF75 EE7CCBAE
        FE5EEDB1 FBFAFF67 F6ABFF5E 43DDBCA3 FD9B9FFD F4FFD3E9 DFF12D1B DF59DB53 DBE9FA5B
        7FF3B8FD FCDE1AFB 8BEDD7BE 2F3EE71E BBBFE93B CDEEFE14 8246C2BC 5DBFF7E7 EFDCF24F
        D8DC7ADF FD8FFFDF DDFFF7A4 BBEEDF5C B95CE81F C7FCFF1F F4FFFFDF E5F7FDCB B7FD79B3
        FA1FC77B FE07FFF9 05B7B7FF C7FEFEFF E0B8370B B0CD3F5B 7F2BD93F EB4386CF DD6F7FD5
        BFAF2E9E BFFFFEEC D67ADBF7 C67F17EF D5D75EBA 6FFEBA7F FF47A91E B1BFBB53 E8ABFB57
        62ABE8FF 237279BF EFBFEEF5 FFC5FEBF DFE5ADFF ADFEE1FB 737FFFFB FD9F6AEF FEEE76B6
        FD8F72EF";

    #[test]
    fn the_published_filter_and_its_estimate() {
        let mut filter = Bloom::default();
        (0..=255).for_each(|n| filter.insert(Ipv4Addr::new(192, 0, 2, n).into()));
        let v6 = |n| Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, n);
        (0..=0x3e7).for_each(|n| filter.insert(v6(n).into()));
        let digits: Vec<u8> =
            PUBLISHED.chars().filter_map(|c| c.to_digit(16)).map(|digit| digit as u8).collect();
        let published: Vec<u8> = digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect();
        assert_eq!(filter.as_bytes(), published);
        assert!((filter.estimate() - 1224.9308).abs() < 0.0001, "{}", filter.estimate());
    }

    #[test]
    fn an_empty_and_a_full_filter_have_finite_estimates() {
        assert!(Bloom::default().estimate().abs() < f64::EPSILON);
        assert!(Bloom([255; BYTES]).estimate().is_finite());
    }

    #[test]
    fn a_union_has_what_both_have() {
        let (mut one, mut two) = (Bloom::default(), Bloom::default());
        let (a, b) = (IpAddr::from([1, 2, 3, 4]), IpAddr::from([5, 6, 7, 8]));
        one.insert(a);
        two.insert(b);
        assert!(!one.contains(b));
        one.join(&two);
        assert!(one.contains(a) && one.contains(b));
    }
}
