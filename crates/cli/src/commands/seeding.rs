//! When seeding ends, as options of the commands that seed.

use std::time::Duration;

use engine::{SeedLimit, SeedLimits, TorrentHandle};
use serde_json::json;

use super::session::name;
use crate::exit::Failure;
use crate::format::{self, untrusted};
use crate::output::Output;

/// When seeding ends; the first that is reached counts.
#[derive(Debug, Clone, Copy, clap::Args)]
#[command(next_help_heading = "When seeding ends")]
pub(crate) struct SeedOptions {
    /// Seed until this many times the size was sent, earlier runs included.
    #[arg(long, value_name = "R", value_parser = ratio)]
    ratio: Option<f64>,
    /// Seed for this long, as in 90s, 30m, 2h or 7d, earlier runs included.
    #[arg(long, value_name = "TIME", value_parser = format::parse_duration)]
    seed_time: Option<Duration>,
    /// Seed until nobody wanted anything for this long, in this run.
    #[arg(long, value_name = "TIME", value_parser = format::parse_duration)]
    seed_idle: Option<Duration>,
}

impl SeedOptions {
    /// Refuses limits of seeding where nothing is seeded.
    pub(crate) fn need(self, seeds: bool) -> Result<(), Failure> {
        if seeds || self.limits() == SeedLimits::default() {
            return Ok(());
        }
        let message = "--ratio, --seed-time and --seed-idle say when seeding ends";
        Err(Failure::usage(message).advise("add --seed, which goes on seeding once complete"))
    }

    pub(crate) fn limits(self) -> SeedLimits {
        SeedLimits { ratio: self.ratio, time: self.seed_time, idle: self.seed_idle }
    }
}

/// A number that something can be compared with.
fn ratio(text: &str) -> Result<f64, String> {
    let number = text.parse::<f64>().ok().filter(|ratio| ratio.is_finite() && *ratio >= 0.0);
    number.ok_or_else(|| "a number such as 1.5".into())
}

/// Until one of the limits is reached; for ever without any.
pub(crate) async fn seeded(handle: &TorrentHandle, output: Output) -> Result<(), Failure> {
    let limit = handle.seeded().await?;
    let (word, what) = match limit {
        SeedLimit::Ratio => ("ratio", "as much as was asked for"),
        SeedLimit::Time => ("time", "for as long as was asked for"),
        SeedLimit::Idle => ("idle", "until nobody wanted anything any more"),
    };
    output.value(&json!({
        "event": "seeded_enough", "info_hash": handle.info_hash().to_string(), "limit": word,
    }));
    output.note(format_args!("{}: seeded {what}", untrusted(&name(handle))));
    Ok(())
}
