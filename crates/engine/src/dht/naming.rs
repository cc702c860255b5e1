//! Nodes to begin with that have a name, behind a proxy: only it looks names up, so it is sent a ping
//! for the name, and who answers that is the node.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

/// Pings whose answers are waited for; of more the oldest is forgotten.
const WAITING_MAX: usize = 32;
/// A name is asked for no sooner again: each family of addresses wants to begin, and nodes don't answer
/// who asks too much.
const AGAIN_AFTER: Duration = Duration::from_secs(2);
const TRANSACTION_BYTES: usize = 12;

/// The pings that were sent to names.
#[derive(Default)]
pub(super) struct Naming {
    waiting: VecDeque<[u8; TRANSACTION_BYTES]>,
    /// When which name was asked for: names that the program gave.
    asked: HashMap<String, Duration>,
}

impl Naming {
    /// Whether the name may be asked for now.
    pub(super) fn is_due(&mut self, name: &str, now: Duration) -> bool {
        if self.asked.get(name).is_some_and(|asked| now < *asked + AGAIN_AFTER) {
            return false;
        }
        self.asked.insert(name.to_owned(), now);
        true
    }

    /// A ping like no other; `None` when the system gives no randomness.
    pub(super) fn ping(&mut self) -> Option<Vec<u8>> {
        let mut random = [0; TRANSACTION_BYTES + 20];
        getrandom::fill(&mut random).ok()?;
        let (transaction, id) = random.split_first_chunk()?;
        if self.waiting.len() >= WAITING_MAX {
            self.waiting.pop_front();
        }
        self.waiting.push_back(*transaction);
        // Read-only (BEP 43), by an id that is used for nothing else.
        let parts = [b"d1:ad2:id20:", id, b"e1:q4:ping2:roi1e", &named(transaction), b"1:y1:qe"];
        Some(parts.concat())
    }

    /// Whether a packet answers one of them, which nobody can who did not get it.
    pub(super) fn is_answer(&mut self, packet: &[u8]) -> bool {
        let answered = |transaction: &[u8; TRANSACTION_BYTES]| {
            let name = named(transaction);
            packet.windows(name.len()).any(|part| part == name)
        };
        match self.waiting.iter().position(answered) {
            Some(index) => self.waiting.remove(index).is_some(),
            None => false,
        }
    }
}

/// How a packet says which transaction it is of.
fn named(transaction: &[u8; TRANSACTION_BYTES]) -> Vec<u8> {
    [b"1:t12:", &transaction[..]].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_not_asked_for_twice_at_once() {
        let (mut naming, start) = (Naming::default(), Duration::from_secs(9));
        assert!(naming.is_due("a.test:1", start) && naming.is_due("b.test:1", start));
        assert!(!naming.is_due("a.test:1", start + AGAIN_AFTER / 2));
        assert!(naming.is_due("a.test:1", start + AGAIN_AFTER));
    }

    #[test]
    fn only_the_answer_to_a_ping_counts_and_only_once() {
        let mut naming = Naming::default();
        let pings: Vec<_> = (0..=WAITING_MAX).map(|_| naming.ping().unwrap()).collect();
        let answer = |ping: &[u8]| {
            let at = ping.windows(6).rposition(|part| part == b"1:t12:").unwrap();
            let transaction = &ping[at..at + 6 + TRANSACTION_BYTES];
            [b"d1:rd2:id20:aaaaaaaaaaaaaaaaaaaae", transaction, b"1:y1:re"].concat()
        };
        assert!(!naming.is_answer(b"d1:rd2:id20:aaaaaaaaaaaaaaaaaaaae1:t12:aaaaaaaaaaaa1:y1:re"));
        assert!(!naming.is_answer(&answer(&pings[0])), "forgotten");
        assert!(naming.is_answer(&answer(&pings[1])));
        assert!(!naming.is_answer(&answer(&pings[1])));
        assert!(!naming.is_answer(b""));
        assert!(naming.is_answer(&answer(&pings[WAITING_MAX])));
    }
}
