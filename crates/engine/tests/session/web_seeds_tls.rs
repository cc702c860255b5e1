//! Web seeds over TLS: whom this machine trusts is believed, nobody else, and no redirect leads out of it.
//!
//! Whom it trusts comes from the system, where `SSL_CERT_FILE` can name another store. It is read once a
//! process, so the tests are this program again, with the variable set.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use engine::WebSeedState;
use rcgen::{CertificateParams, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::TlsAcceptor;

use crate::web::{Asked, Reply, Thing, Web};

/// Where the certificates of a run are.
const FOLDER: &str = "PEERLESS_TEST_CERTIFICATES";

/// Certificates of this machine's loopback address. Only the first is trusted.
const TRUSTED: &str = "trusted";
const STRANGE: &str = "strange";
const EXPIRED: &str = "expired";
const ANOTHERS: &str = "anothers";

#[test]
fn with_a_store_of_ones_own() {
    let dir = tempfile::tempdir().unwrap();
    for name in [TRUSTED, STRANGE, EXPIRED, ANOTHERS] {
        let host = if name == ANOTHERS { "seed.example" } else { "127.0.0.1" };
        let mut params = CertificateParams::new([host.to_owned()]).unwrap();
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        if name == EXPIRED {
            params.not_before = rcgen::date_time_ymd(2019, 1, 1);
            params.not_after = rcgen::date_time_ymd(2020, 1, 1);
        }
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        std::fs::write(dir.path().join(name), certificate.pem() + &key.serialize_pem()).unwrap();
    }
    // A stranger is one that is in no store; the others are known, and wrong in some other way.
    let known = [TRUSTED, EXPIRED, ANOTHERS].map(|name| pem(dir.path(), name));
    let store = dir.path().join("store");
    std::fs::write(&store, known.concat()).unwrap();
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "web_seeds_tls::"])
        .env("SSL_CERT_FILE", &store)
        .env(FOLDER, dir.path())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains("5 passed"), "{text}");
}

/// A certificate alone, as a store has it.
fn pem(folder: &Path, name: &str) -> String {
    let text = std::fs::read_to_string(folder.join(name)).unwrap();
    text[..text.find("-----BEGIN PRIVATE KEY").unwrap()].to_owned()
}

/// TLS by one of the certificates.
fn by(name: &str) -> TlsAcceptor {
    let path = PathBuf::from(std::env::var_os(FOLDER).unwrap()).join(name);
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![CertificateDer::from_pem_file(&path).unwrap()],
            PrivateKeyDer::from_pem_file(&path).unwrap(),
        );
    TlsAcceptor::from(Arc::new(config.unwrap()))
}

#[tokio::test]
#[ignore = "run by the first test, with a store of its own"]
async fn a_torrent_completes_over_connections_that_are_kept() {
    let thing = Thing::tree();
    let web = Web::secure(by(TRUSTED), &thing.home(), |_, _| Reply::Serve).await;
    thing.completes_from(&web.url).await;
    let (asked, connections) = (web.asked().len(), web.connections.load(Ordering::Relaxed));
    assert!(connections <= 4 && asked > connections, "{asked} by {connections}");
}

#[tokio::test]
#[ignore = "run by the first test, with a store of its own"]
async fn a_bad_certificate_is_named_and_nothing_is_asked_for() {
    let bad = [
        (STRANGE, "its certificate is of nobody whom this machine trusts"),
        (EXPIRED, "its certificate has expired"),
        (ANOTHERS, "its certificate is of another host"),
    ];
    for (name, words) in bad {
        let thing = Thing::file(300_000);
        let web = Web::secure(by(name), &thing.home(), |_, _| Reply::Serve).await;
        let status = thing.fails_with(&web.url, words).await;
        assert_eq!(status.state, WebSeedState::Resting, "{name}: it may be put right");
        let host = web.url.trim_start_matches("https://").trim_end_matches('/');
        assert!(status.error.unwrap().contains(host), "{name}");
        assert!(status.next_step.unwrap().contains("SSL_CERT_FILE"), "{name}");
        assert_eq!(web.asked().len(), 0, "{name}");
    }
}

#[tokio::test]
#[ignore = "run by the first test, with a store of its own"]
async fn a_redirect_does_not_lead_out_of_tls() {
    let thing = Thing::file(300_000);
    let plain = Web::good(&thing.home()).await;
    let location = format!("Location: {}a%20file.bin\r\n", plain.url);
    let away = move |_, _: &Asked| Reply::status("302 Found", &location);
    let web = Web::secure(by(TRUSTED), &thing.home(), away).await;
    let status = thing.fails_with(&web.url, "redirects to an insecure url").await;
    assert_eq!((status.state, plain.asked().len()), (WebSeedState::Out, 0));
}

#[tokio::test]
#[ignore = "run by the first test, with a store of its own"]
async fn a_redirect_into_tls_is_followed() {
    let thing = Thing::file(300_000);
    let web = Web::secure(by(TRUSTED), &thing.home(), |_, _| Reply::Serve).await;
    let location = format!("Location: {}a%20file.bin\r\n", web.url);
    let plain = Web::start(&thing.home(), move |_, _| Reply::status("301 Moved", &location)).await;
    thing.completes_from(&plain.url).await;
    assert!(!web.asked().is_empty());
}

#[tokio::test]
#[ignore = "run by the first test, with a store of its own"]
async fn an_answer_that_breaks_off_is_gone_on_with() {
    let thing = Thing::file(3_000_000);
    let cut = |nth, _: &Asked| if nth < 3 { Reply::Cut(50_000) } else { Reply::Serve };
    let web = Web::secure(by(TRUSTED), &thing.home(), cut).await;
    thing.completes_from(&web.url).await;
}
