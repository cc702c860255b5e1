//! A tracker's answers over IPv4 and IPv6, apart and as one (BEP 7).

use std::net::IpAddr;

use tracker::AnnounceReply;

use super::error::AnnounceError;

/// What a tracker said over each address family. One is `None` when the tracker has no such
/// address or this machine no route to it, never both.
#[derive(Debug)]
pub struct FamilyReplies {
    /// Over IPv4.
    pub v4: Option<Result<AnnounceReply, AnnounceError>>,
    /// Over IPv6.
    pub v6: Option<Result<AnnounceReply, AnnounceError>>,
}

impl FamilyReplies {
    /// Leaves out a family that the two do not share, unless nothing is left then.
    pub(super) fn new(
        v4: Result<AnnounceReply, AnnounceError>,
        v6: Result<AnnounceReply, AnnounceError>,
    ) -> Self {
        let lacks = |reply: &Result<_, AnnounceError>| matches!(reply, Err(error) if error.is_other_family());
        match (lacks(&v4), lacks(&v6)) {
            (false, true) => Self { v4: Some(v4), v6: None },
            (true, false) => Self { v4: None, v6: Some(v6) },
            _ => Self { v4: Some(v4), v6: Some(v6) },
        }
    }

    /// Nobody was asked, over either.
    pub(super) fn unasked(why: AnnounceError) -> Self {
        Self { v4: Some(Err(why)), v6: None }
    }

    /// Whether the tracker said something, over either.
    pub(super) fn is_answer(&self) -> bool {
        let mut replies = [&self.v4, &self.v6].into_iter().flatten();
        replies.any(|reply| reply.as_ref().map_or_else(AnnounceError::is_answer, |_| true))
    }

    /// Our addresses as the tracker sees them (BEP 24).
    pub fn external_ips(&self) -> impl Iterator<Item = IpAddr> {
        let replies = [&self.v4, &self.v6].into_iter().flatten().flatten();
        replies.filter_map(|reply| reply.external_ip)
    }

    /// Both answers as one: all peers, the larger counts (the swarms overlap), the longer
    /// intervals. An error only when no family was answered; that of IPv4 then, if there is one.
    pub fn merged(self) -> Result<AnnounceReply, AnnounceError> {
        match (self.v4, self.v6) {
            (Some(Ok(v4)), Some(Ok(v6))) => Ok(merge(v4, v6)),
            (Some(Ok(reply)), _) | (_, Some(Ok(reply))) => Ok(reply),
            (Some(Err(v4)), Some(Err(v6))) => {
                Err(if v4.is_other_family() && !v6.is_other_family() { v6 } else { v4 })
            }
            (Some(Err(error)), None) | (None, Some(Err(error))) => Err(error),
            (None, None) => Err(AnnounceError::TimedOut { limit: std::time::Duration::ZERO }),
        }
    }
}

fn merge(mut one: AnnounceReply, other: AnnounceReply) -> AnnounceReply {
    one.interval = one.interval.max(other.interval);
    one.min_interval = one.min_interval.max(other.min_interval);
    one.seeders = one.seeders.max(other.seeders);
    one.leechers = one.leechers.max(other.leechers);
    one.peers.extend(other.peers);
    one.peers.sort_unstable();
    one.peers.dedup();
    one.named_peers.extend(other.named_peers);
    one.named_peers.sort_unstable();
    one.named_peers.dedup();
    one.external_ip = one.external_ip.or(other.external_ip);
    one.tracker_id = one.tracker_id.or(other.tracker_id);
    one.warning = one.warning.or(other.warning);
    one
}
