//! Large swarms, measured against what is possible at all, and against brains without some of their
//! parts.
//!
//! Nobody can be faster than the fluid limit: all data comes from the seed at least once, goes over
//! each peer's downlink, and over everybody's uplinks N times.

use std::fmt::Write;
use std::time::Duration;

use metainfo::BLOCK_LENGTH;
use swarm::{Settings, Without};

use crate::plan::{Fault, FaultPlan, PeerPlan, Plan};
use crate::world::{Outcome, World};

/// Uplinks of the peers, in bytes a second: a quarter of them has each. Downlinks are four times that.
const UPLINKS: [u64; 4] = [64_000, 128_000, 256_000, 512_000];
/// Connections of each peer.
const PEERS_MAX: usize = 50;

/// A large swarm.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Crowd {
    /// All come within five seconds and stay.
    Flash,
    /// As that, and each minute 5 % are gone for half a minute.
    Churn,
    /// A slow seed, and who is complete leaves at once.
    Selfish,
}

impl Crowd {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Flash, Self::Churn, Self::Selfish];

    /// Its name in file names and tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::Flash => "flash-crowd",
            Self::Churn => "churn",
            Self::Selfish => "selfish",
        }
    }

    /// The swarm as a plan.
    pub fn plan(self, seed: u64, peers: usize, pieces: u32, without: Without) -> Plan {
        let mut rng = fastrand::Rng::with_seed(seed);
        let seed_up = if self == Self::Selfish { 500_000 } else { 2_000_000 };
        let mut all = vec![PeerPlan::seed(seed_up)];
        for number in 0..peers {
            let up = UPLINKS[number % UPLINKS.len()];
            all.push(PeerPlan {
                joins: Duration::from_millis(rng.u64(0..5000)),
                stays: (self == Self::Selfish).then_some(Duration::ZERO),
                ..PeerPlan::leecher(up, up * 4)
            });
        }
        let mut faults = Vec::new();
        if self == Self::Churn {
            let leave = |rng: &mut fastrand::Rng, minute: u64| FaultPlan {
                at: Duration::from_millis(minute * 60_000 + rng.u64(0..60_000)),
                lasts: Duration::from_secs(30),
                fault: if rng.bool() {
                    Fault::Leave(rng.usize(1..=peers))
                } else {
                    Fault::Kill(rng.usize(1..=peers))
                },
            };
            for minute in 0..5 {
                faults.extend((0..peers / 20).map(|_| leave(&mut rng, minute)));
            }
        }
        Plan {
            seed,
            pieces,
            blocks_per_piece: 4,
            peers: all,
            faults,
            settings: Settings { peers_max: PEERS_MAX, without, ..Settings::default() },
            sync_every: Duration::from_mins(1),
            limit: Duration::from_hours(4),
            ..Plan::default()
        }
    }
}

/// The shortest time in which everybody can have everything.
pub fn fluid_limit(plan: &Plan) -> Duration {
    let bytes = f64::from(plan.pieces * plan.blocks_per_piece) * f64::from(BLOCK_LENGTH);
    let up = |peer: &PeerPlan| peer.up as f64;
    let (seeds, leechers): (Vec<_>, Vec<_>) =
        plan.peers.iter().partition(|peer| peer.start == crate::plan::Start::Seed);
    let seeds_up: f64 = seeds.into_iter().map(up).sum();
    let all_up = seeds_up + leechers.iter().map(|peer| up(peer)).sum::<f64>();
    let slowest = leechers.iter().map(|peer| peer.down).min().unwrap_or(1) as f64;
    let seconds =
        (bytes / seeds_up).max(bytes / slowest).max(bytes * leechers.len() as f64 / all_up);
    Duration::from_secs_f64(seconds)
}

/// One measured swarm.
#[derive(Debug, Clone)]
pub struct Measured {
    /// What of the brain was switched off, in words.
    pub variant: &'static str,
    /// When each peer was complete since it came, in order.
    pub times: Vec<Duration>,
    /// Peers that never were.
    pub unfinished: usize,
    /// Bytes that came and were not wanted, of all.
    pub duplicates: f64,
    /// The whole run.
    pub outcome: Outcome,
}

/// The brain as it is, and without each of two parts.
pub const VARIANTS: [(&str, Without); 3] = [
    ("as it is", Without { rarest_first: false, optimistic_unchoke: false }),
    ("random pieces", Without { rarest_first: true, optimistic_unchoke: false }),
    ("no optimistic unchoke", Without { rarest_first: false, optimistic_unchoke: true }),
];

/// Runs a plan.
pub fn measure(variant: &'static str, plan: &Plan) -> Measured {
    let outcome = World::new(plan.clone()).run();
    let leechers = || outcome.peers.iter().zip(&plan.peers).skip(1);
    let mut times: Vec<Duration> = leechers()
        .filter_map(|(peer, plan)| Some(peer.completed_at?.saturating_sub(plan.joins)))
        .collect();
    times.sort_unstable();
    let downloaded: u64 = leechers().map(|(peer, _)| peer.sums.downloaded).sum();
    let wasted: u64 = leechers().map(|(peer, _)| peer.sums.wasted).sum();
    Measured {
        variant,
        unfinished: leechers().count() - times.len(),
        times,
        duplicates: wasted as f64 / downloaded.max(1) as f64,
        outcome,
    }
}

/// A row of the table in `docs/reliability.md`.
pub fn row(crowd: Crowd, limit: Duration, measured: &Measured) -> String {
    let at = |share: f64| {
        let place = ((measured.times.len() as f64 * share) as usize).saturating_sub(1);
        measured.times.get(place).map_or(f64::NAN, Duration::as_secs_f64)
    };
    format!(
        "| {} | {} | {:.0} s | {:.0} s | {:.0} s | {:.0} s | {:.2} | {:.2} % | {} |",
        crowd.name(),
        measured.variant,
        limit.as_secs_f64(),
        at(0.5),
        at(0.9),
        at(1.0),
        at(1.0) / limit.as_secs_f64(),
        measured.duplicates * 100.0,
        measured.unfinished,
    )
}

/// The header of that table.
pub const HEADER: &str = "\
| swarm | brain | fluid limit | half | 90 % | last | last / limit | duplicates | unfinished |
|---|---|---|---|---|---|---|---|---|";

const WIDTH: f64 = 640.0;
const HEIGHT: f64 = 320.0;
const MARGIN: f64 = 44.0;
const COLOURS: [&str; 3] = ["#0b6", "#d60", "#06c"];

/// The share of peers that are complete over time, as an SVG.
pub fn plot(title: &str, limit: Duration, all: &[Measured]) -> String {
    let last = all.iter().filter_map(|measured| measured.times.last()).max();
    let end = last.copied().unwrap_or(limit).max(limit).as_secs_f64() * 1.05;
    let x = |seconds: f64| MARGIN + seconds / end * (WIDTH - 2.0 * MARGIN);
    let y = |share: f64| HEIGHT - MARGIN - share * (HEIGHT - 2.0 * MARGIN);
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" \
         font-family=\"sans-serif\" font-size=\"11\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n\
         <text x=\"{MARGIN}\" y=\"18\" font-size=\"13\">{title}</text>\n"
    );
    let mut line = |x1: f64, y1: f64, x2: f64, y2: f64, style: &str| {
        let _ = writeln!(
            out,
            "<line x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" y2=\"{y2:.1}\" {style}/>"
        );
    };
    for quarter in 0..=4 {
        let height = y(f64::from(quarter) / 4.0);
        line(MARGIN, height, WIDTH - MARGIN, height, "stroke=\"#ddd\"");
    }
    let optimum = x(limit.as_secs_f64());
    line(optimum, y(0.0), optimum, y(1.0), "stroke=\"#888\" stroke-dasharray=\"4 3\"");
    let mut text = |x: f64, y: f64, what: &str| {
        let _ = writeln!(out, "<text x=\"{x:.1}\" y=\"{y:.1}\" fill=\"#444\">{what}</text>");
    };
    for quarter in 0..=4 {
        let share = f64::from(quarter) / 4.0;
        text(8.0, y(share) + 4.0, &format!("{:.0} %", share * 100.0));
        text(x(end * share) - 10.0, HEIGHT - MARGIN + 16.0, &format!("{:.0} s", end * share));
    }
    text(optimum + 4.0, y(0.0) - 6.0, "fluid limit");
    for ((measured, colour), place) in all.iter().zip(COLOURS).zip(0..) {
        let total = (measured.times.len() + measured.unfinished).max(1) as f64;
        let mut points = format!("{:.1},{:.1}", x(0.0), y(0.0));
        let step = (measured.times.len() / 200).max(1);
        let shown = measured.times.iter().enumerate();
        for (count, time) in shown.filter(|(n, _)| n % step == 0 || n + 1 == measured.times.len()) {
            let (at, share) = (x(time.as_secs_f64()), y((count + 1) as f64 / total));
            let _ = write!(points, " {at:.1},{share:.1}");
        }
        let _ = writeln!(
            out,
            "<polyline points=\"{points}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"1.6\"/>\n\
             <text x=\"{:.0}\" y=\"{:.0}\" fill=\"{colour}\">{}</text>",
            MARGIN + 8.0,
            MARGIN + 14.0 + 15.0 * f64::from(place),
            measured.variant
        );
    }
    out.push_str("</svg>\n");
    out
}
