//! Whole swarms in one thread and in virtual time: the real `wire` codec, `swarm` brain, `tracker`
//! and rules of resuming, over a simulated network and simulated disks. One seed is one run.
//!
//! [`plan`] is a run as data, [`scenario`] makes plans, [`World`] runs one, [`invariants`] are what
//! must hold at every moment. The files of [`World`] follow the nouns: `network` carries bytes,
//! `dialling` makes connections over paths that let through what they like, `driver` is what a program does
//! around its brain, `store` its way to the disk, `restart` its beginning and end, `announcing` and
//! `datagrams` its tracker, `hashing` the trees of v2, `web` its web seeds, `introducing` relays that see less
//! than ours, `byzantine` the peers that do harm.
//! [`dht_network`] is a world of its own.

// A world of ours alone: nothing comes from outside, and whatever is out of place must stop the run.
#![allow(clippy::missing_panics_doc)]

mod announcing;
mod byzantine;
mod checks;
pub mod content;
mod datagrams;
pub mod dht_network;
mod dialling;
pub mod disk;
mod driver;
mod faults;
mod hashing;
mod introducing;
pub mod invariants;
mod network;
mod node;
pub mod plan;
mod queue;
mod restart;
pub mod scale;
pub mod scenario;
pub mod shrink;
mod store;
pub mod stream;
pub mod trace;
mod udp_tracker;
mod web;
mod world;

pub use invariants::{Invariant, Violation};
pub use node::Sums;
pub use plan::{Cut, Plan};
pub use world::{Outcome, PeerOutcome, World};
