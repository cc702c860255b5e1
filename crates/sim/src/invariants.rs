//! What must hold at every moment of every run, and what is noted when it does not.

use std::fmt;
use std::time::Duration;

/// What was broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Invariant {
    /// A piece was announced that is not verified and there.
    Announced,
    /// Wrong data was served.
    Served,
    /// A piece was recorded as written or durable that is not.
    Recorded,
    /// After a restart data was believed that is not there.
    Believed,
    /// More blocks were held or reserved than the budget allows, or a buffer grew too long.
    Memory,
    /// An honest peer was banned by an honest one.
    Banned,
    /// An honest peer's messages were a fault to an honest one.
    Fault,
    /// A private torrent used a source of peers other than its tracker, or offered one.
    Leaked,
    /// An address was dialled more often than it may be.
    Dialled,
    /// An address was not dialled first by what led there.
    Way,
    /// An honest peer was not complete in time although it could have been.
    Unfinished,
}

impl Invariant {
    /// Its name on a command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Announced => "announced",
            Self::Served => "served",
            Self::Recorded => "recorded",
            Self::Believed => "believed",
            Self::Memory => "memory",
            Self::Banned => "banned",
            Self::Fault => "fault",
            Self::Leaked => "leaked",
            Self::Dialled => "dialled",
            Self::Way => "way",
            Self::Unfinished => "unfinished",
        }
    }
}

/// An invariant that did not hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// Which.
    pub invariant: Invariant,
    /// When.
    pub at: Duration,
    /// At which peer.
    pub peer: usize,
    /// What happened.
    pub what: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { invariant, at, peer, what } = self;
        write!(f, "{} at {:.3} s, peer {peer}: {what}", invariant.name(), at.as_secs_f64())
    }
}
