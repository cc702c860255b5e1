//! The task that owns the DHT node: packets, timers and wishes in, packets, peers and answers out.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Weak};
use std::time::Duration;

use dht::{Announce, Event, InterfaceId, ItemError, OperationId, Outcome, PeersQuery};
use metainfo::InfoHash;
use swarm::OwnPorts;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::sleep_until;
use wire::proxy::ProxyTarget;

use super::naming::Naming;
use super::torrents::Torrents;
use super::{Command, DhtHandle, Finished, Inbox, PACKETS_WAITING_MAX};
use crate::clock::Clock;
use crate::datagrams::{Datagrams, Kind, Path, RelayState};
use crate::events;
use crate::handle::TorrentShared;
use crate::net::Network;
use crate::session::SessionShared;
use crate::settings::{Settings, StateLocation};

/// The table is saved this often, so that a killed program has one too.
const SAVE_EVERY: Duration = Duration::from_mins(5);

/// A saved table is below this.
const SAVED_BYTES_MAX: u64 = 64 * 1024;

/// Packets handled before timers and wishes have their turn.
const PACKETS_A_TURN: usize = 64;

/// A torrent with so many addresses to try needs no other search soon.
const PEERS_ENOUGH: u32 = 1;

/// Where the table is kept between runs.
struct Keepsake {
    folder: PathBuf,
    name: String,
    /// The ids of the last run are ours: nobody else can have the same port meanwhile.
    with_ids: bool,
}

impl Keepsake {
    fn of(settings: &Settings) -> Option<Self> {
        let StateLocation::Directory(folder) = &settings.state else { return None };
        Some(Self::at(folder.clone(), settings.port))
    }

    /// Of the port that the user wants; 0: of any.
    fn at(folder: PathBuf, port: u16) -> Self {
        let with_ids = port != 0;
        let name = if with_ids { format!("dht-{port}") } else { "dht".into() };
        Self { folder, name, with_ids }
    }

    fn load(&self, core: &mut dht::Dht) {
        match storage::load_keepsake(&self.folder, &self.name, SAVED_BYTES_MAX) {
            Ok(Some(bytes)) if core.import(&bytes, self.with_ids) => {}
            Ok(Some(_)) => tracing::info!("the saved DHT nodes can't be read; beginning anew"),
            Ok(None) => {}
            Err(error) => tracing::info!(%error, "no saved DHT nodes"),
        }
    }

    fn save(&self, bytes: &[u8]) {
        if let Err(error) = storage::save_keepsake(&self.folder, &self.name, bytes) {
            tracing::info!(%error, "the DHT nodes are not saved");
        }
    }
}

/// Who wants to know what comes of an operation.
type Waiting = oneshot::Sender<Result<Finished, ItemError>>;

pub(super) struct Driver {
    core: dht::Dht,
    clock: Clock,
    hub: Arc<Datagrams>,
    interfaces: Vec<(InterfaceId, SocketAddr)>,
    packets: mpsc::Receiver<(Path, Vec<u8>)>,
    commands: mpsc::UnboundedReceiver<Command>,
    /// For what tasks of its own find out.
    ours: mpsc::WeakUnboundedSender<Command>,
    session: Weak<SessionShared>,
    network: Network,
    /// Names of nodes to begin with.
    bootstrap: Vec<String>,
    naming: Naming,
    keepsake: Option<Arc<Keepsake>>,
    save_at: Duration,
    waiting: HashMap<OperationId, (Waiting, Vec<SocketAddr>)>,
    torrents: Torrents,
    joined: watch::Sender<bool>,
    /// Whose packet is being answered, and by which of our addresses it came.
    answering: Option<Path>,
}

/// Opens a node on the hub's sockets, those to come when it is not open yet. `None` when there is none,
/// or no randomness. [`Starting::run`] runs it.
pub(crate) fn start(
    settings: &Settings,
    clock: Clock,
    hub: &Arc<Datagrams>,
    is_open: bool,
) -> Option<(DhtHandle, Starting)> {
    let addrs = hub.local_addrs();
    if !settings.dht || is_open && addrs.is_empty() {
        return None;
    }
    let seed = super::random_seed().ok()?;
    // Nobody can ask us anything through a proxy.
    let is_read_only = settings.network.proxy().is_some();
    let core_settings = dht::Settings { is_read_only, ..dht::Settings::default() };
    let mut core = dht::Dht::new(core_settings, seed, clock.now());
    let keepsake = Keepsake::of(settings).map(Arc::new);
    if let Some(keepsake) = &keepsake {
        keepsake.load(&mut core);
    }
    let add = |addr| (core.add_interface(clock.now(), addr), addr);
    let interfaces = addrs.into_iter().map(add).collect();
    let (commands, theirs) = mpsc::unbounded_channel();
    let (sender, packets) = mpsc::channel(PACKETS_WAITING_MAX);
    let (joined, is_joined) = watch::channel(false);
    let inbox = Arc::new(Inbox(sender));
    hub.register(Kind::Dht, &inbox);
    let driver = Driver {
        core,
        clock,
        hub: Arc::clone(hub),
        interfaces,
        packets,
        commands: theirs,
        ours: commands.downgrade(),
        session: Weak::new(),
        network: settings.network.clone(),
        bootstrap: settings.dht_bootstrap.clone(),
        naming: Naming::default(),
        keepsake,
        save_at: clock.now() + SAVE_EVERY,
        waiting: HashMap::new(),
        torrents: Torrents::default(),
        joined,
        answering: None,
    };
    Some((DhtHandle { commands, joined: is_joined, _inbox: inbox }, Starting(driver)))
}

/// A node that does not run yet.
pub(crate) struct Starting(Driver);

impl Starting {
    /// Runs until the session ends.
    pub(crate) async fn run(mut self, session: Weak<SessionShared>) {
        self.0.session = session;
        self.0.run().await;
    }
}

impl Driver {
    async fn run(mut self) {
        if !self.wait_for_relay().await {
            return;
        }
        loop {
            self.carry_out();
            let now = self.clock.now();
            let searches = self.torrents.next_at().filter(|_| *self.joined.borrow());
            let next = [self.core.poll_timeout(), searches, Some(self.save_at)];
            let next = next.into_iter().flatten().min().unwrap_or(now + SAVE_EVERY);
            tokio::select! {
                packet = self.packets.recv() => {
                    let Some(packet) = packet else { return };
                    self.receive(packet);
                    for _ in 1..PACKETS_A_TURN {
                        let Ok(packet) = self.packets.try_recv() else { break };
                        self.receive(packet);
                    }
                }
                command = self.commands.recv() => match command {
                    None => return,
                    Some(Command::Close(done)) => {
                        self.save().await;
                        let _ = done.send(()); // who waited has gone
                        return;
                    }
                    Some(command) => self.obey(command),
                },
                () = sleep_until(self.clock.instant(next)) => self.tick(),
            }
        }
    }

    /// Waits for the proxy, if there is one, to relay: what is sent before is lost. Gives whether the
    /// session still wants a node then.
    async fn wait_for_relay(&mut self) -> bool {
        let Some(mut state) = self.hub.relay_state() else { return true };
        loop {
            tokio::select! {
                ready = state.wait_for(|state| *state == RelayState::Ready) => return ready.is_ok(),
                command = self.commands.recv() => match command {
                    None => return false,
                    Some(Command::Close(done)) => {
                        let _ = done.send(()); // who waited has gone
                        return false;
                    }
                    Some(command) => self.obey(command),
                },
            }
        }
    }

    fn receive(&mut self, (from, bytes): (Path, Vec<u8>)) {
        let same =
            |(_, local): &&(InterfaceId, SocketAddr)| local.is_ipv4() == from.remote.is_ipv4();
        let Some((interface, _)) = self.interfaces.iter().find(same) else { return };
        if self.naming.is_answer(&bytes) {
            self.core.add_bootstrap(self.clock.now(), from.remote);
            return self.carry_out();
        }
        self.core.handle_packet(self.clock.now(), *interface, from.remote, &bytes);
        self.answering = Some(from);
        self.carry_out();
        self.answering = None;
    }

    fn tick(&mut self) {
        let now = self.clock.now();
        if self.core.poll_timeout().is_some_and(|at| at <= now) {
            self.core.handle_timeout(now);
        }
        if now >= self.save_at {
            self.save_at = now + SAVE_EVERY;
            drop(self.saving());
        }
        self.look_for_torrents(now);
    }

    /// Begins to save the table.
    fn saving(&self) -> Option<tokio::task::JoinHandle<()>> {
        let keepsake = Arc::clone(self.keepsake.as_ref()?);
        let bytes = self.core.export();
        Some(tokio::task::spawn_blocking(move || keepsake.save(&bytes)))
    }

    async fn save(&self) {
        if let Some(saving) = self.saving() {
            let _ = saving.await; // what it could not do, it logged
        }
    }

    fn obey(&mut self, command: Command) {
        let now = self.clock.now();
        match command {
            Command::Operate(begin, done) => match begin(&mut self.core, now) {
                Ok(operation) => drop(self.waiting.insert(operation, (done, Vec::new()))),
                Err(error) => drop(done.send(Err(error))),
            },
            Command::Status(done) => drop(done.send(self.core.status(now))),
            Command::Candidate(addr) => self.core.add_candidate(now, addr),
            Command::Bootstrap(addrs) => {
                addrs.into_iter().for_each(|addr| self.core.add_bootstrap(now, addr));
            }
            Command::PortChanged => self.port_changed(now),
            Command::External(ip) => self.core.told_external(now, ip),
            Command::Watch(info_hash, shared) => {
                self.torrents.add(now, info_hash, shared);
                self.look_for_torrents(now);
            }
            Command::Unwatch(info_hash) => {
                if let Some(operation) = self.torrents.remove(&info_hash) {
                    self.core.cancel(now, operation);
                }
            }
            Command::Close(_) => {} // ended the loop
        }
    }

    fn port_changed(&mut self, now: Duration) {
        for local in self.hub.local_addrs() {
            let same = |(_, old): &&mut (InterfaceId, SocketAddr)| old.is_ipv4() == local.is_ipv4();
            let Some((interface, old)) = self.interfaces.iter_mut().find(same) else {
                self.interfaces.push((self.core.add_interface(now, local), local));
                continue;
            };
            if *old == local {
                continue;
            }
            *old = local;
            self.core.move_interface(*interface, local);
            if let Some(keepsake) = self.keepsake.as_mut().filter(|keepsake| keepsake.with_ids) {
                *keepsake = Arc::new(Keepsake::at(keepsake.folder.clone(), local.port()));
            }
        }
        self.torrents.renew(now);
        self.look_for_torrents(now);
    }

    fn look_for_torrents(&mut self, now: Duration) {
        while *self.joined.borrow()
            && let Some((info_hash, shared)) = self.torrents.next(now)
        {
            let Some(shared) = shared.upgrade() else {
                self.torrents.remove(&info_hash);
                continue;
            };
            let operation = self.core.get_peers(now, info_hash.into(), self.query(&shared));
            self.torrents.started(operation, info_hash);
        }
    }

    fn query(&self, shared: &TorrentShared) -> PeersQuery {
        let is_seed = crate::announcing::is_complete(&shared.stats());
        let session = self.session.upgrade();
        let mapped = session.as_ref().and_then(|session| session.mapping.external_ports());
        let ports = session.map_or(OwnPorts::default(), |session| session.told_ports.now());
        // Our UDP port is the one for TCP, so what a router made of it is the better guess, unless it
        // was told what to make of it.
        let port_v6 = Some(ports.v6).filter(|port| *port != ports.v4);
        let is_port_implied = mapped.is_none();
        let announce = Announce { port: ports.v4, port_v6, is_port_implied, is_seed };
        // Through a proxy nobody can come in.
        let announce = Some(announce).filter(|_| self.network.proxy().is_none());
        PeersQuery { announce, no_seeds: is_seed, scrape: false }
    }

    /// Sends what is to be sent, and tells who is to be told.
    fn carry_out(&mut self) {
        while let Some(packet) = self.core.poll_transmit() {
            let to = Path { remote: packet.to, local: None };
            let to = self.answering.filter(|path| path.remote == packet.to).unwrap_or(to);
            // Lost, as it might be on the way; who asked asks again.
            let _ = self.hub.try_send(to, &packet.bytes, packet.bytes.len());
        }
        while let Some(event) = self.core.poll_event() {
            self.note(event);
        }
    }

    fn note(&mut self, event: Event) {
        let now = self.clock.now();
        match event {
            Event::Peers { operation, peers, .. } => {
                if let Some((_, found)) = self.waiting.get_mut(&operation) {
                    found.extend(peers);
                } else if let Some(info_hash) = self.torrents.of(operation)
                    && let Some(session) = self.session.upgrade()
                {
                    session.candidates(info_hash, swarm::Source::Dht, peers);
                }
            }
            Event::Finished { operation, outcome } => {
                if let Some((done, peers)) = self.waiting.remove(&operation) {
                    let _ = done.send(Ok(Finished { outcome, peers })); // who asked has gone
                } else if let Some(info_hash) = self.torrents.of(operation) {
                    self.searched(now, operation, info_hash, &outcome);
                }
            }
            Event::Joined { .. } => {
                self.joined.send_replace(true);
                self.torrents.hurry(now);
                self.look_for_torrents(now);
            }
            Event::NeedsBootstrap { .. } => self.resolve(),
            Event::ExternalAddress { ip, .. } => {
                if let Some(session) = self.session.upgrade() {
                    session.seen_at(swarm::Voter::Dht, ip);
                }
            }
        }
    }

    fn searched(
        &mut self,
        now: Duration,
        operation: OperationId,
        info_hash: InfoHash,
        outcome: &Outcome,
    ) {
        let Outcome::Peers { count, answers, announced, .. } = outcome else { return };
        let Some(session) = self.session.upgrade() else { return };
        let found = session.find(&info_hash).map(|(shared, _)| shared);
        let has_peers = found.as_ref().is_some_and(|shared| shared.stats().peers >= PEERS_ENOUGH);
        let info_hash = found.map_or(info_hash, |shared| shared.info_hash());
        let announced = *announced > 0 || self.network.proxy().is_some(); // never, behind one
        self.torrents.finished(now, operation, announced && (*count > 1 || has_peers));
        let (peers, nodes) = (*count, *answers);
        session.events.send(events::Event::DhtReply { info_hash, peers, nodes });
    }

    /// Looks the bootstrap nodes' names up, which may take its time, or has the proxy do that.
    fn resolve(&mut self) {
        let Some(commands) = self.ours.upgrade() else { return };
        for name in self.bootstrap.clone() {
            if self.network.proxy().is_some() && name.parse::<SocketAddr>().is_err() {
                self.ping_by_name(&name);
                continue;
            }
            let (commands, network) = (commands.clone(), self.network.clone());
            tokio::spawn(async move {
                match network.resolve_authority(&name).await {
                    // None of the DHT's business any more, if it has ended.
                    Ok(addrs) => drop(commands.send(Command::Bootstrap(addrs))),
                    Err(error) => {
                        tracing::info!(name, %error, "a DHT bootstrap node has no address");
                    }
                }
            });
        }
    }

    fn ping_by_name(&mut self, name: &str) {
        if !self.naming.is_due(name, self.clock.now()) {
            return;
        }
        let target = name.rsplit_once(':').and_then(|(host, port)| {
            let port = port.parse().ok()?;
            ProxyTarget::new(host, port)
        });
        let (Some(target), Some(ping)) = (target, self.naming.ping()) else {
            tracing::info!(name, "a DHT bootstrap node can't be asked through the proxy");
            return;
        };
        // Lost, as it might be on the way: it is sent again with the next try to join.
        let _ = self.hub.try_send_named(&target, &ping);
    }
}
