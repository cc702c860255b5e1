//! TLS: what verifies is fetched, anything else is not.

use std::sync::Arc;

use rcgen::{CertificateParams, KeyPair};
use rustls::pki_types::PrivateKeyDer;
use rustls::{RootCertStore, ServerConfig};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use super::super::scripted::converse;
use super::*;

struct SecureServer {
    port: u16,
    /// Trusts this server's certificate and no other.
    roots: RootCertStore,
    _server: JoinSet<()>,
}

impl SecureServer {
    async fn start(params: CertificateParams, answer: Answer) -> Self {
        let key = KeyPair::generate().unwrap();
        let cert = params.self_signed(&key).unwrap();
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(cert.der().clone()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![cert.der().clone()], key)
            .unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (heard, _) = tokio::sync::mpsc::unbounded_channel();
        let mut server = JoinSet::new();
        server.spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                if let Ok(stream) = acceptor.accept(stream).await {
                    converse(stream, answer.clone(), heard.clone()).await;
                }
            }
        });
        Self { port, roots, _server: server }
    }

    async fn get(&self, client: &HttpClient) -> Result<HttpReply, HttpError> {
        client.get(&format!("https://localhost:{}/announce", self.port), allowing()).await
    }
}

fn named(name: &str) -> CertificateParams {
    CertificateParams::new([name.to_owned()]).unwrap()
}

#[tokio::test]
async fn a_good_certificate_is_accepted() {
    let server = SecureServer::start(named("localhost"), Answer::ok("de")).await;
    let client = HttpClient::trusting(server.roots.clone());
    assert_eq!(server.get(&client).await.unwrap().body, b"de");
}

#[tokio::test]
async fn a_self_signed_certificate_is_refused() {
    let server = SecureServer::start(named("localhost"), Answer::ok("de")).await;
    let client = HttpClient::new(HttpSettings::default());
    let error = server.get(&client).await.unwrap_err();
    assert!(matches!(error, HttpError::Tls { .. }) && error.is_untrusted(), "{error:?}");
    assert!(
        error
            .to_string()
            .starts_with(&format!("no secure connection to localhost:{}", server.port))
    );
}

#[tokio::test]
async fn another_hosts_certificate_is_refused() {
    let server = SecureServer::start(named("tracker.example"), Answer::ok("de")).await;
    let client = HttpClient::trusting(server.roots.clone());
    let error = server.get(&client).await.unwrap_err();
    assert!(matches!(error, HttpError::Tls { .. }) && error.is_untrusted(), "{error:?}");
}

#[tokio::test]
async fn an_expired_certificate_is_refused() {
    let mut params = named("localhost");
    params.not_before = rcgen::date_time_ymd(2019, 1, 1);
    params.not_after = rcgen::date_time_ymd(2020, 1, 1);
    let server = SecureServer::start(params, Answer::ok("de")).await;
    let client = HttpClient::trusting(server.roots.clone());
    let error = server.get(&client).await.unwrap_err();
    assert!(matches!(error, HttpError::Tls { .. }) && error.is_untrusted(), "{error:?}");
}

#[tokio::test]
async fn a_redirect_to_plain_http_is_refused() {
    let plain = Scripted::start([Answer::ok("de")]).await;
    let server = SecureServer::start(named("localhost"), Answer::redirect(&plain.url("/"))).await;
    let client = HttpClient::trusting(server.roots.clone());
    assert!(matches!(server.get(&client).await, Err(HttpError::Downgrade { .. })));
    assert_eq!(plain.requests_left(), 0);
}

#[tokio::test]
async fn a_plain_server_behind_an_https_url_is_no_tls() {
    let plain = Scripted::start([Answer::Bytes(b"HTTP/1.1 400 Bad Request\r\n\r\n".into())]).await;
    let client = HttpClient::new(HttpSettings::default());
    let url = format!("https://{}/", plain.addr);
    let timeout = Duration::from_millis(300); // it may wait for a request head that never comes
    let error = client.get(&url, GetOptions { timeout, ..allowing() }).await;
    assert!(matches!(error, Err(HttpError::Tls { .. } | HttpError::TimedOut { .. })), "{error:?}");
}

#[tokio::test]
async fn who_speaks_no_tls_has_no_bad_certificate() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://{}/", listener.local_addr().unwrap());
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.write_all(b"220 mail.example ready\r\n").await.unwrap();
        let _ = stream.read_to_end(&mut Vec::new()).await; // until it has enough
    });
    let client = HttpClient::new(HttpSettings::default());
    let error = client.get(&url, allowing()).await.unwrap_err();
    assert!(matches!(error, HttpError::Tls { .. }) && !error.is_untrusted(), "{error:?}");
}
