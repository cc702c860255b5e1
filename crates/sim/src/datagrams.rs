//! Announces over UDP (BEP 15): the real client's side, through datagrams that get lost, come twice,
//! overtake each other, and through answers that a stranger forged.

use std::net::SocketAddr;
use std::time::Duration;

use tracker::udp::{Exchange, ExchangeConfig, Family, Outcome, Patience, Query, Step};
use tracker::{AnnounceRequest, Failure, TrackerIndex};

use crate::node::Asking;
use crate::udp_tracker;
use crate::world::{Event, World};

/// One way, and how much longer a datagram may take.
const LATENCY: Duration = Duration::from_millis(40);
const SPREAD_MILLIS: u64 = 60;
/// A datagram in so many comes twice, and an answer in so many is overtaken by a forged one.
const TWICE_OF: u8 = 16;
const FORGED_OF: u8 = 4;
/// Who waits for an answer longer gives up.
const PATIENCE: Duration = Duration::from_mins(1);

impl World {
    pub(crate) fn ask_by_udp(
        &mut self,
        node: usize,
        tracker: TrackerIndex,
        request: AnnounceRequest,
    ) {
        let family = if self.nodes[node].addr.is_ipv4() { Family::V4 } else { Family::V6 };
        let config = ExchangeConfig {
            query: Query::Announce(request),
            family,
            url_data: "/announce".into(),
            connection: self.nodes[node].connection,
            patience: Patience { deadline: Some(PATIENCE), ..Patience::default() },
            seed: self.rng.u64(..),
        };
        let exchange = Exchange::new(self.now, config);
        self.nodes[node].asking = Some(Asking { exchange, tracker });
        self.go_on_asking(node);
    }

    /// Sends what is due, and comes back when more is.
    pub(crate) fn go_on_asking(&mut self, node: usize) {
        let (now, epoch) = (self.now, self.nodes[node].epoch);
        while let Some(asking) = &mut self.nodes[node].asking {
            match asking.exchange.poll(now) {
                Step::Send(packet) => self.datagram(node, true, &packet),
                Step::Wait(until) => {
                    return self.queue.push(until.max(now), Event::AskAgain { node, epoch });
                }
                Step::Failed(error) => {
                    let tracker = asking.tracker;
                    self.nodes[node].asking = None;
                    return self.heard(node, tracker, Err(Failure::from(&error)));
                }
                Step::Finished => return,
            }
        }
    }

    fn datagram(&mut self, node: usize, to_tracker: bool, bytes: &[u8]) {
        let epoch = self.nodes[node].epoch;
        let copies = if self.rng.u8(0..TWICE_OF) == 0 { 2 } else { 1 };
        for _ in 0..copies {
            let lost = self.rng.u32(0..1_000_000) < self.plan.loss;
            let late = Duration::from_millis(self.rng.u64(0..SPREAD_MILLIS));
            if !lost && !self.tracker_down && !self.apart.contains(&node) {
                let event = Event::Datagram { node, epoch, to_tracker, bytes: bytes.to_vec() };
                self.queue.push(self.now + LATENCY + late, event);
            }
        }
    }

    pub(crate) fn datagram_at_tracker(&mut self, node: usize, bytes: &[u8]) {
        let remote = SocketAddr::new(self.nodes[node].addr.ip(), 40_000);
        let answer = udp_tracker::answer(&mut self.tracker, self.now, remote, bytes);
        let Some(answer) = answer else { return };
        self.trace.bytes(&answer);
        if self.rng.u8(0..FORGED_OF) == 0 {
            let guess = self.rng.u32(..).to_be_bytes();
            let mut forged = [&answer[..4], &guess, &answer[8..]].concat();
            // A peer that nobody may dial.
            forged
                .extend([203, 0, 113, 7, 203, 0, 113, 7, 203, 0, 113, 7, 203, 0, 113, 7, 26, 225]);
            let epoch = self.nodes[node].epoch;
            let event = Event::Datagram { node, epoch, to_tracker: false, bytes: forged };
            self.queue.push(self.now, event);
        }
        self.datagram(node, false, &answer);
    }

    pub(crate) fn datagram_at_peer(&mut self, node: usize, bytes: &[u8]) {
        let now = self.now;
        let Some(asking) = &mut self.nodes[node].asking else { return };
        let result = asking.exchange.handle(now, bytes);
        let (tracker, connection) = (asking.tracker, asking.exchange.connection());
        let heard = match result {
            None => return self.go_on_asking(node),
            Some(Ok(Outcome::Announce(reply))) => Ok(reply),
            Some(Ok(Outcome::Scrape(_))) => Err(Failure::new("an answer to something else")),
            Some(Err(error)) => Err(Failure::from(&error)),
        };
        self.nodes[node].asking = None;
        self.nodes[node].connection = connection;
        self.heard(node, tracker, heard);
    }
}
