//! Pinholes: has the gateway of an IPv6 network let peers in to our port, at each global address that we
//! have by it, by PCP or UPnP. Addresses stay ours there, and mostly the port does.

mod keeper;

use std::net::{Ipv6Addr, SocketAddr, SocketAddrV6};
use std::sync::{Mutex, PoisonError, Weak};
use std::time::Duration;

use portmap::{Renewal, igd, pcp};
use tokio::sync::Notify;
use tokio::time::timeout;

use self::keeper::Keeper;
use super::MappingMethod;
use crate::events::Event;
use crate::net::Network;
use crate::session::SessionShared;

/// Whether peers are let in over IPv6.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Pinholes {
    /// Nobody is asked.
    #[default]
    Off,
    /// There is nobody to ask, or nothing to ask for.
    Needless {
        /// Why, in words.
        reason: String,
    },
    /// The gateway is being asked.
    Asking,
    /// The gateway lets them in.
    Open(OpenPinholes),
    /// It does not, and is asked again later.
    Failed {
        /// Why, and what to do, in words.
        reason: String,
    },
}

/// What a gateway lets in, by TCP and UDP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenPinholes {
    /// How it was asked.
    pub method: MappingMethod,
    /// Its address on our link.
    pub gateway: Ipv6Addr,
    /// To which of our addresses.
    pub addresses: Vec<Ipv6Addr>,
    /// To which port of ours.
    pub port: u16,
    /// And by which port they are let in: mostly the same, since a gateway need not translate.
    pub external_port: u16,
}

/// Why no pinhole is open.
#[derive(Debug, thiserror::Error)]
pub(super) enum PinholeError {
    #[error("there is no gateway for IPv6")]
    NoGateway,
    #[error("there is no global IPv6 address")]
    NoAddress,
    #[error("can't talk to the gateway {gateway}: {error}")]
    Io { gateway: Ipv6Addr, error: std::io::Error },
    #[error("the gateway {0} did not answer")]
    Silent(Ipv6Addr),
    #[error("the gateway would lead its port {0} to ours, and peers can be told of one port alone")]
    Translated(u16),
    #[error("the gateway gave no time")]
    NoTime,
    #[error(transparent)]
    Pcp(#[from] pcp::Error),
    #[error(transparent)]
    Upnp(#[from] igd::Error),
    #[error("the gateway {gateway} serves no description of itself: {why}")]
    Description { gateway: Ipv6Addr, why: String },
    #[error("the gateway {0} has no service that opens pinholes")]
    NoService(Ipv6Addr),
    #[error(
        "the gateway {gateway} takes neither PCP ({pcp}) nor UPnP ({upnp}); let port {port} in there by hand, or give --no-port-mapping"
    )]
    Neither { gateway: Ipv6Addr, port: u16, pcp: Box<Self>, upnp: Box<Self> },
}

impl PinholeError {
    /// Whether everything is well without.
    fn is_needless(&self) -> bool {
        match self {
            Self::NoGateway | Self::NoAddress | Self::Upnp(igd::Error::FirewallOff) => true,
            Self::Neither { upnp, .. } => upnp.is_needless(),
            _ => false,
        }
    }

    fn is_silence(&self) -> bool {
        matches!(self, Self::Silent(_) | Self::Io { .. })
    }
}

/// A session's pinholes.
#[derive(Default)]
pub(super) struct Holes {
    status: Mutex<Pinholes>,
    /// By which port peers are let in, for all we know: one that was not renewed lasts a while.
    external_port: Mutex<Option<u16>>,
    stop: Notify,
    stopped: Notify,
    again: Notify,
}

impl Holes {
    pub(super) fn status(&self) -> Pinholes {
        self.status.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// By which port peers are let in.
    pub(super) fn external_port(&self) -> Option<u16> {
        *self.external_port.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// They are being asked for, from now on.
    pub(super) fn begin(&self) {
        *self.status.lock().unwrap_or_else(PoisonError::into_inner) = Pinholes::Asking;
    }

    pub(super) fn look_again(&self) {
        self.again.notify_one();
    }

    pub(super) fn port_changed(&self, session: &SessionShared) {
        if self.status() != Pinholes::Off {
            self.set(Pinholes::Asking, None, session);
            self.again.notify_one();
        }
    }

    /// Closes them, as far as the time given suffices.
    pub(super) async fn stop(&self, limit: Duration) {
        if self.status() == Pinholes::Off {
            return;
        }
        self.stop.notify_one();
        if timeout(limit, self.stopped.notified()).await.is_err() {
            tracing::info!(
                "the gateway did not close its pinholes in time; they end by themselves"
            );
        }
    }

    fn set(&self, status: Pinholes, external_port: Option<u16>, session: &SessionShared) {
        *self.external_port.lock().unwrap_or_else(PoisonError::into_inner) = external_port;
        let mut ours = self.status.lock().unwrap_or_else(PoisonError::into_inner);
        let before = std::mem::replace(&mut *ours, status.clone());
        drop(ours);
        if status != Pinholes::Asking {
            session.own_ports_changed();
        }
        if before == status {
            return;
        }
        if let Pinholes::Failed { reason } = &status {
            tracing::info!("no pinhole is open: {reason}");
        }
        session.events.send(Event::Pinholes(status));
    }
}

/// Opens them, renews them, and closes them at the end.
pub(super) async fn run(session: Weak<SessionShared>, network: Network, nonce: [u8; 12]) {
    let Some(clock) = session.upgrade().map(|session| session.clock) else { return };
    let mut keeper = Keeper::new(network, nonce, clock);
    let mut renewal = Renewal::default();
    loop {
        let Some(now_session) = session.upgrade() else { return };
        let (holes, port) = (&now_session.mapping.pinholes, now_session.listen_port());
        let done = tokio::select! {
            done = keeper.keep(port) => done,
            () = holes.stop.notified() => break keeper.close(&now_session).await,
        };
        if now_session.listen_port() != port {
            continue; // meanwhile
        }
        let wait = match done {
            Ok((open, seconds)) => {
                let external_port = Some(open.external_port);
                holes.set(Pinholes::Open(open), external_port, &now_session);
                renewal.mapped(seconds)
            }
            Err(error) => {
                let reason = error.to_string();
                let status = if error.is_needless() {
                    Pinholes::Needless { reason }
                } else {
                    Pinholes::Failed { reason }
                };
                let left = keeper.left();
                let external_port = keeper.external_port().filter(|_| !left.is_zero());
                holes.set(status, external_port, &now_session);
                renewal.failed(left)
            }
        };
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = holes.again.notified() => {}
            () = holes.stop.notified() => break keeper.close(&now_session).await,
        }
    }
}

/// Where a gateway's services are asked, when it was found at this address.
pub(super) fn at(gateway: SocketAddrV6) -> SocketAddr {
    SocketAddrV6::new(*gateway.ip(), 0, 0, gateway.scope_id()).into()
}
