//! `--bind` and `--dns`: by which way everything goes, an option of every command that opens sockets.

use std::net::{IpAddr, SocketAddr};

use engine::{Binding, Network, NetworkOptions};

use crate::exit::Failure;

/// A name server's port.
const DNS_PORT: u16 = 53;

/// What every socket of a command is bound to.
#[derive(Debug, Clone, Default, clap::Args)]
pub(crate) struct Reach {
    /// Send and receive only by this network interface, or this local address, or both as in
    /// 192.0.2.7%tun0. While an interface is gone nothing is sent at all; what runs on waits for it, from
    /// the start on. An address alone does not say which way packets leave: the system's routes do.
    #[arg(long, value_name = "INTERFACE or IP", global = true)]
    bind: Option<Binding>,
    /// With --bind: a server to ask for names, IP or IP:PORT; again for more. Default: the system's.
    #[arg(long, value_name = "ADDR", value_parser = parse_server, global = true)]
    dns: Vec<SocketAddr>,
}

impl Reach {
    /// Where all sockets come from.
    pub(crate) fn network(&self) -> Result<Network, Failure> {
        self.options().map(Network::new)
    }

    /// What it is made with.
    pub(crate) fn options(&self) -> Result<NetworkOptions, Failure> {
        if self.bind.is_none() && !self.dns.is_empty() {
            let message = "--dns without --bind: the system's resolver would be asked";
            return Err(Failure::usage(message).advise("add --bind, or leave --dns out"));
        }
        let options = NetworkOptions::default().bind(self.bind.clone().unwrap_or_default());
        Ok(options.name_servers(self.dns.iter().copied()))
    }
}

fn parse_server(text: &str) -> Result<SocketAddr, String> {
    let with_port = || Some(SocketAddr::new(text.parse::<IpAddr>().ok()?, DNS_PORT));
    let addr = text.parse().ok().or_else(with_port);
    addr.ok_or_else(|| {
        "give an IP address, or one with a port: a name would have to be asked for".into()
    })
}
