//! The command: runs seeds of scenarios, replays one, makes a failing one smaller, and measures
//! large swarms.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::ops::Range;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use clap::{Args, Parser, Subcommand};
use serde_json::json;
use sim::dht_network::{self, DhtPlan};
use sim::scale::{self, Crowd};
use sim::{Cut, Outcome, Plan, World, scenario, shrink};

/// Whole swarms in virtual time, under one seed.
#[derive(Parser)]
#[command(name = "peerless-sim")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Runs seeds of one scenario or of all. Fails when an invariant does.
    Run {
        /// Which seeds, as 0..200.
        #[arg(long, default_value = "0..10", value_parser = range)]
        seeds: Range<u64>,
        /// One scenario; all without.
        #[arg(long)]
        scenario: Option<String>,
        /// Threads.
        #[arg(long, default_value_t = 1)]
        jobs: usize,
        /// One JSON object a line.
        #[arg(long)]
        json: bool,
    },
    /// Runs one seed again.
    Replay {
        #[command(flatten)]
        which: Which,
        #[command(flatten)]
        without: Parts,
    },
    /// Takes parts of a failing run away for as long as it fails, and says how to replay it.
    Shrink {
        #[command(flatten)]
        which: Which,
    },
    /// Networks of the DHT: announce, then find. Fails below 99 in 100, or above four hops.
    Dht {
        /// Which seeds, as 0..20.
        #[arg(long, default_value = "0..3", value_parser = range)]
        seeds: Range<u64>,
        /// Honest nodes.
        #[arg(long, default_value_t = 900)]
        nodes: usize,
        /// Nodes that lie.
        #[arg(long, default_value_t = 100)]
        liars: usize,
        /// Nodes replaced each minute.
        #[arg(long, default_value_t = 9)]
        churn: usize,
        /// Packets lost in a hundred.
        #[arg(long, default_value_t = 1)]
        loss: u8,
    },
    /// Measures large swarms against the fluid limit; writes a plot of each.
    Scale {
        /// Peers without data at first.
        #[arg(long, default_value_t = 1000)]
        peers: usize,
        /// Pieces of 64 KiB.
        #[arg(long, default_value_t = 512)]
        pieces: u32,
        /// The run's seed.
        #[arg(long, default_value_t = 1)]
        seed: u64,
        /// Where the plots go.
        #[arg(long, default_value = "docs")]
        out: PathBuf,
    },
}

#[derive(Args)]
struct Which {
    /// Its scenario.
    #[arg(long)]
    scenario: String,
    /// Its seed.
    #[arg(long)]
    seed: u64,
}

#[derive(Args)]
struct Parts {
    /// Leaves peers out, by number.
    #[arg(long, value_delimiter = ',')]
    without_peers: Vec<usize>,
    /// Leaves faults out, by number.
    #[arg(long, value_delimiter = ',')]
    without_faults: Vec<usize>,
    /// So many pieces instead.
    #[arg(long)]
    pieces: Option<u32>,
}

fn range(text: &str) -> Result<Range<u64>, String> {
    let (from, to) = text.split_once("..").ok_or("two numbers with .. between them")?;
    let number = |text: &str| text.parse::<u64>().map_err(|error| error.to_string());
    Ok(number(from)?..number(to)?)
}

fn plan(name: &str, seed: u64) -> Result<Plan, String> {
    scenario::plan(name, seed).ok_or_else(|| {
        let names: Vec<&str> = scenario::ALL.iter().map(|(name, _)| *name).collect();
        format!("there is no scenario {name}; there are {}", names.join(", "))
    })
}

fn main() -> ExitCode {
    let good = match Cli::parse().command {
        Command::Run { seeds, scenario, jobs, json } => {
            run(&seeds, scenario.as_deref(), jobs, json)
        }
        Command::Replay { which, without } => replay(&which, without),
        Command::Shrink { which } => shrink_one(&which),
        Command::Dht { seeds, nodes, liars, churn, loss } => {
            let plan = |seed| DhtPlan {
                nodes,
                liars,
                churn_per_minute: churn,
                loss_percent: loss,
                ..DhtPlan::large(seed)
            };
            Ok(run_dht(seeds.map(plan)))
        }
        Command::Scale { peers, pieces, seed, out } => scale_up(peers, pieces, seed, &out),
    };
    match good {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::from(2)
        }
    }
}

fn show(name: &str, seed: u64, outcome: &Outcome, as_json: bool) {
    let violations: Vec<String> = outcome.violations.iter().map(ToString::to_string).collect();
    let (trace, took) = (format!("{:016x}", outcome.trace), outcome.took.as_secs_f64());
    if as_json {
        let line = json!({
            "scenario": name, "seed": seed, "trace": trace, "took_s": took,
            "events": outcome.events, "violations": violations,
        });
        println!("{line}");
    } else if violations.is_empty() {
        println!("{name} seed {seed}: good after {took:.1} s, trace {trace}");
    } else {
        println!("{name} seed {seed}: FAILED, trace {trace}");
        violations.iter().for_each(|violation| println!("    {violation}"));
        println!("    peerless-sim shrink --scenario {name} --seed {seed}");
    }
}

fn run(seeds: &Range<u64>, only: Option<&str>, jobs: usize, as_json: bool) -> Result<bool, String> {
    if let Some(name) = only {
        plan(name, 0)?;
    }
    let names = scenario::ALL.iter().map(|(name, _)| *name);
    let names: Vec<&str> = names.filter(|name| only.is_none_or(|only| only == *name)).collect();
    let runs: Vec<(&str, u64)> =
        names.iter().flat_map(|name| seeds.clone().map(move |seed| (*name, seed))).collect();
    let (next, failed) = (AtomicUsize::new(0), Mutex::new(0));
    std::thread::scope(|scope| {
        for _ in 0..jobs.max(1) {
            scope.spawn(|| {
                while let Some((name, seed)) = runs.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let Ok(plan) = plan(name, *seed) else { return };
                    let outcome = World::new(plan).run();
                    let mut failed = failed.lock().expect("no thread panics while it prints");
                    *failed += usize::from(!outcome.violations.is_empty());
                    show(name, *seed, &outcome, as_json);
                }
            });
        }
    });
    let failed = failed.into_inner().expect("no thread panics while it prints");
    eprintln!("{} runs, {failed} failed", runs.len());
    Ok(failed == 0)
}

fn run_dht(plans: impl Iterator<Item = DhtPlan>) -> bool {
    let mut good = true;
    for plan in plans {
        let outcome = dht_network::run(&plan);
        let verdict = if outcome.is_good() { "good" } else { "FAILED" };
        println!(
            "dht seed {}: {verdict}, {} of {} found, median {} hops, {} packets, {} % unanswered, \
             trace {:016x}",
            plan.seed,
            outcome.found,
            outcome.lookups,
            outcome.median_hops().unwrap_or_default(),
            outcome.packets,
            outcome.lost_percent,
            outcome.trace,
        );
        good &= outcome.is_good();
    }
    good
}

fn replay(which: &Which, without: Parts) -> Result<bool, String> {
    let cut = Cut {
        peers: without.without_peers.into_iter().collect(),
        faults: without.without_faults.into_iter().collect(),
        pieces: without.pieces,
    };
    let plan = plan(&which.scenario, which.seed)?.cut(&cut);
    for (number, peer) in plan.peers.iter().enumerate() {
        if !plan.absent.contains(&number) {
            println!("peer {number}: {peer:?}");
        }
    }
    plan.faults.iter().for_each(|fault| println!("{fault:?}"));
    let outcome = World::new(plan).run();
    show(&which.scenario, which.seed, &outcome, false);
    Ok(outcome.violations.is_empty())
}

fn shrink_one(which: &Which) -> Result<bool, String> {
    let plan = plan(&which.scenario, which.seed)?;
    let Some((invariant, cut)) = shrink::shrink(&plan) else {
        println!("nothing is broken");
        return Ok(true);
    };
    let list =
        |set: &BTreeSet<usize>| set.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
    let mut again =
        format!("peerless-sim replay --scenario {} --seed {}", which.scenario, which.seed);
    for (option, set) in [("--without-peers", &cut.peers), ("--without-faults", &cut.faults)] {
        if !set.is_empty() {
            let _ = write!(again, " {option} {}", list(set)); // a string takes everything
        }
    }
    if let Some(pieces) = cut.pieces {
        let _ = write!(again, " --pieces {pieces}");
    }
    println!("{} fails in a smaller run too:\n{again}", invariant.name());
    Ok(false)
}

fn scale_up(peers: usize, pieces: u32, seed: u64, out: &PathBuf) -> Result<bool, String> {
    std::fs::create_dir_all(out).map_err(|error| error.to_string())?;
    println!("{}", scale::HEADER);
    let mut good = true;
    for crowd in Crowd::ALL {
        let mut all = Vec::new();
        let mut limit = std::time::Duration::ZERO;
        for (variant, without) in scale::VARIANTS {
            let plan = crowd.plan(seed, peers, pieces, without);
            limit = scale::fluid_limit(&plan);
            let measured = scale::measure(variant, &plan);
            println!("{}", scale::row(crowd, limit, &measured));
            for violation in &measured.outcome.violations {
                eprintln!("{}, {variant}: {violation}", crowd.name());
                good &= without != swarm::Without::default();
            }
            all.push(measured);
        }
        let title = format!("{}: {peers} peers, {} MiB", crowd.name(), pieces / 16);
        let path = out.join(format!("swarm-{}.svg", crowd.name()));
        let svg = scale::plot(&title, limit, &all);
        std::fs::write(path, svg).map_err(|error| error.to_string())?;
    }
    Ok(good)
}
