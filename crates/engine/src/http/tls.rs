//! TLS for every `https` URL: the system's trust store, or Mozilla's roots where it has none.

use std::io;
use std::sync::{Arc, OnceLock};

use rustls::client::WebPkiServerVerifier;
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::{InvalidDnsNameError, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use url::Host;

use crate::net::Held;

/// The trust store, loaded when the first `https` URL needs it.
#[derive(Default)]
pub(super) struct Tls {
    config: OnceLock<Arc<ClientConfig>>,
}

impl Tls {
    /// Trusts `roots` alone, so that tests can have a certificate that verifies.
    #[cfg(test)]
    pub(super) fn trusting(roots: RootCertStore) -> Self {
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        Self { config: OnceLock::from(Arc::new(config)) }
    }

    /// Shakes hands over `stream`; the certificate has to be `host`'s.
    pub(super) async fn connect(
        &self,
        host: Host<&str>,
        stream: Held<TcpStream>,
    ) -> Result<TlsStream<Held<TcpStream>>, TlsError> {
        let name = server_name(&host).map_err(io::Error::other)?;
        let connector = TlsConnector::from(self.config()?);
        Ok(connector.connect(name, stream).await?)
    }

    fn config(&self) -> Result<Arc<ClientConfig>, rustls::Error> {
        if let Some(config) = self.config.get() {
            return Ok(Arc::clone(config));
        }
        let config = Arc::new(load()?);
        Ok(Arc::clone(self.config.get_or_init(|| config)))
    }
}

/// Why there is no TLS.
pub(super) enum TlsError {
    /// The handshake, certificate included.
    Handshake(io::Error),
    /// Our side, before any packet.
    Setup(rustls::Error),
}

impl From<io::Error> for TlsError {
    fn from(error: io::Error) -> Self {
        Self::Handshake(error)
    }
}

impl From<rustls::Error> for TlsError {
    fn from(error: rustls::Error) -> Self {
        Self::Setup(error)
    }
}

/// What went wrong in a handshake, for people.
pub(super) fn in_words(error: &io::Error) -> String {
    use rustls::CertificateError as Bad;
    let words = match certificate_error(error) {
        Some(Bad::UnknownIssuer) => "its certificate is of nobody whom this machine trusts",
        Some(Bad::Expired | Bad::ExpiredContext { .. }) => "its certificate has expired",
        Some(Bad::NotValidForName | Bad::NotValidForNameContext { .. }) => {
            "its certificate is of another host"
        }
        _ => return error.to_string(),
    };
    words.to_owned()
}

/// What is wrong with the certificate, if that is why.
pub(super) fn certificate_error(error: &io::Error) -> Option<&rustls::CertificateError> {
    match error.get_ref()?.downcast_ref::<rustls::Error>()? {
        rustls::Error::InvalidCertificate(bad) => Some(bad),
        _ => None,
    }
}

fn server_name(host: &Host<&str>) -> Result<ServerName<'static>, InvalidDnsNameError> {
    match host {
        Host::Domain(name) => ServerName::try_from((*name).to_owned()),
        Host::Ipv4(ip) => Ok(ServerName::from(std::net::IpAddr::from(*ip))),
        Host::Ipv6(ip) => Ok(ServerName::from(std::net::IpAddr::from(*ip))),
    }
}

fn load() -> Result<ClientConfig, rustls::Error> {
    let provider = Arc::new(ring::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()?
        .dangerous(); // rustls' name for any verifier of one's own, this stricter one too
    let builder = match rustls_platform_verifier::Verifier::new(Arc::clone(&provider)) {
        Ok(system) => builder.with_custom_certificate_verifier(Arc::new(system)),
        Err(error) => {
            tracing::debug!(%error, "no system trust store; using the built-in roots");
            builder.with_custom_certificate_verifier(built_in(provider)?)
        }
    };
    Ok(builder.with_no_client_auth())
}

/// Verifies against Mozilla's roots: bare containers have no store of their own.
fn built_in(provider: Arc<CryptoProvider>) -> Result<Arc<WebPkiServerVerifier>, rustls::Error> {
    let roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider)
        .build()
        .map_err(|error| rustls::Error::General(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_trust_stores_load() {
        load().unwrap();
        built_in(Arc::new(ring::default_provider())).unwrap();
    }

    #[test]
    fn addresses_are_server_names_too() {
        let name = server_name(&Host::Ipv6("2001:db8::1".parse().unwrap())).unwrap();
        assert!(matches!(name, ServerName::IpAddress(_)));
        assert!(server_name(&Host::Domain("tracker.example")).is_ok());
        assert!(server_name(&Host::Domain("not a name")).is_err());
    }
}
