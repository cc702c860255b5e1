//! Announces over a simulated tracker: the real schedule, the real URLs, the real tracker, and the
//! real parser of what it answers (BEP 3, 23, 24).

use std::net::SocketAddr;
use std::time::Duration;

use swarm::Source;
use tracker::http::{announce_url, parse_announce};
use tracker::{AnnounceReply, AnnounceRequest, Due, Failure, Schedule, TrackerIndex};

use crate::invariants::Invariant;
use crate::node::Node;
use crate::world::{Event, World};

/// One way.
const LATENCY: Duration = Duration::from_millis(40);
/// Who waits for an answer longer gives up.
const PATIENCE: Duration = Duration::from_secs(15);

impl World {
    /// Sees to it that the next announce happens.
    pub(crate) fn schedule_announce(&mut self, node: usize) {
        let epoch = self.nodes[node].epoch;
        let next = self.nodes[node].schedule.as_ref().and_then(Schedule::next_timeout);
        if let Some(at) = next {
            self.queue.push(at.max(self.now), Event::AnnounceDue { node, epoch });
        }
    }

    pub(crate) fn announce(&mut self, node: usize) {
        let now = self.now;
        while let Some(due) = self.nodes[node].schedule.as_mut().and_then(|s| s.next(now)) {
            self.ask(node, &due);
        }
    }

    fn ask(&mut self, node: usize, due: &Due) {
        let (now, epoch, tracker) = (self.now, self.nodes[node].epoch, due.tracker);
        let request = self.request(node, due);
        if !due.url.starts_with(self.plan.tracker()) {
            return self.violated(Invariant::Leaked, node, format!("announces to {}", due.url));
        }
        if self.plan.udp_tracker {
            return self.ask_by_udp(node, tracker, request);
        }
        let url = announce_url(&due.url, &request).unwrap_or_default();
        let target = url.strip_prefix(self.plan.tracker()).unwrap_or_default().to_string();
        self.queue.push(now + LATENCY, Event::Announced { node, epoch, tracker, target });
    }

    fn request(&self, node: usize, due: &Due) -> AnnounceRequest {
        let Node { brain, schedule, peer_id, .. } = &self.nodes[node];
        let stats = brain.as_ref().map(|brain| brain.swarm.stats(self.now));
        AnnounceRequest {
            info_hash: self.data.info_hash,
            peer_id: *peer_id,
            port: 6881,
            uploaded: stats.as_ref().map_or(0, |stats| stats.uploaded),
            downloaded: stats.as_ref().map_or(0, |stats| stats.downloaded),
            left: stats.as_ref().map_or(1, |stats| stats.wanted_left),
            event: due.event,
            key: schedule.as_ref().map_or(0, Schedule::key),
            numwant: due.numwant,
            tracker_id: due.tracker_id.clone(),
        }
    }

    pub(crate) fn at_tracker(
        &mut self,
        node: usize,
        epoch: u32,
        tracker: TrackerIndex,
        target: &str,
    ) {
        let lost = self.plan.loss > 0 && self.rng.u32(0..1_000_000) < self.plan.loss;
        if self.tracker_down || self.apart.contains(&node) || lost {
            let event = Event::Answered { node, epoch, tracker, body: None };
            return self.queue.push(self.now + PATIENCE, event);
        }
        let port = self.rng.u16(20_000..60_000);
        let remote = SocketAddr::new(self.nodes[node].addr.ip(), port);
        let (_, body) = self.tracker.handle_http(self.now, remote, target);
        self.trace.bytes(&body);
        let event = Event::Answered { node, epoch, tracker, body: Some(body) };
        self.queue.push(self.now + LATENCY, event);
    }

    pub(crate) fn answered(&mut self, node: usize, tracker: TrackerIndex, body: Option<&[u8]>) {
        let reply = match body.map(parse_announce) {
            Some(reply) => reply.map_err(|error| Failure::from(&error)),
            None => Err(Failure::new("no answer")),
        };
        self.heard(node, tracker, reply);
    }

    /// What came of an announce.
    pub(crate) fn heard(
        &mut self,
        node: usize,
        tracker: TrackerIndex,
        reply: Result<AnnounceReply, Failure>,
    ) {
        let now = self.now;
        let Some(schedule) = &mut self.nodes[node].schedule else { return };
        match reply {
            Ok(reply) => {
                schedule.succeeded(now, tracker, &reply);
                if let (Some(ip), Some(brain)) = (reply.external_ip, &mut self.nodes[node].brain) {
                    brain.swarm.set_external_ip(ip);
                }
                self.found(node, Source::Tracker, &reply.peers);
            }
            Err(failure) => schedule.failed(now, tracker, &failure),
        }
        self.schedule_announce(node);
    }

    /// Tells the tracker, once, that the peer leaves.
    pub(crate) fn say_goodbye(&mut self, node: usize) {
        let dues = self.nodes[node].schedule.as_mut().map(Schedule::stop);
        for due in dues.unwrap_or_default() {
            self.ask(node, &due);
        }
    }
}
