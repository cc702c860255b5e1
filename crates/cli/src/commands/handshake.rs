//! `peerless handshake`: who answers at an address, and what it can do.

use std::time::Duration;

use engine::wire::PeerId;
use engine::wire::mse::Method;
use engine::{HandshakeReport, HandshakeRequest};
use serde_json::json;

use super::reach::Reach;
use super::session::{Carrier, EncryptionMode, host_and_port};
use super::source::Source;
use crate::exit::Failure;
use crate::format::{hex, untrusted};
use crate::interrupt::Interrupt;
use crate::output::Output;

/// Shake hands with a peer and show who it is and what it can do.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  peerless handshake ubuntu.torrent 192.0.2.7:6881
  peerless handshake ubuntu.torrent [2001:db8::1]:6881 --timeout 5
  peerless handshake ubuntu.torrent 192.0.2.7:6881 --encryption require
  peerless handshake ubuntu.torrent seed.example.org:6881 --transport utp
  peerless handshake ubuntu.torrent seed.example.org:6881 --proxy socks5://127.0.0.1:9050")]
pub(crate) struct Args {
    /// A .torrent file, an http(s) URL of one, or a magnet link.
    #[arg(value_name = "TORRENT, URL or MAGNET")]
    torrent: String,
    /// The peer: HOST:PORT or [V6]:PORT. All addresses of a name are tried, in turn; behind a proxy it is
    /// the proxy's to look up.
    #[arg(value_parser = host_and_port)]
    peer: String,
    /// Seconds for the connection, and again for the peer's answer.
    #[arg(long, value_name = "SECONDS", default_value_t = 10.0)]
    timeout: f64,
    /// Encrypt the handshake (MSE). `allow` and `prefer` try both ways.
    #[arg(long, value_name = "MODE", value_enum, default_value = "off")]
    encryption: EncryptionMode,
    /// What carries the connection.
    #[arg(long, value_name = "KIND", value_enum, default_value_t = Carrier::Both)]
    transport: Carrier,
    #[command(flatten)]
    reach: Reach,
    #[command(flatten)]
    proxy: super::proxy::Through,
    #[command(flatten)]
    ip_filter: super::ip_filter::Lists,
}

impl Args {
    pub(crate) async fn run(self, output: Output) -> Result<(), Failure> {
        let timeout = Duration::try_from_secs_f64(self.timeout)
            .ok()
            .filter(|timeout| !timeout.is_zero())
            .ok_or_else(|| Failure::usage("--timeout must be a positive number of seconds"))?;
        let interrupt = Interrupt::listen();
        let network = self.proxy.network(&self.reach)?;
        let source = Source::of(&self.torrent, &network, &interrupt).await?;
        let (hashes, mut rng) = (source.hashes(), fastrand::Rng::new());
        let request = HandshakeRequest {
            addr: self.peer.clone(),
            info_hash: hashes.on_the_wire(),
            v2: hashes.v2().map(|hash| hash.truncated()),
            peer_id: PeerId::generate(|| rng.u8(..)),
            connect_timeout: timeout,
            timeout,
            network,
            transport: self.transport.into(),
            ip_filter: self.ip_filter.read(output)?.into(),
            encryption: self.encryption.into(),
        };
        let report = tokio::select! {
            report = engine::handshake(request) => report,
            () = interrupt.wait() => return Err(Failure::interrupted()),
        };
        let report = report.map_err(|error| {
            let failure = Failure::from(error);
            Failure { message: format!("{}: {}", self.peer, failure.message), ..failure }
        })?;
        show(&report, output);
        Ok(())
    }
}

/// How the payload goes behind an encrypted handshake.
fn payload(method: Method) -> &'static str {
    match method {
        Method::Plaintext => "plaintext",
        Method::Rc4 => "RC4",
    }
}

fn show(report: &HandshakeReport, output: Output) {
    let extended = report.extended.as_ref();
    let name = report.peer_id.client_name();
    let offered: Vec<(&str, u8)> = extended
        .map(|extended| extended.extensions.iter().map(|(name, id)| (name.as_str(), *id)).collect())
        .unwrap_or_default();
    output.value(&json!({
        "peer_id": report.peer_id.to_string(),
        "peer_id_text": report.peer_id.escaped(),
        "client": name,
        "address": report.addr,
        "transport": if report.by_utp { "utp" } else { "tcp" },
        "reserved": hex(&report.reserved.0),
        "features": report.reserved.names(),
        "extended": extended.map(|extended| json!({
            "extensions": offered.iter().map(|(name, id)| ((*name).to_string(), json!(id)))
                .collect::<serde_json::Map<_, _>>(),
            "client": extended.client,
            "your_ip": extended.yourip,
            "request_queue": extended.reqq,
            "port": extended.port,
            "upload_only": extended.upload_only,
            "metadata_size": extended.metadata_size,
        })),
        "encryption": report.encryption.map(payload),
        "elapsed_seconds": report.elapsed.as_secs_f64(),
    }));
    output.line(format_args!("Peer ID: {}", report.peer_id));
    let id = report.peer_id.escaped();
    output.line(format_args!("Client: {} ({id})", name.as_deref().unwrap_or("unknown")));
    if report.by_utp {
        output.line("Carried by: uTP");
    }
    if let Some(method) = report.encryption {
        output.line(format_args!("Encrypted: handshake; payload: {}", payload(method)));
    }
    let features = report.reserved.names();
    let features = if features.is_empty() { "none".into() } else { features.join(", ") };
    output.line(format_args!("Features: {features}"));
    let Some(extended) = extended else { return };
    let names: Vec<String> = offered.iter().map(|(name, _)| untrusted(name)).collect();
    output.line(format_args!("Extensions: {}", names.join(", ")));
    if let Some(client) = &extended.client {
        output.line(format_args!("Calls itself: {}", untrusted(client)));
    }
    if let Some(ip) = extended.yourip {
        output.line(format_args!("Sees us as: {ip}"));
    }
    if let Some(reqq) = extended.reqq {
        output.line(format_args!("Request queue: {reqq}"));
    }
    if extended.upload_only == Some(true) {
        output.line("Uploads only: yes");
    }
}
