//! Blocks that come long after they were asked for: a slow uplink that many share has queues of many
//! minutes (BEP 3, 6). Nobody is accused of an answer.

use std::collections::VecDeque;

use swarm::{BlockFate, BlockOutcome, Fault, Hello, PeerKey};
use wire::{BlockRequest, Message};

use crate::script::{Script, fast, plain, whole};

/// Blocks that nobody asked for, before a peer is an attacker.
const TOLERATED: usize = 16;

/// A peer that has everything and stays there, and what it was asked for in order.
struct Late {
    script: Script,
    peer: PeerKey,
    queue: VecDeque<BlockRequest>,
}

impl Late {
    fn joins(hello: Hello) -> Self {
        let mut script = Script::leecher(64);
        let peer = script.source(hello, &(0..64).collect::<Vec<_>>());
        let queue = script.requests(peer).into();
        Self { script, peer, queue }
    }

    fn reads(&mut self) {
        self.queue.extend(self.script.requests(self.peer));
    }

    fn seconds_pass(&mut self, seconds: u64) {
        for _ in 0..seconds / 10 {
            self.script.says(self.peer, &Message::KeepAlive);
            self.script.seconds_later(10);
            self.reads();
        }
    }

    /// So many requests more, each of them taken back by a choke.
    fn chokes_until_asked_for(&mut self, requests: usize) {
        while self.queue.len() < requests {
            self.script.says(self.peer, &Message::Choke);
            self.reads();
            self.script.says(self.peer, &Message::Unchoke);
            self.reads();
        }
    }

    /// Answers everything after all; how many blocks were of use.
    fn answers(&mut self) -> usize {
        let mut stored = 0;
        while let Some(block) = self.queue.pop_front() {
            stored += usize::from(self.script.gives(self.peer, block) == BlockOutcome::Stored);
        }
        stored
    }

    /// How many blocks that it was never asked for it may send.
    fn may_make_up(&mut self) -> usize {
        let unasked = BlockRequest { begin: 1, ..whole(63, 0) };
        let fates = (0..10_000).map(|_| {
            let fate = self.script.swarm.block_head(self.script.now, self.peer, unasked);
            self.script.swarm.block(self.script.now, self.peer, unasked);
            fate
        });
        let fates: Vec<_> = fates.take_while(|fate| *fate == Ok(BlockFate::Discard)).collect();
        let more = self.script.swarm.block_head(self.script.now, self.peer, unasked);
        assert_eq!(more, Err(Fault::Unrequested));
        fates.len()
    }
}

#[test]
fn a_block_is_welcome_however_late_it_comes() {
    for hello in [plain(1), fast(1)] {
        let mut late = Late::joins(hello);
        late.seconds_pass(3600);
        let asked = late.queue.len();
        assert!(asked > 2 * TOLERATED, "{asked}: asked again and again, of whom else");
        let blocks = late.queue.iter().collect::<std::collections::HashSet<_>>().len();
        assert_eq!(late.answers(), blocks, "each is of use once");
        assert_eq!(late.may_make_up(), TOLERATED, "what nobody asked for counts all the same");
    }
}

#[test]
fn no_answer_is_a_fault_however_many_requests_were_taken_back() {
    for (requests, minutes) in [(400, 5), (6000, 0), (6000, 5)] {
        let mut late = Late::joins(plain(1));
        late.chokes_until_asked_for(requests);
        late.seconds_pass(60 * minutes);
        assert!(late.answers() > 0);
        assert_eq!(late.may_make_up(), TOLERATED, "{requests} and {minutes} minutes");
    }
}

#[test]
fn who_owes_answers_may_send_no_more_blocks_than_it_owes() {
    let mut late = Late::joins(plain(1));
    late.chokes_until_asked_for(400);
    late.seconds_pass(300);
    let owed = late.queue.len();
    let made_up = late.may_make_up();
    assert!((TOLERATED..=owed + TOLERATED).contains(&made_up), "{made_up} of {owed}");
}

#[test]
fn every_request_may_be_rejected_however_many_were_given_up() {
    let mut late = Late::joins(fast(1));
    while late.queue.len() < 5000 {
        late.seconds_pass(60);
    }
    late.script.says(late.peer, &Message::Choke); // or it would be asked anew
    let asked: Vec<_> = late.queue.drain(..).collect();
    for block in &asked {
        late.script.says(late.peer, &Message::RejectRequest(*block));
    }
    let again = late.script.fault(late.peer, &Message::RejectRequest(asked[0]));
    assert_eq!(again, Fault::RejectedNothing);
}
