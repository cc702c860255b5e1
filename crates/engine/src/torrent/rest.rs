//! Rest: a complete torrent that nobody is connected to, and that waits for nothing, keeps a record of
//! some hundred bytes in place of its state. Whatever is asked of it makes the state again.
//!
//! What the record does not have is asked of the session when it wakes, so what changes for all
//! torrents meanwhile (ports, addresses) need not be told to those at rest.

use std::cell::RefMut;
use std::collections::HashMap;
use std::time::Duration;

use swarm::Swarm;

use super::proving::trees;
use super::readers::Readers;
use super::web_seeds::WebSeeds;
use super::{Mishaps, State, Torrent};
use crate::handle::TorrentShared;
use crate::session::SessionShared;

/// A torrent's state, or what is kept of it.
pub(super) struct Rest {
    state: Option<Box<State>>,
    /// Not there while the state is, nor after a panic in between, which ends the torrent.
    kept: Option<Kept>,
}

#[derive(Default)]
struct Kept {
    brain: swarm::Resting,
    past: Option<Box<Past>>,
}

/// What most of many torrents have nothing of.
#[derive(Default)]
struct Past {
    mishaps: Mishaps,
    read_error: Option<String>,
    web: Option<WebSeeds>,
}

impl Rest {
    pub(super) fn awake(state: State) -> Self {
        Self { state: Some(Box::new(state)), kept: None }
    }
}

impl State {
    /// That of a torrent without peers.
    pub(super) fn new(swarm: Swarm, web: WebSeeds, now: Duration) -> Self {
        Self {
            swarm,
            peers: HashMap::new(),
            pieces: HashMap::new(),
            unproved: Vec::new(),
            unwritten: Vec::new(),
            retry_at: None,
            readers: Readers::default(),
            dirty: Vec::new(),
            asked: Vec::new(),
            charged: 0,
            limit: 0,
            published_at: Duration::ZERO,
            sought_at: now,
            storage_error: None,
            contradicts: false,
            held: Vec::new(),
            limited: false,
            room_at: None,
            read_error: None,
            unpublished: false,
            mishaps: Mishaps::default(),
            web,
        }
    }

    /// Whether nothing is under way, waits, or is to be told.
    fn is_idle(&self) -> bool {
        self.peers.is_empty()
            && self.pieces.is_empty()
            && self.unproved.is_empty()
            && self.unwritten.is_empty()
            && self.readers.is_empty()
            && self.charged == 0
            && self.storage_error.is_none()
            && !self.unpublished
            && self.web.is_at_rest()
            && self.swarm.may_rest()
    }

    fn into_rest(self) -> Kept {
        let Self { swarm, mishaps, read_error, web, .. } = self;
        let web = Some(web).filter(|web| !web.is_empty());
        let blank = mishaps.is_blank() && read_error.is_none() && web.is_none();
        let past = (!blank).then(|| Box::new(Past { mishaps, read_error, web }));
        Kept { brain: swarm.into_rest(), past }
    }
}

impl Torrent {
    /// Its state, which ends its rest.
    pub(super) fn state(&self) -> RefMut<'_, State> {
        RefMut::map(self.rest.borrow_mut(), |rest| {
            let Rest { state, kept } = rest;
            &mut **state.get_or_insert_with(|| Box::new(self.wakes(kept.take())))
        })
    }

    /// Its state, unless it rests.
    pub(super) fn state_if_awake(&self) -> Option<RefMut<'_, State>> {
        RefMut::filter_map(self.rest.borrow_mut(), |rest| rest.state.as_deref_mut()).ok()
    }

    pub(crate) fn is_resting(&self) -> bool {
        self.rest.borrow().state.is_none()
    }

    /// Tells its brain what it asks for itself when it wakes.
    pub(crate) fn tell_if_awake(&self, call: impl FnOnce(&mut Swarm, Duration)) {
        if !self.is_resting() {
            self.with_swarm(call);
        }
    }

    /// Comes to rest, if nothing keeps it awake.
    pub(super) fn rest_if_idle(&self) {
        let mut rest = self.rest.borrow_mut();
        if self.is_drained()
            && let Some(state) = rest.state.take_if(|state| state.is_idle())
        {
            rest.kept = Some(state.into_rest());
        }
    }

    fn wakes(&self, kept: Option<Kept>) -> State {
        let (session, shared) = (&self.context.session, &self.shared);
        let now = self.context.clock.now();
        let Kept { brain, past } = kept.unwrap_or_default();
        let mut swarm = brain.wakes(now, session.swarm_config(shared, shared.have(), None));
        prepare(&mut swarm, now, session, shared);
        let Past { mishaps, read_error, web } = past.map(|past| *past).unwrap_or_default();
        let web = web.unwrap_or_else(|| WebSeeds::new(shared));
        State { read_error, mishaps, ..State::new(swarm, web, now) }
    }
}

/// Tells a brain what it must know before it meets its first peer.
pub(crate) fn prepare(
    swarm: &mut Swarm,
    now: Duration,
    session: &SessionShared,
    shared: &TorrentShared,
) {
    swarm.set_ip_filter(now, session.gate.filter());
    for ip in session.external_addresses() {
        swarm.set_external_ip(ip);
    }
    if !swarm.has_trees()
        && let Some(trees) = trees(shared)
    {
        swarm.set_trees(trees, shared.torrent.info.has_v1());
    }
}
