//! Our address as others see it (BEP 42): what nodes tell in `ip` are votes, not truths.

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};

use crate::address::{Origin, is_local, is_usable, origin};

/// The last so many voters count.
const VOTES_MAX: usize = 32;

/// So many must agree before we believe them.
const AGREE_MIN: usize = 4;

#[derive(Debug, Default)]
pub(crate) struct Votes {
    /// Newest last; one for each voter.
    cast: VecDeque<(Origin, IpAddr)>,
    elected: Option<IpAddr>,
    /// Whether it was elected, not presumed.
    is_agreed: bool,
}

impl Votes {
    /// The address that most agree on.
    pub(crate) fn elected(&self) -> Option<IpAddr> {
        self.elected
    }

    /// An address we know from elsewhere; votes may still change it.
    pub(crate) fn presume(&mut self, ip: IpAddr) {
        self.elected = Some(ip);
    }

    /// The same, as long as no election was held. Whether that is news.
    pub(crate) fn told(&mut self, ip: IpAddr) -> bool {
        !self.is_agreed && self.elected.replace(ip) != Some(ip)
    }

    /// A node that answered a query of ours sees us at an address. Gives the new one when that
    /// changes what most say: more than half of the last voters, whoever they are, and four.
    pub(crate) fn cast(&mut self, voter: SocketAddr, seen: SocketAddr) -> Option<IpAddr> {
        let ip = seen.ip();
        if voter.is_ipv4() != seen.is_ipv4() || !is_usable(seen) || is_local(ip) {
            return None;
        }
        let who = origin(voter);
        self.cast.retain(|(voter, _)| *voter != who);
        if self.cast.len() >= VOTES_MAX {
            self.cast.pop_front();
        }
        self.cast.push_back((who, ip));
        let agree = self.cast.iter().filter(|(_, vote)| *vote == ip).count();
        let wins = agree >= AGREE_MIN && agree.saturating_mul(2) > self.cast.len();
        self.is_agreed |= wins;
        (wins && self.elected != Some(ip)).then(|| {
            self.elected = Some(ip);
            ip
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn voter(n: u8) -> SocketAddr {
        SocketAddr::from(([9, 9, 9, n], 6881))
    }

    /// features.md 65: votes, not truths.
    #[test]
    fn one_voter_elects_nothing_however_often_he_votes() {
        let mut votes = Votes::default();
        for port in 1..1000 {
            let voter = SocketAddr::from(([9, 9, 9, 9], port));
            assert_eq!(votes.cast(voter, "8.8.8.8:1".parse().unwrap()), None);
        }
        assert_eq!(votes.elected(), None);
    }

    #[test]
    fn four_agree_and_a_minority_changes_nothing() {
        let (good, bad) = ("8.8.8.8:1".parse().unwrap(), "7.7.7.7:1".parse().unwrap());
        let mut votes = Votes::default();
        let elected: Vec<_> = (0..8).filter_map(|n| votes.cast(voter(n), good)).collect();
        assert_eq!(elected, [IpAddr::from([8, 8, 8, 8])], "told once");
        assert!((8..15).all(|n| votes.cast(voter(n), bad).is_none()), "seven of fifteen");
        assert_eq!(votes.elected(), Some(IpAddr::from([8, 8, 8, 8])));
        let changed = (15..40).find_map(|n| votes.cast(voter(n), bad));
        assert_eq!(changed, Some(IpAddr::from([7, 7, 7, 7])), "an address may change");
    }

    #[test]
    fn what_others_tell_holds_until_nodes_agree() {
        let (told, seen) = (IpAddr::from([9, 8, 7, 6]), "8.8.8.8:1".parse().unwrap());
        let mut votes = Votes::default();
        assert!(votes.told(told) && !votes.told(told));
        assert!(votes.told([9, 8, 7, 5].into()), "it may change");
        assert!((0..3).all(|n| votes.cast(voter(n), seen).is_none()));
        assert_eq!(votes.elected(), Some([9, 8, 7, 5].into()));
        assert_eq!(votes.cast(voter(3), seen), Some([8, 8, 8, 8].into()));
        assert!(!votes.told(told));
        assert_eq!(votes.elected(), Some([8, 8, 8, 8].into()));
    }

    #[test]
    fn addresses_that_no_stranger_can_see_are_no_votes() {
        let mut votes = Votes::default();
        for seen in ["192.168.1.1:1", "127.0.0.1:1", "0.0.0.0:1", "[2600::1]:1"] {
            assert!((0..20).all(|n| votes.cast(voter(n), seen.parse().unwrap()).is_none()));
        }
    }
}
