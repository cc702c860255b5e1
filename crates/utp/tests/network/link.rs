//! One direction of a link: a rate, a queue that drops what is too much, a distance, and damage.

use std::time::Duration;

/// Bytes of an IPv4 and a UDP header.
const OVERHEAD: usize = 28;

#[derive(Debug, Clone, Copy)]
pub(crate) struct Shape {
    /// Bytes a second.
    pub(crate) rate: f64,
    pub(crate) delay: Duration,
    /// How long the queue is when it is full.
    pub(crate) queue: Duration,
    pub(crate) loss: f64,
    pub(crate) duplicate: f64,
    /// Some packets take up to this much longer.
    pub(crate) jitter: Duration,
    pub(crate) jitter_share: f64,
    /// Longer packets are lost, headers included.
    pub(crate) mtu: usize,
}

impl Shape {
    /// A link of so many megabits and milliseconds that loses nothing.
    pub(crate) fn new(megabits: f64, delay_ms: u64) -> Self {
        Self {
            rate: megabits * 1e6 / 8.0,
            delay: Duration::from_millis(delay_ms),
            queue: Duration::from_millis(250),
            loss: 0.0,
            duplicate: 0.0,
            jitter: Duration::ZERO,
            jitter_share: 0.0,
            mtu: 1_500,
        }
    }
}

pub(crate) struct Link {
    pub(crate) shape: Shape,
    busy_until: Duration,
    /// The longest that a packet has queued.
    pub(crate) queued_max: Duration,
    pub(crate) carried: u64,
    pub(crate) dropped: u64,
    pub(crate) lost: u64,
}

impl Link {
    pub(crate) fn new(shape: Shape) -> Self {
        Self {
            shape,
            busy_until: Duration::ZERO,
            queued_max: Duration::ZERO,
            carried: 0,
            dropped: 0,
            lost: 0,
        }
    }

    /// How long a packet would queue.
    pub(crate) fn queue(&self, now: Duration) -> Duration {
        self.busy_until.saturating_sub(now)
    }

    /// When a packet of so many bytes arrives: never, once, or twice.
    pub(crate) fn carry(
        &mut self,
        now: Duration,
        bytes: usize,
        rng: &mut fastrand::Rng,
    ) -> Vec<Duration> {
        let shape = self.shape;
        if bytes + OVERHEAD > shape.mtu {
            return Vec::new();
        }
        let queue = self.queue(now);
        if queue > shape.queue {
            self.dropped += 1;
            return Vec::new();
        }
        self.queued_max = self.queued_max.max(queue);
        let takes = Duration::from_secs_f64((bytes + OVERHEAD) as f64 / shape.rate);
        self.busy_until = self.busy_until.max(now) + takes;
        if rng.f64() < shape.loss {
            self.lost += 1;
            return Vec::new();
        }
        self.carried += 1;
        let copies = if rng.f64() < shape.duplicate { 2 } else { 1 };
        let mut arrivals = Vec::new();
        for _ in 0..copies {
            let is_late = rng.f64() < shape.jitter_share;
            let late = if is_late { shape.jitter.mul_f64(rng.f64()) } else { Duration::ZERO };
            arrivals.push(self.busy_until + shape.delay + late);
        }
        arrivals
    }
}
