//! How a program starts and ends: what it believes of what it finds, by the real rules of
//! `storage::resume`, and what each kind of end leaves behind.

use std::collections::BTreeMap;
use std::time::Duration;

use storage::resume::{self, Verdict};
use storage::{Arrangement, Observed, Progress, ResumeRecord};
use swarm::{Config, Source, Swarm};
use tracker::{Policy, Schedule, ScheduleConfig};
use wire::{Bitfield, PeerId};

use crate::invariants::Invariant;
use crate::node::{Brain, Saved};
use crate::plan::{Behaviour, Broken, Start};
use crate::web::WebSeed;
use crate::world::{Event, World};

/// Reading and hashing a piece that is in doubt.
const CHECK_PIECE: Duration = Duration::from_millis(5);

/// What a look at record and files brought.
pub(crate) struct Checked {
    record: Option<ResumeRecord>,
    observed: Observed,
    trusted: Bitfield,
    have: Bitfield,
}

impl World {
    fn boot_id(&self, node: usize) -> String {
        format!("boot {} of {node}", self.nodes[node].boots)
    }

    /// The peer's program is started: it looks at what is there, and opens when that is checked.
    pub(crate) fn start(&mut self, node: usize) {
        if self.nodes[node].running {
            return;
        }
        let id = self.rng.u64(..);
        let state = &mut self.nodes[node];
        state.running = true;
        state.epoch += 1;
        state.dials.begins_anew();
        state.peer_id = *b"-PL0100-000000000000";
        state.peer_id[10..18].copy_from_slice(&id.to_be_bytes());
        state.peer_id[18..].copy_from_slice(&(node as u16).to_be_bytes());
        if let Behaviour::Script(_) = state.plan.behaviour {
            return self.start_script(node);
        }
        self.nodes[node].disk.reopen();
        let checked = self.look(node);
        let doubts = checked.have.count() - checked.trusted.count();
        let at = self.now + CHECK_PIECE * doubts;
        let epoch = self.nodes[node].epoch;
        let checked = Box::new(checked);
        self.queue.push(at, Event::Opened { node, epoch, checked });
    }

    fn look(&self, node: usize) -> Checked {
        let info = &self.data.info;
        let count = self.data.geometry.piece_count();
        let state = &self.nodes[node];
        let observed = state.disk.observe();
        let record = state.saved.cached.clone();
        if state.plan.behaviour == Behaviour::Lies {
            let full = Bitfield::full(count);
            return Checked { record: None, observed, trusted: full.clone(), have: full };
        }
        let boot_id = match &record {
            Some(record) if self.plan.broken == Some(Broken::BelievesAfterPowerLoss) => {
                record.progress.boot_id.to_string()
            }
            _ => self.boot_id(node),
        };
        let (trusted, mut recheck) = match resume::plan(info, record.as_ref(), &observed, &boot_id)
        {
            Verdict::Run(plan) => (plan.trusted, plan.recheck),
            Verdict::StorageMissing => (Bitfield::new(count), Bitfield::full(count)),
        };
        if record.as_ref().is_some_and(|record| !record.progress.clean) {
            // Written after the record was saved for the last time.
            for piece in (0..count).filter(|piece| !trusted.has(*piece)) {
                let blocks = state.disk.cached(self.data.blocks_of(piece));
                if blocks.iter().any(|content| *content != 0) {
                    recheck.insert(piece);
                }
            }
        }
        let mut have = trusted.clone();
        for piece in recheck.iter() {
            let good = self.data.is_good(piece, state.disk.cached(self.data.blocks_of(piece)));
            let known = self.data.is_known(piece, |root| self.knows_layer(node, root));
            if good && known && !state.disk.trouble.read_errors {
                have.insert(piece);
            }
        }
        Checked { record, observed, trusted, have }
    }

    /// The check is done: the torrent runs.
    pub(crate) fn opened(&mut self, node: usize, checked: Checked) {
        let Checked { record, observed, trusted, have } = checked;
        if self.nodes[node].is_honest() {
            for piece in have.iter() {
                let tampered = self.nodes[node].disk.is_tampered(self.data.blocks_of(piece));
                if !tampered && !self.is_there(node, piece) {
                    self.violated(Invariant::Believed, node, format!("piece {piece}"));
                }
            }
        }
        let now = self.now;
        let mut record =
            resume::begin(record, &trusted, &have, observed, now.as_secs().cast_signed());
        record.progress.boot_id = self.boot_id(node).as_str().into();
        record.progress.root_device = Some(1);
        let mut settings = self.plan.settings;
        settings.peer_exchange = !self.plan.private;
        if self.nodes[node].plan.behaviour == Behaviour::Refuses {
            settings.upload_slots = 0;
        }
        settings.holepunch &= self.nodes[node].plan.speaks.utp();
        let config = Config {
            geometry: self.data.geometry.clone(),
            info_hash: self.data.info_hash,
            have: have.clone(),
            wanted: None,
            pad_blocks: self.data.pads(),
            metadata_size: None,
            listen_port: Some(6881),
            client_version: "simulated".into(),
            own_peer_id: PeerId(self.nodes[node].peer_id),
            settings,
            seed: self.rng.u64(..),
        };
        let dirty = !record.progress.clean;
        let schedule = ScheduleConfig {
            tiers: vec![vec![format!("{}/announce", self.plan.tracker())]],
            policy: Policy::default(),
            complete: have.is_full(),
            seed: self.rng.u64(..),
        };
        self.nodes[node].schedule = Some(Schedule::new(now, schedule));
        self.nodes[node].tick_at = None;
        self.nodes[node].pump_at = None;
        let mut swarm = Swarm::new(now, config);
        if self.v2_name(node).is_some() {
            let trees = self.data.trees(|root| self.knows_layer(node, root));
            swarm.set_trees(trees, self.data.info.has_v1());
        }
        let web = self.plan.web_seeds.iter().map(|_| WebSeed::default()).collect();
        self.nodes[node].brain = Some(Brain {
            swarm,
            by_key: BTreeMap::new(),
            open: BTreeMap::new(),
            in_pool: BTreeMap::new(),
            unwritten: Vec::new(),
            retry_at: None,
            half_open: 0,
            held_blocks: 0,
            limit: u32::MAX,
            sought_at: now,
            record,
            save_due: false,
            save_through: dirty,
            web,
        });
        if dirty {
            self.save(node);
        }
        if have.is_full() {
            self.is_complete(node);
        }
        let epoch = self.nodes[node].epoch;
        self.queue.push(now + self.plan.sync_every, Event::SyncDue { node, epoch });
        self.schedule_announce(node);
        if self.plan.broken == Some(Broken::DialsStrangers) {
            let all: Vec<_> = self.nodes.iter().map(|other| other.addr).collect();
            self.found(node, Source::User, &all);
        }
        self.wake(node);
    }

    /// What a new peer with data begins with: a record of it, as if it had been stopped in order.
    pub(crate) fn remembers(&mut self, node: usize) {
        let state = &mut self.nodes[node];
        let count = self.data.geometry.piece_count();
        let has = |piece: u32| match state.plan.start {
            Start::Seed => true,
            Start::Empty => false,
            Start::Without(n) => piece % 16 != n,
        };
        let mut progress = Progress::new(count, 0);
        (0..count).filter(|piece| has(*piece)).for_each(|piece| _ = progress.add_written(piece));
        let written = progress.written.clone();
        progress.add_durable(&written);
        progress.clean = true;
        progress.root_device = Some(1);
        let files = state.disk.observe().files;
        let record = Some(ResumeRecord {
            progress,
            files,
            torrent: None,
            arrangement: Arrangement::default(),
            totals: storage::Totals::default(),
        });
        state.saved = Saved { cached: record.clone(), durable: record };
    }

    /// The program ends; what is in memory is gone.
    fn ends(&mut self, node: usize) {
        let now = self.now;
        let state = &mut self.nodes[node];
        state.settle_sums(now);
        state.running = false;
        state.brain = None;
        state.schedule = None;
        state.asking = None;
        state.connection = None;
        state.ring.clear();
        state.uplink_free = now;
        state.downlink_free = now;
        state.tick_at = None;
        state.pump_at = None;
    }

    /// It is stopped in good order: everything synced, the record clean, the tracker told.
    pub(crate) fn stop(&mut self, node: usize) {
        let state = &mut self.nodes[node];
        if let Some(brain) = &mut state.brain {
            let all = state.disk.dirty();
            if brain.in_pool.is_empty() && state.disk.synced(&all).is_ok() {
                let written = brain.record.progress.written.clone();
                brain.record.progress.add_durable(&written);
                brain.record.progress.clean = true;
            }
            brain.save_through = true;
        }
        self.save(node);
        self.say_goodbye(node);
        for link in self.nodes[node].links.keys().copied().collect::<Vec<_>>() {
            let end = self.end_of(link, node);
            self.links[link].open[end] = false;
            self.queue
                .push(self.now + Duration::from_millis(50), Event::Closed { link, to: 1 - end });
        }
        self.nodes[node].links.clear();
        self.ends(node);
    }

    /// It is killed: a write may be half done, the kernel keeps the rest.
    pub(crate) fn kill(&mut self, node: usize) {
        self.half_write(node);
        self.vanishes(node, Duration::from_millis(50));
        self.ends(node);
    }

    /// The machine loses power: the disk keeps what was synced, and of the rest what it likes.
    pub(crate) fn power_loss(&mut self, node: usize) {
        self.half_write(node);
        self.vanishes(node, Duration::from_mins(1));
        let state = &mut self.nodes[node];
        state.disk.power_loss(&mut self.rng);
        state.boots += 1;
        if self.rng.bool() {
            state.saved.cached.clone_from(&state.saved.durable); // the last commits are lost
            state.layers.clear();
        }
        self.ends(node);
    }

    fn half_write(&mut self, node: usize) {
        let now = self.now;
        let state = &mut self.nodes[node];
        let Some(brain) = &state.brain else { return };
        for (piece, blocks) in &brain.in_pool {
            if self.data.is_good(*piece, blocks) && self.rng.bool() {
                let done = self.rng.usize(0..=blocks.len());
                let first = self.data.block_number(*piece, 0);
                let _ = state.disk.write(now, first, &blocks[..done], &mut self.rng);
            }
        }
    }
}
