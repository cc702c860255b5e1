//! Rest: a complete torrent that nobody is connected to, and that has nothing to do, needs no brain.
//! What it is and has, its owner can say again ([`Config`]); only what happened to it is kept, which is
//! nothing for most of ten thousand torrents that nobody asks for.
//!
//! Rest is no event: a brain that rested and one that did not decide the same for whoever comes.

use std::time::Duration;

use wire::Bitfield;

use crate::blame::Blame;
use crate::candidates::Candidates;
use crate::hashes::Hashes;
use crate::ledger::Ledger;
use crate::levels::Levels;
use crate::seeding::Seeding;
use crate::stats::Totals;
use crate::superseed::SuperSeed;
use crate::{Config, Seeded, Swarm};

/// What is left of the brain of a torrent at rest.
#[derive(Default)]
pub struct Resting {
    paused: bool,
    /// Its seeding, but for what is in `past`.
    only_seeds: bool,
    seeds_since: Option<Duration>,
    /// In earlier runs, too, so most have something of it.
    seeded_before: Seeded,
    /// Keys of peers that are gone name nobody afterwards.
    generation: u32,
    /// Of the choices to come.
    seed: u64,
    ledger: Ledger,
    /// While some piece layers are not known, or pieces not judged: else its owner gives all again.
    hashes: Option<Box<Hashes>>,
    past: Option<Box<Past>>,
}

/// What happened to a torrent, and what was asked for that is not as usual.
struct Past {
    wanted: Option<Bitfield>,
    picker: Option<Levels>,
    seeding: Seeding,
    super_seed: SuperSeed,
    blame: Blame,
    candidates: Candidates,
    totals: Totals,
    /// Pieces opened so far: a late answer about one of them is not about the next.
    opened: u32,
}

impl Past {
    fn is_blank(&self) -> bool {
        self.wanted.is_none()
            && self.picker.is_none()
            && self.seeding.is_blank()
            && self.super_seed.is_blank()
            && self.blame.is_blank()
            && self.candidates.is_blank()
            && self.totals.is_blank()
            && self.opened == 0
    }
}

impl Swarm {
    /// Whether it was told of its trees.
    pub fn has_trees(&self) -> bool {
        self.hashes.is_some()
    }

    /// Whether it is complete, has no peer, and has nothing to do until it is told something. Who was
    /// given hashes owes them no longer, as that is forgotten.
    pub fn may_rest(&self) -> bool {
        self.peers.len() == 0
            && self.is_complete()
            && self.actions.is_empty()
            && self.candidates.dialling() == 0
            && self.punches.is_empty()
            && self.pieces.is_at_rest()
            && self.urgent.is_empty()
            && self.next_timeout().is_none()
    }

    /// What it must not forget while it rests. To be called when it may ([`Self::may_rest`]): what is
    /// under way is forgotten.
    pub fn into_rest(self) -> Resting {
        let past = Past {
            wanted: self.wanted,
            picker: (!self.picker.is_plain()).then_some(self.picker),
            blame: self.blame,
            candidates: self.candidates,
            totals: self.totals,
            opened: self.pieces.opened(),
            seeding: self.seeding,
            super_seed: self.super_seed,
        };
        Resting {
            paused: self.paused,
            only_seeds: past.seeding.only_seeds(),
            seeds_since: past.seeding.since(),
            seeded_before: past.seeding.before(),
            generation: self.peers.next_generation(),
            seed: self.rng.get_seed(),
            ledger: self.ledger,
            hashes: self.hashes.filter(|hashes| hashes.is_unfinished()),
            past: (!past.is_blank()).then(|| Box::new(past)),
        }
    }
}

impl Resting {
    /// The brain again. The configuration is the torrent's as it is now; what was wanted and the seed
    /// are known. The owner tells it of its IP filter, its address and its trees
    /// ([`Swarm::set_trees`], unless it [knows them](Swarm::has_trees)), as it does a new one.
    pub fn wakes(mut self, now: Duration, config: Config) -> Swarm {
        let wanted = self.past.as_mut().and_then(|past| past.wanted.take());
        let mut swarm = Swarm::new(now, Config { wanted, seed: self.seed, ..config });
        swarm.paused = self.paused;
        swarm.seeding = Seeding::under_way(self.only_seeds, self.seeds_since, self.seeded_before);
        swarm.peers.begin_at(self.generation);
        swarm.ledger = self.ledger;
        swarm.hashes = self.hashes;
        if let Some(past) = self.past {
            if let Some(mut picker) = past.picker {
                picker.rest(); // no peer is left whose copies count
                swarm.picker = picker;
            }
            swarm.seeding = past.seeding;
            swarm.super_seed = past.super_seed;
            swarm.blame = past.blame;
            swarm.candidates = past.candidates;
            swarm.totals = past.totals;
            swarm.pieces.go_on_at(past.opened);
        }
        swarm
    }
}
