//! What strangers must not guess: transaction ids and the secrets of tokens. A small generator
//! whose output tells nothing about what comes next, unlike the one that choices are made with.

use sha1::{Digest as _, Sha1};

/// Hashes of a key and a counter.
#[derive(Clone)]
pub(crate) struct Secrets {
    key: [u8; 32],
    counter: u64,
}

impl Secrets {
    pub(crate) fn new(key: [u8; 32]) -> Self {
        Self { key, counter: 0 }
    }

    /// Twenty bytes that were not there before.
    pub(crate) fn draw(&mut self) -> [u8; 20] {
        self.counter = self.counter.wrapping_add(1);
        Sha1::new()
            .chain_update(self.key)
            .chain_update(self.counter.to_be_bytes())
            .finalize()
            .into()
    }
}

impl std::fmt::Debug for Secrets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secrets")
    }
}
