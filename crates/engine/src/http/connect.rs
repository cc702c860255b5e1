//! From a host's addresses to one connection (RFC 8305).

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::net::{Held, Network, Purpose};

/// Head start of one address before the next is dialled too (RFC 8305's recommendation).
const STAGGER: Duration = Duration::from_millis(250);

/// Errors of a connect that tell about this machine's routes, not about the other side.
pub(crate) const NO_ROUTE_KINDS: [io::ErrorKind; 3] = [
    io::ErrorKind::NetworkUnreachable,
    io::ErrorKind::HostUnreachable,
    io::ErrorKind::AddrNotAvailable,
];

/// Connects to the first of `addrs` that accepts: the families take turns, each attempt gets a
/// short head start, and the slow ones go on beside the next.
pub(super) async fn connect(
    network: &Network,
    addrs: Vec<SocketAddr>,
) -> Result<Held<TcpStream>, io::Error> {
    let mut waiting = taking_turns(addrs).into_iter();
    let mut attempts = JoinSet::new(); // dropping it ends those still on their way
    let mut failure: Option<io::Error> = None;
    loop {
        if let Some(addr) = waiting.next() {
            let network = network.clone();
            attempts.spawn(async move { network.connect(addr, Purpose::Http).await });
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
    let (ours, theirs): (Vec<_>, Vec<_>) =
        addrs.into_iter().partition(|addr| addr.is_ipv4() == first.is_ipv4());
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
    use std::net::IpAddr;

    use tokio::net::TcpListener;

    use super::*;

    fn addrs(texts: &[&str]) -> Vec<SocketAddr> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn families_take_turns() {
        let turns = taking_turns(addrs(&["[::1]:1", "[::2]:1", "[::3]:1", "1.2.3.4:1"]));
        assert_eq!(turns, addrs(&["[::1]:1", "1.2.3.4:1", "[::2]:1", "[::3]:1"]));
        assert_eq!(taking_turns(Vec::new()), []);
    }

    #[tokio::test]
    async fn a_dead_address_does_not_hide_a_live_one() {
        let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        let listener = TcpListener::bind("[::1]:0").await.unwrap();
        let live = listener.local_addr().unwrap();
        let stream = connect(&Network::default(), vec![closed, live]).await.unwrap();
        assert_eq!(stream.peer_addr().unwrap(), live);
        let error = connect(&Network::default(), vec![closed]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
    }

    #[tokio::test]
    async fn the_bind_address_is_obeyed() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let to = vec![listener.local_addr().unwrap()];
        let bind: IpAddr = "127.0.0.9".parse().unwrap();
        connect(&Network::bound_to(bind), to.clone()).await.unwrap();
        let (_, from) = listener.accept().await.unwrap();
        assert_eq!(from.ip(), bind);
        let error = connect(&Network::bound_to("::1".parse().unwrap()), to).await.unwrap_err();
        assert!(NO_ROUTE_KINDS.contains(&error.kind()));
    }

    #[tokio::test]
    async fn a_refusal_says_more_than_a_missing_route() {
        let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        let elsewhere: SocketAddr = "[::1]:1".parse().unwrap();
        let network = Network::bound_to("127.0.0.1".parse().unwrap()); // no way to IPv6 from here
        for addrs in [[closed, elsewhere], [elsewhere, closed]] {
            let error = connect(&network, addrs.to_vec()).await.unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
        }
    }
}
