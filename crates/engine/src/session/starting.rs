//! How a session comes up: sockets first, then what they share, then who runs on it.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, OnceLock, RwLock};

use storage::{Arena, HandleCache, PoolSettings, Pools};
use tokio::runtime::Runtime;
use tokio::sync::Semaphore;
use wire::PeerId;

use super::{BLOCKING_THREADS_MAX, Inner, Session, SessionShared, StartError};
use crate::budget::Budget;
use crate::clock::Clock;
use crate::events::Events;
use crate::intake::Intake;
use crate::listening::Listening;
use crate::magnet::Searches;
use crate::mapping::Mapping;
use crate::net::{Listener, Purpose};
use crate::own_ports::ToldPorts;
use crate::panics::Panics;
use crate::roster::Roster;
use crate::settings::Settings;
use crate::shelving::Shelving;
use crate::utp_driver::Utp;
use crate::{
    accept, dht, limits, link, listening, local_search, mapping, relaying, rest, resume, shard,
};

/// Builds and starts everything.
pub(crate) fn start(settings: Settings) -> Result<Session, StartError> {
    let control = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .max_blocking_threads(BLOCKING_THREADS_MAX)
        .thread_name("control")
        .enable_all()
        .build()?;
    if let Err(error) = storage::raise_file_limit() {
        tracing::warn!(%error, "the limit on open files stays as it is");
    }
    let settings = settings.behind_proxy()?;
    let arena = Arena::new(settings.budget_blocks());
    let pools = Pools::start(PoolSettings::default())?;
    let state = settings.open_state()?;
    let is_there = settings.network.look();
    if settings.needs_network
        && let Some(absence) = settings.network.absence()
    {
        return Err(StartError::Network(io::Error::new(io::ErrorKind::NetworkDown, absence)));
    }
    let listeners = listen(&settings, &control)?;
    let listening: Vec<_> = listeners.iter().map(Listener::local_addr).collect();
    let (clock, guard) = (Clock::start(), control.enter());
    let datagrams = settings.datagrams(&listening);
    let is_open = match settings.network.proxy() {
        Some(_) => true, // it is asked again and again
        None if settings.listen => !listening.is_empty(),
        None => is_there || !datagrams.local_addrs().is_empty(),
    };
    datagrams.gate().set(Arc::clone(&settings.ip_filter));
    let (utp, incoming) = Utp::start(Arc::clone(&datagrams), clock, settings.utp(random()?));
    drop(guard);
    let (dht, dht_task) = dht::start(&settings, clock, &datagrams, is_open).unzip();
    let shared = Arc::new(SessionShared {
        clock,
        peer_id: random_peer_id()?,
        network: settings.network.clone(),
        budget: Budget::new(settings.memory_budget),
        half_open: Arc::new(Semaphore::new(settings.half_open_max)),
        connections: Arc::new(Semaphore::new(settings.connections_max)),
        events: Events::new(),
        pools: pools.clone(),
        handles: Arc::new(HandleCache::for_this_process()),
        state,
        trackers: settings.tracker_client(),
        panics: Panics::default(),
        searches: Searches::default(),
        limits: Arc::default(),
        schedule: Arc::default(),
        intake: Intake::default(),
        shelving: Shelving::default(),
        gate: Arc::clone(datagrams.gate()),
        mapping: Mapping::default(),
        external: Mutex::default(),
        told_ports: Arc::new(ToldPorts::new(listening.first().map_or(0, SocketAddr::port))),
        listening: Listening::new(listening, is_open),
        datagrams,
        utp,
        dht,
        arena: arena.clone(),
        shards: OnceLock::new(),
        roster: RwLock::new(Roster::new(settings.shards)),
        shutdown: Mutex::default(),
        settings,
    });
    if let Some(message) = shared.network.absence() {
        tracing::warn!(%message, "waiting for the network");
    }
    shared.schedule.set_usual(shared.settings.limits, &shared.limits);
    shared.schedule.set_scheduled(shared.settings.limit_schedule.clone(), &shared.limits);
    control.spawn(limits::keep(Arc::clone(&shared.schedule), Arc::downgrade(&shared.limits)));
    let mut shards = Vec::new();
    for index in 0..shared.settings.shards {
        let session = Arc::clone(&shared);
        shards.push(shard::start(index, session, arena.clone(), pools.clone())?);
    }
    let _ = shared.shards.set(shards); // set once, here
    control.spawn(resume::sync_now_and_then(Arc::downgrade(&shared)));
    control.spawn(rest::now_and_then(Arc::downgrade(&shared)));
    // What opens sockets later begins when all that was opened here is in its place.
    let guard = control.enter();
    shared.listening.accept(&shared, listeners);
    mapping::start(&shared);
    drop(guard);
    control.spawn(link::watch(Arc::clone(&shared)));
    control.spawn(link::watch_proxy(Arc::clone(&shared)));
    if !is_open {
        control.spawn(listening::open_when_there(Arc::downgrade(&shared)));
    }
    control.spawn(relaying::tell(Arc::clone(&shared)));
    if shared.settings.local_discovery {
        let _guard = control.enter();
        local_search::start(&shared);
    }
    if let Some(task) = dht_task {
        control.spawn(task.run(Arc::downgrade(&shared)));
    }
    let rooms = shared.listening.rooms().clone();
    control.spawn(accept::accept_utp(Arc::clone(&shared), incoming, rooms));
    Ok(Session { inner: Arc::new(Inner { shared, control: Mutex::new(Some(control)) }) })
}

/// None where nothing is to listen on yet.
fn listen(settings: &Settings, control: &Runtime) -> Result<Vec<Listener>, StartError> {
    if !settings.listen {
        return Ok(Vec::new());
    }
    let _guard = control.enter();
    let port = settings.port;
    match settings.network.listen(port, Purpose::Peers) {
        Err(error) if error.kind() != io::ErrorKind::NetworkDown => {
            Err(StartError::Listen { port, error })
        }
        Err(error) if settings.needs_network => Err(StartError::Network(error)),
        Err(error) => {
            tracing::warn!(%error, "not listening yet");
            Ok(Vec::new())
        }
        Ok(listeners) => Ok(listeners),
    }
}

fn random_peer_id() -> io::Result<PeerId> {
    let mut rng = fastrand::Rng::with_seed(random()?);
    Ok(PeerId::generate(|| rng.u8(..)))
}

/// What strangers can't guess.
pub(crate) fn random() -> io::Result<u64> {
    let mut seed = [0; 8];
    getrandom::fill(&mut seed).map_err(io::Error::other)?;
    Ok(u64::from_ne_bytes(seed))
}
