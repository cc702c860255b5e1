//! Keeps lanes full: messages of any lengths go through the tiers of a plan together.
//!
//! Each step hashes one run of blocks of as many messages as the tier has lanes; the run is as long
//! as the shortest at hand. A message that ends makes room for the next. When the queue is empty
//! and messages get few, the plan says when fewer lanes are the faster way, and they move over with
//! the state they have.

use std::cmp::Reverse;

use crate::{
    Block,
    function::Function,
    job::Job,
    plan::Plan,
    tier::{LANES_MAX, Tier},
};

/// The digest of each message, `B` bytes being all words of the state.
pub(crate) fn digests<const W: usize, const B: usize>(
    function: &Function<W>,
    plan: &Plan,
    messages: &[&[&[u8]]],
) -> Vec<[u8; B]> {
    let mut digests = vec![[0; B]; messages.len()];
    // The longest go first, so that those which run together at the end are of like length.
    let mut order: Vec<usize> = (0..messages.len()).collect();
    order.sort_unstable_by_key(|&index| Reverse(length_bytes(messages[index])));
    let mut queue = order.into_iter();

    let mut jobs: Vec<Job<'_, W>> = Vec::with_capacity(LANES_MAX.min(messages.len()));
    loop {
        let next = queue.by_ref().take(LANES_MAX - jobs.len());
        jobs.extend(next.map(|index| Job::new(index, function.initial, messages[index])));
        if jobs.is_empty() {
            return digests;
        }
        let tier = plan.tier(jobs.len() + queue.len());
        let active = tier.lanes().min(jobs.len());
        step(function, tier, &mut jobs[..active]);
        jobs.retain(|job| {
            if job.is_done() {
                digests[job.index] = bytes(job.state);
            }
            !job.is_done()
        });
    }
}

/// The digest of one message.
pub(crate) fn digest<const W: usize, const B: usize>(
    function: &Function<W>,
    plan: &Plan,
    message: &[&[u8]],
) -> [u8; B] {
    let tier = plan.tier(1);
    let mut job = Job::new(0, function.initial, message);
    while !job.is_done() {
        step(function, tier, std::slice::from_mut(&mut job));
    }
    bytes(job.state)
}

/// Takes one run of each job, of which there is at least one and at most as many as the tier has
/// lanes.
fn step<const W: usize>(function: &Function<W>, tier: Tier, jobs: &mut [Job<'_, W>]) {
    let blocks = jobs.iter().map(|job| job.run().len()).min().unwrap_or_default();
    let mut states = [[0; W]; LANES_MAX];
    let mut runs: [&[Block]; LANES_MAX] = [&[]; LANES_MAX];
    for (lane, (state, run)) in states.iter_mut().zip(&mut runs).take(tier.lanes()).enumerate() {
        // An idle lane repeats the first: its data is at hand and its result is not looked at.
        let job = jobs.get(lane).unwrap_or(&jobs[0]);
        *state = job.state;
        *run = &job.run()[..blocks];
    }
    tier.compress(function, &mut states[..tier.lanes()], &runs[..tier.lanes()]);
    for (job, state) in jobs.iter_mut().zip(states) {
        job.state = state;
        job.advance(blocks);
    }
}

fn length_bytes(message: &[&[u8]]) -> usize {
    message.iter().map(|slice| slice.len()).sum()
}

/// The words of a state, big-endian.
fn bytes<const W: usize, const B: usize>(state: [u32; W]) -> [u8; B] {
    const { assert!(B == 4 * W) };
    let mut bytes = [0; B];
    bytes.as_chunks_mut().0.iter_mut().zip(state).for_each(|(out, word)| *out = word.to_be_bytes());
    bytes
}
