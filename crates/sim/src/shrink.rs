//! Makes a failing run smaller: parts of its plan are taken away for as long as the same invariant
//! fails.

use crate::invariants::Invariant;
use crate::plan::{Behaviour, Cut, Nat, Plan, Start, WebConduct, WebPlan};
use crate::world::World;

/// Runs before giving up on smaller ones: a failing run that takes long must not take for ever.
const RUNS_MAX: u32 = 2000;

/// The invariants that the plan's run breaks, in the order in which it does.
pub fn broken_by(plan: Plan) -> Vec<Invariant> {
    let outcome = World::new(plan).run();
    outcome.violations.iter().map(|violation| violation.invariant).collect()
}

/// A cut of the plan from which nothing more can be taken, and that still breaks what the whole broke
/// first; `None` when nothing is broken.
pub fn shrink(plan: &Plan) -> Option<(Invariant, Cut)> {
    let invariant = *broken_by(plan.clone()).first()?;
    let mut cut = Cut::default();
    let mut runs = 0;
    loop {
        let mut smaller = false;
        for candidate in smaller_than(plan, &cut) {
            runs += 1;
            let cut_plan = plan.clone().cut(&candidate);
            // Without a complete copy nobody can finish: that is no failure.
            let is_fair = has_complete_copy(&cut_plan);
            if is_fair && broken_by(cut_plan).contains(&invariant) {
                cut = candidate;
                smaller = true;
                break;
            }
            if runs >= RUNS_MAX {
                return Some((invariant, cut));
            }
        }
        if !smaller {
            return Some((invariant, cut));
        }
    }
}

/// The cuts that take more away, the greediest first. Pieces come last: with many of them a failure
/// depends less on chance.
fn smaller_than(plan: &Plan, cut: &Cut) -> Vec<Cut> {
    let mut cuts = Vec::new();
    let peers = (0..plan.peers.len()).filter(|peer| !cut.peers.contains(peer));
    for gone in parts(&peers.collect::<Vec<_>>()) {
        let peers = cut.peers.iter().copied().chain(gone).collect();
        cuts.push(Cut { peers, ..cut.clone() });
    }
    let is_there = |fault: &usize| {
        let peer = plan.faults[*fault].fault.peer();
        !cut.faults.contains(fault) && peer.is_none_or(|peer| !cut.peers.contains(&peer))
    };
    let faults = (0..plan.faults.len()).filter(is_there);
    for gone in parts(&faults.collect::<Vec<_>>()) {
        let faults = cut.faults.iter().copied().chain(gone).collect();
        cuts.push(Cut { faults, ..cut.clone() });
    }
    let pieces = cut.pieces.unwrap_or(plan.pieces);
    for fewer in [pieces / 4, pieces / 2, pieces - 1] {
        if fewer >= 1 && fewer < pieces {
            cuts.push(Cut { pieces: Some(fewer), ..cut.clone() });
        }
    }
    cuts
}

/// Halves, quarters, and so on to single ones.
fn parts(all: &[usize]) -> Vec<Vec<usize>> {
    let mut parts = Vec::new();
    let mut size = all.len().div_ceil(2);
    while size > 0 && !all.is_empty() {
        parts.extend(all.chunks(size).map(<[usize]>::to_vec));
        size = if size == 1 { 0 } else { size.div_ceil(2) };
    }
    parts
}

/// Whether every piece is with an honest peer that others can reach.
fn has_complete_copy(plan: &Plan) -> bool {
    let present = plan.peers.iter().enumerate().filter(|(place, _)| !plan.absent.contains(place));
    let gives = |web: &WebPlan| !matches!(web.conduct, WebConduct::Lies(_) | WebConduct::Lacks(_));
    if plan.web_seeds.iter().any(gives) {
        return true;
    }
    let sources: Vec<Start> = present
        .filter(|(_, peer)| peer.behaviour == Behaviour::Honest && peer.nat == Nat::Open)
        .map(|(_, peer)| peer.start)
        .collect();
    let has = |start: &Start, piece: u32| match start {
        Start::Seed => true,
        Start::Empty => false,
        Start::Without(n) => piece % 16 != *n,
    };
    (0..plan.pieces).all(|piece| sources.iter().any(|start| has(start, piece)))
}
