//! `--proxy`: everything goes through it or nowhere.

use std::io;

use engine::{Network, Proxy};
use tokio::time::error::Elapsed;

use super::reach::Reach;
use crate::exit::Failure;
use crate::format::untrusted;
use crate::output::Output;

/// The environment's word for `--proxy`.
const VARIABLE: &str = "PEERLESS_PROXY";

/// The proxy.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Through {
    /// Connect through this proxy alone: socks5://USER:PASSWORD@HOST:PORT or http://…; names are
    /// looked up there. What can't go through it is off: local discovery, port mapping, peers that come
    /// in, and with http, or where the proxy relays no datagrams, uTP, the DHT and UDP trackers. Other
    /// users of the machine see arguments: a password is better said in the environment.
    // A plain string: what clap says of a bad value would repeat the password.
    #[arg(long, value_name = "URL", global = true, env = VARIABLE, hide_env_values = true)]
    proxy: Option<String>,
}

impl Through {
    /// Where all sockets come from.
    pub(crate) fn network(&self, reach: &Reach) -> Result<Network, Failure> {
        let mut options = reach.options()?;
        // A variable that is there and says nothing is none.
        if let Some(url) = self.proxy.as_ref().filter(|url| !url.is_empty()) {
            let proxy = url.parse::<Proxy>();
            options =
                options.proxy(proxy.map_err(|error| Failure::usage(format!("--proxy: {error}")))?);
        }
        Ok(Network::new(options))
    }
}

/// Refuses a command that can't go through a proxy while the environment asks for one.
pub(super) fn refuse(command: &str) -> Result<(), Failure> {
    if std::env::var_os(VARIABLE).is_some_and(|url| !url.is_empty()) {
        let message = format!("{VARIABLE} is set, and `{command}` can't go through a proxy");
        return Err(Failure::usage(message).advise("unset it if nothing has to be hidden"));
    }
    Ok(())
}

/// What came of asking it, in a line.
pub(super) fn state(proxy: &Proxy, asked: &Result<io::Result<()>, Elapsed>) -> String {
    match asked {
        Ok(Ok(())) if proxy.relays() => format!("{proxy}, which lets us through, datagrams too"),
        Ok(Ok(())) => format!("{proxy}, which is there"),
        Ok(Err(error)) => untrusted(&error.to_string()),
        Err(_) => format!("{proxy} does not answer; check its address, and that it runs"),
    }
}

/// Says what a proxy leaves out.
pub(crate) fn tell(network: &Network, output: Output) {
    let Some(proxy) = network.proxy() else { return };
    let without = if proxy.relays() {
        "no local discovery or peers that come in; uTP and the DHT if it relays datagrams"
    } else {
        "no uTP, DHT, local discovery or peers that come in"
    };
    output.note(format_args!("through {proxy} alone: {without}"));
}
