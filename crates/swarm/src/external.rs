//! Where the world sees us, from what others say: trackers (BEP 24), peers (BEP 10 `yourip`), the DHT
//! (BEP 42) and the gateway. Votes, not truths: each has one, and a stranger's weighs little.

use std::collections::VecDeque;
use std::net::IpAddr;

/// The last so many voters of a family count.
const VOTES_MAX: usize = 32;
/// What must agree before an address is believed: one of those that we chose, or three strangers.
const WEIGHT_MIN: u32 = 3;

/// Who says where we are.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Voter {
    /// A tracker, by its host.
    Tracker(String),
    /// A peer; one of a network of neighbours.
    Peer(IpAddr),
    /// The nodes of the DHT, which agreed among themselves.
    Dht,
    /// The gateway that maps our port.
    Gateway,
}

impl Voter {
    fn weight(&self) -> u32 {
        match self {
            Self::Peer(_) => 1,
            Self::Tracker(_) | Self::Dht | Self::Gateway => WEIGHT_MIN,
        }
    }

    /// The same for all that one person has without effort.
    fn origin(self) -> Self {
        match self {
            Self::Peer(IpAddr::V4(ip)) => {
                let [a, b, c, _] = ip.octets();
                Self::Peer([a, b, c, 0].into())
            }
            Self::Peer(IpAddr::V6(ip)) => {
                let [a, b, c, ..] = ip.segments();
                Self::Peer([a, b, c, 0, 0, 0, 0, 0].into())
            }
            other => other,
        }
    }
}

/// The votes, of both families.
#[derive(Debug, Default)]
pub struct ExternalVotes {
    families: [Family; 2],
}

#[derive(Debug, Default)]
struct Family {
    /// Newest last; one of each voter.
    votes: VecDeque<(Voter, IpAddr)>,
    elected: Option<IpAddr>,
}

impl ExternalVotes {
    /// Somebody sees us there. Gives the address when that makes it the one that most say; what no
    /// stranger could see is no vote.
    pub fn cast(&mut self, voter: Voter, ip: IpAddr) -> Option<IpAddr> {
        let ip = ip.to_canonical();
        if !is_global(ip) {
            return None;
        }
        let [v4, v6] = &mut self.families;
        let family = if ip.is_ipv4() { v4 } else { v6 };
        let voter = voter.origin();
        family.votes.retain(|(other, _)| *other != voter);
        if family.votes.len() >= VOTES_MAX {
            // Strangers make room first: they come without end.
            let stranger = family.votes.iter().position(|(voter, _)| voter.weight() < WEIGHT_MIN);
            family.votes.remove(stranger.unwrap_or(0));
        }
        family.votes.push_back((voter, ip));
        let weight = |of: Option<IpAddr>| {
            let votes = family.votes.iter().filter(|(_, vote)| of.is_none_or(|of| of == *vote));
            votes.map(|(voter, _)| voter.weight()).sum::<u32>()
        };
        let agree = weight(Some(ip));
        // Who was elected stays until most say otherwise.
        let wins = agree >= WEIGHT_MIN && agree * 2 > weight(None);
        (wins && family.elected != Some(ip)).then(|| {
            family.elected = Some(ip);
            ip
        })
    }

    /// The addresses that most agree on.
    pub fn elected(&self) -> Vec<IpAddr> {
        self.families.iter().filter_map(|family| family.elected).collect()
    }
}

/// Whether everybody could see somebody there.
fn is_global(ip: IpAddr) -> bool {
    if ip.is_unspecified() || ip.is_loopback() || ip.is_multicast() {
        return false;
    }
    match ip {
        IpAddr::V4(ip) => {
            let [a, b, ..] = ip.octets();
            let shared = a == 100 && (64..128).contains(&b); // RFC 6598
            let nobody = a == 0 || a >= 240;
            !(ip.is_private() || ip.is_link_local() || shared || nobody)
        }
        IpAddr::V6(ip) => ip.segments().first().is_some_and(|first| first & 0xe000 == 0x2000),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn peer(network: u8, host: u8) -> Voter {
        Voter::Peer([9, 9, network, host].into())
    }

    fn tracker(name: &str) -> Voter {
        Voter::Tracker(name.into())
    }

    #[test]
    fn three_strangers_are_believed_and_one_with_many_addresses_is_not() {
        let mut votes = ExternalVotes::default();
        for host in 0..=255 {
            assert_eq!(votes.cast(peer(1, host), ip("8.8.8.8")), None);
        }
        assert_eq!(votes.cast(peer(2, 1), ip("8.8.8.8")), None);
        assert_eq!(votes.cast(peer(3, 1), ip("8.8.8.8")), Some(ip("8.8.8.8")));
        assert_eq!(votes.cast(peer(4, 1), ip("8.8.8.8")), None, "told once");
        assert_eq!(votes.elected(), [ip("8.8.8.8")]);
    }

    #[test]
    fn most_decide_and_a_tie_changes_nothing() {
        let mut votes = ExternalVotes::default();
        assert_eq!(votes.cast(tracker("a"), ip("8.8.8.8")), Some(ip("8.8.8.8")));
        assert_eq!(votes.cast(tracker("b"), ip("7.7.7.7")), None);
        assert_eq!(votes.cast(Voter::Dht, ip("7.7.7.7")), Some(ip("7.7.7.7")));
        assert_eq!(votes.cast(tracker("b"), ip("8.8.8.8")), Some(ip("8.8.8.8")), "it moved");
        assert_eq!(votes.cast(Voter::Gateway, ip("2600::1")), Some(ip("2600::1")));
        assert_eq!(votes.elected(), [ip("8.8.8.8"), ip("2600::1")]);
    }

    #[test]
    fn strangers_without_end_do_not_push_out_who_is_known() {
        let mut votes = ExternalVotes::default();
        votes.cast(tracker("a"), ip("8.8.8.8"));
        for network in 0..=255 {
            votes.cast(peer(network, 1), [8, 8, 4, network].into());
        }
        assert_eq!(votes.elected(), [ip("8.8.8.8")]);
        let [v4, _] = &votes.families;
        assert_eq!(v4.votes.len(), VOTES_MAX);
        assert!(v4.votes.iter().any(|(voter, _)| *voter == tracker("a")));
    }

    #[test]
    fn what_no_stranger_can_see_is_no_vote() {
        let mut votes = ExternalVotes::default();
        for nonsense in [
            "0.0.0.0",
            "10.1.2.3",
            "100.64.0.1",
            "127.0.0.1",
            "240.0.0.1",
            "::1",
            "fe80::1",
            "fd00::1",
        ] {
            assert_eq!(votes.cast(tracker("a"), ip(nonsense)), None, "{nonsense}");
        }
        assert_eq!(votes.cast(tracker("a"), ip("::ffff:8.8.8.8")), Some(ip("8.8.8.8")));
    }

    proptest! {
        #[test]
        fn bounded_and_never_nonsense(
            cast in proptest::collection::vec((any::<u8>(), any::<IpAddr>(), any::<IpAddr>()), 0..200),
        ) {
            let mut votes = ExternalVotes::default();
            for (kind, from, seen) in cast {
                let voter = match kind % 4 {
                    0 => tracker(&from.to_string()),
                    1 => Voter::Dht,
                    2 => Voter::Gateway,
                    _ => Voter::Peer(from),
                };
                let changed = votes.cast(voter, seen);
                prop_assert!(changed.is_none_or(|ip| votes.elected().contains(&ip)));
            }
            prop_assert!(votes.families.iter().all(|family| family.votes.len() <= VOTES_MAX));
            prop_assert!(votes.elected().into_iter().all(is_global));
        }
    }
}
