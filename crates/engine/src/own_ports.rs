//! Which port of ours is told to whom. Whatever says one of our ports to somebody asks here.
//!
//! Over IPv4 it is the gateway's that leads to ours, if it mapped one (RFC 6886, RFC 6887, UPnP). Over IPv6
//! it is our own (BEP 7), or the gateway's where a pinhole leads from another one to it (RFC 6887). On our
//! own link no gateway is in between, so there it is always ours (BEP 14).

use std::sync::{Mutex, MutexGuard, PoisonError};

use swarm::OwnPorts;
use tracker::Prompt;

use crate::handle::TorrentShared;
use crate::mapping::{Pinholes, PortMapping};
use crate::session::{Session, SessionShared};
use crate::shard::ShardMessage;

/// Where we accept peers, as trackers, the DHT and peers are told at the moment.
#[derive(Debug, Default)]
pub(crate) struct ToldPorts {
    now: Mutex<Told>,
    /// Held from when it is asked what is to be told until everybody was: the last word is the newest.
    telling: Mutex<()>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Told {
    ports: OwnPorts,
    /// Where our DHT node is, if we have a socket for it.
    dht: Option<OwnPorts>,
}

impl ToldPorts {
    /// The same over both families.
    pub(crate) fn new(port: u16) -> Self {
        let told = Told { ports: port.into(), dht: None };
        Self { now: Mutex::new(told), telling: Mutex::default() }
    }

    pub(crate) fn now(&self) -> OwnPorts {
        lock(&self.now).ports
    }

    /// Gives those that were told before.
    fn replace(&self, told: Told) -> Told {
        std::mem::replace(&mut *lock(&self.now), told)
    }
}

impl SessionShared {
    /// Where our DHT node is, for a torrent's peers (BEP 5); `None` if they are not to know of it.
    pub(crate) fn dht_ports(&self, shared: &TorrentShared) -> Option<OwnPorts> {
        self.dht_for(shared)?;
        self.datagram_ports()
    }

    fn datagram_ports(&self) -> Option<OwnPorts> {
        let port = self.datagrams.port()?;
        // Beside the listener: what leads to the one leads to the other.
        let is_mapped = port == self.listen_port();
        let v4 = self.mapping.external_ports().filter(|_| is_mapped).map_or(port, |[_, udp]| udp);
        let v6 = self.mapping.port_v6().filter(|_| is_mapped).unwrap_or(port);
        Some(OwnPorts { v4, v6 })
    }

    /// What somebody on our own link is told; 0 when we don't listen.
    pub(crate) fn port_on_link(&self) -> u16 {
        self.listen_port()
    }

    /// Other ports may lead to us. While a gateway is still to say which, over either family, nothing is
    /// told: its word will have this asked once more, and trackers don't want to hear of us twice.
    pub(crate) fn own_ports_changed(&self) {
        if self.mapping.status() == PortMapping::Asking
            || self.mapping.pinholes() == Pinholes::Asking
        {
            return;
        }
        let _one = lock(&self.told_ports.telling);
        let told = self.to_be_told();
        let before = self.told_ports.replace(told);
        if before.ports != told.ports {
            self.tell_all(told.ports);
        } else if before != told {
            self.tell_peers(told.ports); // trackers don't hear of that one
        }
    }

    /// Whether they are others or not, they are told.
    pub(crate) fn tell_own_ports(&self) {
        let _one = lock(&self.told_ports.telling);
        let told = self.to_be_told();
        self.told_ports.replace(told);
        self.tell_all(told.ports);
    }

    /// We listen on another port, and the gateway is being asked for another of its: trackers hear of it when
    /// there is one, or none. Peers and the DHT hear of what is known.
    pub(crate) fn tell_peers_meanwhile(&self) {
        let _one = lock(&self.told_ports.telling);
        self.tell_peers(OwnPorts { v4: self.told_ports.now().v4, ..self.own_ports() });
    }

    fn to_be_told(&self) -> Told {
        Told { ports: self.own_ports(), dht: self.datagram_ports() }
    }

    fn own_ports(&self) -> OwnPorts {
        let own = self.listen_port();
        OwnPorts {
            v4: self.mapping.external_ports().map_or(own, |[tcp, _]| tcp),
            v6: self.mapping.port_v6().unwrap_or(own),
        }
    }

    fn tell_all(&self, ports: OwnPorts) {
        self.tell_peers(ports);
        self.all().iter().for_each(|shared| shared.announce_now(Prompt::Moved));
        self.searches.all().iter().for_each(|search| search.ports_changed(ports));
    }

    fn tell_peers(&self, ports: OwnPorts) {
        for shared in self.all() {
            let (info_hash, dht) = (shared.info_hash(), self.dht_ports(&shared));
            if let Some(shard) = self.shard_of(&info_hash) {
                shard.send(ShardMessage::OwnPorts { info_hash, ports, dht });
            }
        }
        if let Some(dht) = &self.dht {
            dht.port_changed();
        }
    }
}

impl Session {
    /// The ports that trackers, the DHT and peers are told over each family: ours, or what a gateway leads
    /// to it. 0 when nobody can come in.
    pub fn told_ports(&self) -> OwnPorts {
        self.inner.shared.told_ports.now()
    }
}

/// Plain data: one left by a panicking thread is still good.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
