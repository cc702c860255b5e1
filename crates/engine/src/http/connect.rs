//! From a host name to a connection: resolve, judge each address, dial.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tracker::Forbidden;
use tracker::udp::Family;
use url::Host;

use crate::net;

/// Addresses of one host that are tried: more is a mistake or a trick to make us dial a lot.
const ADDRESSES_MAX: usize = 8;

/// Head start of one address before the next is dialled too (RFC 8305's recommendation).
const STAGGER: Duration = Duration::from_millis(250);

/// Errors of a connect that tell about this machine's routes, not about the other side.
pub(crate) const NO_ROUTE_KINDS: [io::ErrorKind; 3] = [
    io::ErrorKind::NetworkUnreachable,
    io::ErrorKind::HostUnreachable,
    io::ErrorKind::AddrNotAvailable,
];

/// Whether a URL that strangers wrote may lead to addresses that only our own network can mean:
/// loopback, private, link-local ones. Whatever the policy says, a plain tracker URL (path
/// `/announce` or `/scrape`, no query) may, since home networks have trackers too.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum PrivatePolicy {
    /// It may not: a torrent must not be able to press the buttons of the user's router.
    #[default]
    Refuse,
    /// It may: the user trusts this torrent, or wrote the URL.
    Allow,
}

/// Resolves `host` with the system's resolver; at most `ADDRESSES_MAX` addresses.
pub(crate) async fn resolve(host: Host<&str>, port: u16) -> io::Result<Vec<SocketAddr>> {
    let mut addrs: Vec<SocketAddr> = match host {
        Host::Domain(name) => tokio::net::lookup_host((name, port)).await?.collect(),
        Host::Ipv4(ip) => vec![(ip, port).into()],
        Host::Ipv6(ip) => vec![(ip, port).into()],
    };
    for addr in &mut addrs {
        addr.set_ip(addr.ip().to_canonical()); // an IPv4 address in IPv6 clothes takes IPv4's route
    }
    addrs.dedup();
    addrs.truncate(ADDRESSES_MAX);
    Ok(addrs)
}

/// Those of `addrs` that `url` may lead to; the reason against the first when there is none.
pub(crate) fn permitted(
    url: &str,
    addrs: &[SocketAddr],
    policy: PrivatePolicy,
) -> Result<Vec<SocketAddr>, Forbidden> {
    let mut refusal = None;
    let mut permitted = Vec::new();
    for &addr in addrs {
        match tracker::may_contact(url, addr.ip(), policy == PrivatePolicy::Allow) {
            Ok(()) => permitted.push(addr),
            Err(reason) => refusal = refusal.or(Some(reason)),
        }
    }
    match refusal {
        Some(reason) if permitted.is_empty() => Err(reason),
        _ => Ok(permitted),
    }
}

/// Whether `addr` is of `family`.
pub(super) fn is_of(addr: SocketAddr, family: Family) -> bool {
    addr.is_ipv4() == (family == Family::V4)
}

/// Connects to the first of `addrs` that accepts: the families take turns, each attempt gets a
/// short head start, and the slow ones go on beside the next.
pub(super) async fn connect(
    addrs: Vec<SocketAddr>,
    bind: Option<IpAddr>,
) -> Result<TcpStream, io::Error> {
    let mut waiting = taking_turns(addrs).into_iter();
    let mut attempts = JoinSet::new(); // dropping it ends those still on their way
    let mut failure: Option<io::Error> = None;
    loop {
        if let Some(addr) = waiting.next() {
            attempts.spawn(net::connect(addr, bind));
        } else if attempts.is_empty() {
            return Err(failure.unwrap_or_else(|| io::ErrorKind::AddrNotAvailable.into()));
        }
        tokio::select! {
            Some(attempt) = attempts.join_next() => match attempt {
                Ok(Ok(stream)) => return Ok(stream),
                // A refusal by the host says more than a missing route to its other address.
                Ok(Err(error)) => match &failure {
                    Some(before) if !NO_ROUTE_KINDS.contains(&before.kind()) => {}
                    _ => failure = Some(error),
                },
                Err(error) => failure = Some(io::Error::other(error)),
            },
            () = tokio::time::sleep(STAGGER), if waiting.len() > 0 => {}
        }
    }
}

/// Addresses in the resolver's order, but alternating between the families.
fn taking_turns(addrs: Vec<SocketAddr>) -> Vec<SocketAddr> {
    let Some(first) = addrs.first().copied() else {
        return addrs;
    };
    let (ours, theirs): (Vec<_>, Vec<_>) = addrs
        .into_iter()
        .partition(|addr| addr.is_ipv4() == first.is_ipv4());
    let mut turns = Vec::with_capacity(ours.len() + theirs.len());
    let (mut ours, mut theirs) = (ours.into_iter(), theirs.into_iter());
    loop {
        let before = turns.len();
        turns.extend(ours.next());
        turns.extend(theirs.next());
        if turns.len() == before {
            return turns;
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    fn addrs(texts: &[&str]) -> Vec<SocketAddr> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn families_take_turns() {
        let turns = taking_turns(addrs(&["[::1]:1", "[::2]:1", "[::3]:1", "1.2.3.4:1"]));
        assert_eq!(
            turns,
            addrs(&["[::1]:1", "1.2.3.4:1", "[::2]:1", "[::3]:1"])
        );
        assert_eq!(taking_turns(Vec::new()), []);
    }

    #[test]
    fn forbidden_addresses_are_left_out() {
        let both = addrs(&["127.0.0.1:80", "8.8.8.8:80"]);
        let url = "http://host/page";
        let public = permitted(url, &both, PrivatePolicy::Refuse).unwrap();
        assert_eq!(public, addrs(&["8.8.8.8:80"]));
        assert_eq!(permitted(url, &both, PrivatePolicy::Allow).unwrap(), both);
        let refused = permitted(url, &both[..1], PrivatePolicy::Refuse);
        assert!(matches!(refused, Err(Forbidden::Private { .. })));
    }

    #[tokio::test]
    async fn mapped_addresses_are_judged_by_what_they_are() {
        let host = Host::Ipv6("::ffff:10.0.0.1".parse().unwrap());
        assert_eq!(resolve(host, 80).await.unwrap(), addrs(&["10.0.0.1:80"]));
    }

    #[tokio::test]
    async fn a_dead_address_does_not_hide_a_live_one() {
        let closed = TcpListener::bind("127.0.0.1:0")
            .await
            .unwrap()
            .local_addr()
            .unwrap();
        let listener = TcpListener::bind("[::1]:0").await.unwrap();
        let live = listener.local_addr().unwrap();
        let stream = connect(vec![closed, live], None).await.unwrap();
        assert_eq!(stream.peer_addr().unwrap(), live);
        let error = connect(vec![closed], None).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
    }

    #[tokio::test]
    async fn the_bind_address_is_obeyed() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let to = vec![listener.local_addr().unwrap()];
        let bind: IpAddr = "127.0.0.9".parse().unwrap();
        connect(to.clone(), Some(bind)).await.unwrap();
        let (_, from) = listener.accept().await.unwrap();
        assert_eq!(from.ip(), bind);
        let error = connect(to, Some("::1".parse().unwrap())).await.unwrap_err();
        assert!(NO_ROUTE_KINDS.contains(&error.kind()));
    }
}
