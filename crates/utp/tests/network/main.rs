//! Two endpoints in a network that exists in virtual time. Everything follows from a seed, which a
//! test prints when it fails: `SEED=… cargo test -p peerless-utp NAME` replays it.

mod hostile;
mod link;
mod opening;
mod sharing;
mod tcp;
mod trouble;
mod world;

/// Runs a case with many seeds, or with the one that `SEED` names.
fn with_seeds(seeds: std::ops::Range<u64>, case: impl Fn(u64)) {
    let named = std::env::var("SEED").ok().map(|seed| seed.parse().expect("SEED is a number"));
    let seeds = named.map_or(seeds, |seed: u64| seed..seed + 1);
    for seed in seeds {
        let shown = Shown(seed);
        case(seed);
        std::mem::forget(shown);
    }
}

/// Says which seed it was, unless all went well.
struct Shown(u64);

impl Drop for Shown {
    fn drop(&mut self) {
        eprintln!("SEED={} replays this", self.0);
    }
}
