//! A flow as TCP has it (Reno): it grows until packets are lost, and halves.

use std::collections::BTreeMap;
use std::time::Duration;

/// Bytes of a full packet.
pub(crate) const PACKET: usize = 1_472;
const TIMEOUT: Duration = Duration::from_secs(1);

pub(crate) struct Tcp {
    window: f64,
    threshold: f64,
    next: u64,
    /// Packets in flight, and how many later ones have arrived.
    flight: BTreeMap<u64, u32>,
    /// No second halving for what was sent before this.
    recovered: u64,
    heard_at: Duration,
    pub(crate) delivered: u64,
}

impl Tcp {
    pub(crate) fn new() -> Self {
        Self {
            window: 10.0,
            threshold: f64::INFINITY,
            next: 0,
            flight: BTreeMap::new(),
            recovered: 0,
            heard_at: Duration::ZERO,
            delivered: 0,
        }
    }

    /// Packets that may leave now. What is lost is sent as a new packet: only rates matter here.
    pub(crate) fn packets(&mut self, now: Duration) -> std::ops::Range<u64> {
        if now.saturating_sub(self.heard_at) > TIMEOUT {
            self.flight.clear();
            self.threshold = (self.window / 2.0).max(2.0);
            self.window = 1.0;
            self.heard_at = now;
        }
        let first = self.next;
        while (self.flight.len() as f64) < self.window {
            self.flight.insert(self.next, 0);
            self.next += 1;
        }
        first..self.next
    }

    pub(crate) fn acked(&mut self, now: Duration, packet: u64) {
        self.heard_at = now;
        if self.flight.remove(&packet).is_none() {
            return;
        }
        self.delivered += PACKET as u64;
        self.window += if self.window < self.threshold { 1.0 } else { 1.0 / self.window };
        let mut lost = Vec::new();
        for (earlier, later_ones) in self.flight.range_mut(..packet) {
            *later_ones += 1;
            if *later_ones >= 3 {
                lost.push(*earlier);
            }
        }
        for gone in lost {
            self.flight.remove(&gone);
            if gone >= self.recovered {
                self.window = (self.window / 2.0).max(2.0);
                self.threshold = self.window;
                self.recovered = self.next;
            }
        }
    }
}
