//! A session whose proxy lets nothing through says so before all else: every address and tracker fails for
//! the same reason.

use std::net::TcpListener;

use engine::{AddTorrent, Cause, Network, NetworkOptions, Session};

use crate::support::{payload, single_file, within};

#[tokio::test]
async fn a_dead_proxy_is_the_cause_and_not_each_address_behind_it() {
    let dir = tempfile::tempdir().unwrap();
    let torrent = single_file(&dir.path().join("seed"), "one.bin", &payload(50_000, 1), 32 * 1024);
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = taken.local_addr().unwrap();
    drop(taken);
    let proxy = format!("http://{addr}").parse().unwrap();
    let network = Network::new(NetworkOptions::default().proxy(proxy));
    let session = Session::builder().network(network).start().await.unwrap();
    let request = AddTorrent::new(torrent, dir.path().join("out")).use_trackers(false);
    let peer = "192.0.2.1:6881".parse().unwrap();
    let download = session.add(request.peers([peer])).await.unwrap();
    within(download.checked()).await.unwrap();
    let finding = within(async {
        loop {
            let findings = download.explain().await.findings;
            let found = findings.into_iter().find(|finding| finding.cause == Cause::ProxyFails);
            if let Some(finding) = found {
                return finding;
            }
        }
    });
    let said = format!("{:?}", finding.await.evidence);
    assert!(said.contains(&addr.to_string()) && said.contains("can't reach the proxy"), "{said}");
    assert!(session.network().proxy_trouble().is_some());
    session.shutdown().await;
}
