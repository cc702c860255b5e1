//! A web seed as people see it.

use std::time::Duration;

/// What a web seed is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WebSeedState {
    /// It is asked for blocks.
    Active,
    /// It is not needed now.
    Idle,
    /// It failed, and is asked again later.
    Resting,
    /// It failed for good.
    Out,
}

impl WebSeedState {
    /// Its name for programs.
    pub fn name(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Idle => "idle",
            Self::Resting => "resting",
            Self::Out => "out",
        }
    }
}

/// A snapshot of one web seed.
#[derive(Debug, Clone, PartialEq)]
pub struct WebSeedStatus {
    /// Its URL without user, password and query. A stranger's words: not to be shown unescaped.
    pub url: String,
    /// What it is doing.
    pub state: WebSeedState,
    /// Payload bytes from it.
    pub downloaded: u64,
    /// Payload bytes a second.
    pub download_rate: u64,
    /// Connections to it.
    pub connections: u32,
    /// Files that it turned out not to have.
    pub files_missing: u32,
    /// What went wrong last.
    pub error: Option<String>,
    /// What to do about that.
    pub next_step: Option<&'static str>,
    /// When it is asked again.
    pub next_in: Option<Duration>,
}
