//! Sessions bound to an interface by its name: what they send by, and what they say when it is not there.
//! That nothing leaves by another when it is taken away is shown in `tests/interop/cases/binding.py`.

use std::time::Duration;

use engine::wire::PeerId;
use engine::{
    AddTorrent, Binding, Cause, Encryption, HandshakeFailure, HandshakeRequest, Network,
    NetworkOptions, Purpose, Session, SocketProtocol, StartError, Transport,
};

use crate::support::{payload, single_file, within};

const ABSENT: &str = "nowhere0";

fn network(interface: &str) -> Network {
    let bind = Binding::to_interface(interface).unwrap();
    Network::new(NetworkOptions::default().bind(bind))
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_transfer_by_bound_sockets_and_the_list_of_them() {
    let dir = tempfile::tempdir().unwrap();
    let data = payload(300_000, 1);
    let torrent = single_file(&dir.path().join("seed"), "one.bin", &data, 32 * 1024);
    for transport in [Transport::Tcp, Transport::Utp] {
        let start = || Session::builder().network(network("lo")).transport(transport).start();
        let (seeder, leecher) = (start().await.unwrap(), start().await.unwrap());
        let request = AddTorrent::new(torrent.clone(), dir.path().join("seed"));
        let seed = seeder.add(request.seed_only(true).use_trackers(false)).await.unwrap();
        within(seed.wait()).await.unwrap();
        let out = dir.path().join(format!("{transport:?}"));
        let peer = ([127, 0, 0, 1], seeder.listen_addresses()[0].port()).into();
        let request = AddTorrent::new(torrent.clone(), &out).use_trackers(false).peers([peer]);
        let download = leecher.add(request).await.unwrap();
        within(download.wait()).await.unwrap();
        assert_eq!(std::fs::read(out.join("one.bin")).unwrap(), data);

        for session in [&seeder, &leecher] {
            let sockets = session.sockets();
            assert!(sockets.iter().all(|it| it.interface.as_deref() == Some("lo")), "{sockets:?}");
            let has = |purpose, protocol| {
                sockets.iter().any(|it| (it.purpose, it.protocol) == (purpose, protocol))
            };
            assert!(has(Purpose::Peers, SocketProtocol::TcpListener), "{sockets:?}");
            assert!(has(Purpose::Datagrams, SocketProtocol::Udp), "{sockets:?}");
        }
        seeder.shutdown().await;
        leecher.shutdown().await;
    }
}

#[tokio::test]
async fn without_its_interface_what_needs_it_fails_and_the_error_names_it() {
    let builder = Session::builder().network(network(ABSENT)).needs_network(true);
    let Err(refused) = builder.start().await else {
        panic!("it has nothing to send by");
    };
    assert!(matches!(refused, StartError::Network(_)), "{refused:?}");
    let error = refused.to_string();
    assert!(error.contains(ABSENT) && error.contains("bring it up"), "{error}");

    let request = HandshakeRequest {
        ip_filter: std::sync::Arc::default(),
        addr: "127.0.0.1:9".into(),
        info_hash: engine::metainfo::InfoHash([1; 20]),
        v2: None,
        peer_id: PeerId([1; 20]),
        connect_timeout: Duration::from_secs(10),
        timeout: Duration::from_secs(10),
        network: network(ABSENT),
        transport: Transport::Tcp,
        encryption: Encryption::Off,
    };
    let failure = within(engine::handshake(request)).await.unwrap_err();
    assert!(matches!(failure, HandshakeFailure::NoWay { .. }), "{failure:?}");
    assert!(failure.to_string().contains(ABSENT), "{failure}");

    let fetched = within(engine::fetch_torrent("http://127.0.0.1:9/a", &network(ABSENT))).await;
    let error = fetched.unwrap_err().to_string();
    assert!(error.contains(ABSENT), "{error}");
}

/// It has no sockets, and says why: what is there comes first to who mistyped a name.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_session_begins_without_its_interface_and_waits() {
    let dir = tempfile::tempdir().unwrap();
    let data = payload(300_000, 1);
    let torrent = single_file(&dir.path().join("seed"), "one.bin", &data, 32 * 1024);
    let there = Session::builder().bind([127, 0, 0, 1].into()).start().await.unwrap();
    let request = AddTorrent::new(torrent.clone(), dir.path().join("seed"));
    let seed = there.add(request.seed_only(true).use_trackers(false)).await.unwrap();
    within(seed.wait()).await.unwrap();

    let session = Session::builder().network(network(ABSENT)).port_mapping(true).start();
    let session = session.await.unwrap();
    assert_eq!((session.listen_addresses(), session.sockets()), (Vec::new(), Vec::new()));
    let why = session.network().absence().unwrap();
    let named = why.contains("only lo") || why.contains(", lo");
    assert!(why.contains(ABSENT) && named, "{why}");
    let request = AddTorrent::new(torrent, dir.path().join("out")).use_trackers(false);
    let download = session.add(request.peers(there.listen_addresses())).await.unwrap();
    within(download.checked()).await.unwrap();
    let explained = within(async {
        loop {
            let findings = download.explain().await.findings;
            if let Some(finding) = findings.into_iter().next() {
                return finding;
            }
        }
    });
    assert_eq!(explained.await.cause, Cause::NetworkLost);
    assert_eq!((download.stats().peers, session.sockets()), (0, Vec::new()));
    let error = within(session.set_listen_port(0)).await.unwrap_err();
    assert!(error.to_string().contains(ABSENT), "{error}");
    for session in [session, there] {
        session.shutdown().await;
    }
}
