//! `peerless network`: what a session with these options would send by, socket for socket.

use std::time::Duration;

use engine::{Pinholes, PortMapping, Session, SocketInfo, StateLocation};
use serde_json::{Value, json};

use super::session::Options;
use super::{gateway, proxy};
use crate::exit::Failure;
use crate::output::Output;

/// Show every socket that a session would have, what it is bound to, and who is asked for names.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  peerless network --bind tun0
  peerless network --bind 192.0.2.7 --port 6881 --local-discovery --json
  peerless network --gateway

Opens them, shows them and ends; nothing is sent, unless --gateway asks for it, but to a proxy, to see \
whether it lets us through. `get` and `seed` tell of theirs while they run: send them SIGUSR1.")]
pub(crate) struct Args {
    /// Ask the gateway too, as a session would, and show what it gives: its ports, and pinholes for IPv6.
    /// It gets them back at the end.
    #[arg(long)]
    gateway: bool,
    #[command(flatten)]
    options: Options,
}

/// The same of a proxy, which says at once whether it lets us through.
const PROXY_LIMIT: Duration = Duration::from_secs(10);

/// How long a gateway may take: it is asked by one way after the other.
const GATEWAY_LIMIT: Duration = Duration::from_secs(20);

impl Args {
    pub(crate) async fn run(self, output: Output) -> Result<(), Failure> {
        let network = self.options.network()?;
        // Without state and without nodes to begin with it has nobody to talk to.
        let builder = self.options.builder(&network, output)?.state(StateLocation::Memory);
        let builder = builder.dht_bootstrap([""; 0]).port_mapping(self.gateway);
        let session = builder.start().await?;
        if self.gateway {
            // What is shown then says that it is still being asked.
            let _ = tokio::time::timeout(GATEWAY_LIMIT, answered(&session)).await;
        }
        let proxy = match network.proxy() {
            Some(_) => Some(tokio::time::timeout(PROXY_LIMIT, network.try_proxy()).await),
            None => None,
        };
        let (mapping, holes) = (session.port_mapping(), session.pinholes());
        let told = session.told_ports();
        let servers = network.name_servers().await;
        let interfaces = engine::interfaces().map_err(Failure::other)?;
        let sockets = session.sockets();
        session.shutdown().await;

        output.line(format_args!("Bound to: {}", network.binding()));
        if let Some(absence) = network.absence() {
            output.line(format_args!("Not there: {absence}"));
        }
        if let (Some(url), Some(state)) = (network.proxy(), &proxy) {
            output.line(format_args!("Proxy: {}", proxy::state(url, state)));
        }
        match &servers {
            None if network.proxy().is_some() => {
                output.line("Names: looked up by the proxy; its own by the system's resolver");
            }
            None => output.line("Names: by the system's resolver"),
            Some(servers) if servers.is_empty() => {
                output.line("Names: no server can be reached; name one with --dns");
            }
            Some(servers) => {
                let all: Vec<_> = servers.iter().map(ToString::to_string).collect();
                output.line(format_args!("Names: asked of {} by bound sockets", all.join(", ")));
            }
        }
        if self.gateway {
            output.line(format_args!("Port mapping: {}", gateway::mapped(&mapping)));
            output.line(format_args!("Pinholes: {}", gateway::let_in(&holes)));
        }
        output.line(format_args!("Peers are told: {}", gateway::told(told)));
        output.line("Sockets:");
        sockets.iter().for_each(|socket| output.line(format_args!("  {}", sentence(socket))));
        output.line("Interfaces:");
        for one in &interfaces {
            let all: Vec<_> = one.addresses.iter().map(ToString::to_string).collect();
            let up = if one.is_up { "up" } else { "down" };
            output.line(format_args!("  {} ({up}): {}", one.name, all.join(", ")));
        }
        let interfaces: Vec<_> = interfaces
            .iter()
            .map(|one| json!({ "name": one.name, "up": one.is_up, "addresses": one.addresses }))
            .collect();
        output.value(&json!({
            "interface": network.binding().interface(), "address": network.binding().address(),
            "absence": network.absence(),
            "proxy": network.proxy().zip(proxy.as_ref()).map(|(url, state)| {
                let problem = !matches!(state, Ok(Ok(())));
                json!({ "url": url.to_string(), "problem": problem.then(|| proxy::state(url, state)) })
            }),
            "name_servers": servers, "sockets": documents(&sockets), "interfaces": interfaces,
            "port_mapping": self.gateway.then(|| gateway::port_mapping(&mapping)),
            "pinholes": self.gateway.then(|| gateway::pinholes(&holes)),
            "told_ports": { "ipv4": told.v4, "ipv6": told.v6 },
        }));
        Ok(())
    }
}

/// Waits until the gateway gave what it gives.
async fn answered(session: &Session) {
    let mut events = session.events();
    let asks =
        || session.port_mapping() == PortMapping::Asking || session.pinholes() == Pinholes::Asking;
    while asks() && events.next().await.is_some() {}
}

/// Tells of a session's sockets each time that SIGUSR1 comes.
#[cfg(unix)]
pub(crate) async fn list_on_signal(session: Session, output: Output) {
    use tokio::signal::unix::{SignalKind, signal};
    let Ok(mut asked) = signal(SignalKind::user_defined1()) else { return };
    while asked.recv().await.is_some() {
        let sockets = session.sockets();
        output.value(&json!({ "event": "sockets", "sockets": documents(&sockets) }));
        sockets.iter().for_each(|socket| output.note(sentence(socket)));
    }
}

#[cfg(not(unix))]
pub(crate) async fn list_on_signal(_session: Session, _output: Output) {}

fn documents(sockets: &[SocketInfo]) -> Vec<Value> {
    let document = |socket: &SocketInfo| {
        json!({
            "purpose": socket.purpose.to_string(), "protocol": socket.protocol.to_string(),
            "local": socket.local, "remote": socket.remote, "interface": socket.interface,
        })
    };
    sockets.iter().map(document).collect()
}

fn sentence(socket: &SocketInfo) -> String {
    let local = socket.local.map_or("?".into(), |addr| addr.to_string());
    let remote = socket.remote.map_or(String::new(), |addr| format!(" to {addr}"));
    let interface = match &socket.interface {
        Some(name) => format!("bound to {name}"),
        None => "bound to no interface".into(),
    };
    format!("{} {local}{remote}: {}, {interface}", socket.protocol, socket.purpose)
}
