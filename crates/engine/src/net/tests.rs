//! The factory on loopback.

use super::*;

#[tokio::test]
async fn every_socket_is_on_the_list_while_it_lives() {
    let network = Network::bound_to(Ipv4Addr::LOCALHOST.into());
    let mut listener = network.listen(0, Purpose::Peers).unwrap().remove(0);
    let at = listener.local_addr();
    let (ours, theirs) = tokio::join!(network.connect(at, Purpose::Http), listener.accept());
    let (ours, (theirs, from)) = (ours.unwrap(), theirs.unwrap());
    assert_eq!(ours.local_addr().unwrap(), from);
    let udp = network.udp(at, Purpose::Datagrams).unwrap();
    let asking = network.udp_to(at, Purpose::Tracker).await.unwrap();

    let listed: Vec<_> = network.sockets().iter().map(|it| (it.purpose, it.remote)).collect();
    let all = [
        (Purpose::Peers, None),
        (Purpose::Http, Some(at)),
        (Purpose::Peers, Some(from)),
        (Purpose::Datagrams, None),
        (Purpose::Tracker, Some(at)),
    ];
    assert_eq!(listed.len(), all.len());
    assert!(all.iter().all(|socket| listed.contains(socket)), "{listed:?}");
    let local: Vec<_> = network.sockets().iter().filter_map(|it| it.local).collect();
    assert!(local.iter().all(|addr| addr.ip() == Ipv4Addr::LOCALHOST), "{local:?}");

    let ours = ours.map(TcpStream::into_std).unwrap();
    assert_eq!(network.sockets().len(), 5, "it is the same socket");
    drop((ours, theirs, udp, asking, listener));
    assert_eq!(network.sockets(), []);
}

#[tokio::test]
async fn names_and_addresses_are_resolved() {
    let network = Network::default();
    let addrs = network.resolve_authority("[::1]:80").await.unwrap();
    assert_eq!(addrs, ["[::1]:80".parse().unwrap()]);
    let addrs = network.resolve_authority("localhost:7").await.unwrap();
    assert!(addrs.iter().all(|addr| addr.ip().is_loopback() && addr.port() == 7), "{addrs:?}");
    for wrong in ["localhost", "localhost:", "localhost:70000", ""] {
        let error = network.resolve_authority(wrong).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput, "{wrong}");
    }
}
