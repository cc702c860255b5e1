//! `peerless share`: from a file or folder to one command that fetches it on another machine.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Instant;

use engine::metainfo::{CreateOptions, Torrent};
use engine::tracker::server::{Registry, ServerLimits};
use engine::{AddTorrent, Network, Session, StateLocation, TrackerServer};
use serde_json::json;

use super::drawing::draw;
use super::reach::Reach;
use super::remarks::Remarks;
use super::{create, proxy, report, session};
use crate::exit::{Code, Failure};
use crate::format::untrusted;
use crate::interrupt::Interrupt;
use crate::output::Output;

/// Share a file or folder: print the one command that fetches it elsewhere.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  peerless share ./folder
  peerless share movie.mkv --port 6881 --tracker-port 6969

The other machine must reach this one on both ports. Whoever knows the info hash finds it by the DHT, too.")]
pub(crate) struct Args {
    /// The file or folder.
    path: PathBuf,
    /// TCP port for peers; default: any free one.
    #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true)]
    port: u16,
    /// TCP port for the tracker and the .torrent; default: any free one.
    #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true)]
    tracker_port: u16,
    #[command(flatten)]
    reach: Reach,
    #[command(flatten)]
    dht: session::DhtChoice,
    /// Tell each peer of one piece at a time, so that little more than one copy is sent (BEP 16): for
    /// many that fetch it at once.
    #[arg(long)]
    super_seed: bool,
}

impl Args {
    pub(crate) async fn run(self, output: Output) -> Result<(), Failure> {
        proxy::refuse("share")?; // others come to us, and see our address
        let interrupt = Interrupt::listen();
        let path = self.path.canonicalize().map_err(|error| Failure::file(&self.path, &error))?;
        let root =
            path.parent().ok_or_else(|| Failure::usage("give a file or folder, not a root"))?;
        let made = create::create(&path, CreateOptions::default(), output).await?;
        let bare = Torrent::parse(&made.bytes).map_err(Failure::other)?;
        let remarks = Remarks::of(&made.payload, &bare);
        if let Some(name) = remarks.changed().next() {
            let message = format!("no client can have the name {}", untrusted(name));
            return Err(Failure::usage(message).advise("rename it, and share again"));
        }
        remarks.tell(&path, output);

        let network = self.reach.network()?;
        let builder = Session::builder().port(self.port).state(StateLocation::Memory);
        let builder = self.dht.apply(builder.network(network.clone()), &network);
        let session = builder.start().await?;
        let reporting = tokio::spawn(report::report(&session, output));
        let request = AddTorrent::new(bare.clone(), root).use_trackers(false).seed_only(true);
        let request = request.super_seed(self.super_seed);
        let handle = session.add(request).await?;
        handle.checked().await?;
        if handle.stats().pieces_have < handle.stats().pieces_total {
            return Err(Failure::new(
                Code::Verification,
                "the files changed while they were hashed",
            )
            .advise("try again when they are at rest"));
        }

        tokio::select! {
            () = session.opened() => {}
            () = interrupt.wait() => return Err(Failure::interrupted()),
        }
        let host = network.own_address().unwrap_or(Ipv4Addr::LOCALHOST.into());
        let everywhere = IpAddr::V6(Ipv6Addr::UNSPECIFIED);
        let server = self.serve(&network, network.binding().address().unwrap_or(everywhere))?;
        let authority = SocketAddr::new(host, server.local_addr().port());
        let document = with_tracker(&bare, &format!("http://{authority}/announce"));
        let name = file_name(&bare.info.name());
        let port = session.listen_addresses().first().map_or(0, SocketAddr::port);
        server.with_registry(|registry, _| {
            registry.allow(bare.info_hash);
            registry.list_own(
                bare.info_hash,
                session.peer_id().0,
                SocketAddr::new(host, port),
                true,
            );
            registry.publish(format!("/{name}"), document);
        });
        let url = format!("http://{authority}/{name}");
        output.value(&json!({
            "event": "sharing", "url": url, "info_hash": bare.info_hash.to_string(),
            "tracker": format!("http://{authority}/announce"), "port": port,
        }));
        output.line("On the other machine:");
        output.line(format_args!("  peerless get {url}"));
        output.note("sharing until Ctrl-C");

        let since = Instant::now();
        let drawing = draw(&handle, &network, output);
        interrupt.wait().await;
        drawing.end().await;
        session.shutdown().await;
        server.shutdown().await;
        reporting.abort();
        output.value(&session::summary(&handle, since));
        Err(Failure::interrupted())
    }

    fn serve(&self, network: &Network, ip: IpAddr) -> Result<TrackerServer, Failure> {
        let limits = ServerLimits::default();
        let addr = SocketAddr::new(ip, self.tracker_port);
        let registry = Registry::new(limits, fastrand::u64(..));
        TrackerServer::bind(network, addr, registry).map_err(|error| {
            Failure::other(format!("can't listen on port {}: {error}", self.tracker_port))
                .advise("choose another --tracker-port")
        })
    }
}

/// The .torrent with an announce URL. The `info` bytes stay, and with them the info hash.
fn with_tracker(torrent: &Torrent, url: &str) -> Vec<u8> {
    let mut out = engine::metainfo::bencode::Encoder::new();
    out.begin_dict().key(b"announce").bytes(url.as_bytes());
    out.key(b"info").raw(&torrent.info_bytes).end().finish()
}

/// A name that needs no quoting in a URL or a shell.
fn file_name(name: &str) -> String {
    let safe = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let kept: String = name.chars().map(|c| if safe(c) { c } else { '_' }).take(80).collect();
    format!("{kept}.torrent")
}
