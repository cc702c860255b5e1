//! A node that plays whoever is closest to what is looked for, and tells of more such nodes at
//! addresses where nobody is.

use metainfo::bencode::{self, Encoder, Limits};

/// One liar.
pub(super) struct Liar {
    rng: fastrand::Rng,
}

impl Liar {
    pub(super) fn new(seed: u64) -> Self {
        Self { rng: fastrand::Rng::with_seed(seed) }
    }

    /// The lie that answers a query.
    pub(super) fn answer(&mut self, query: &[u8]) -> Option<Vec<u8>> {
        let tape = bencode::parse(query, Limits::network()).ok()?;
        let root = tape.root();
        let args = root.get(b"a")?;
        let wanted = args.get(b"target").or(args.get(b"info_hash")).or(args.get(b"id"))?;
        let wanted: [u8; 20] = wanted.as_bytes()?.try_into().ok()?;
        let mut nodes = Vec::new();
        for _ in 0..8 {
            nodes.extend(self.near(wanted));
            nodes.extend([self.rng.u8(11..90), self.rng.u8(..), self.rng.u8(..), 9, 9, 9]);
        }
        let mut reply = Encoder::new();
        reply.begin_dict().key(b"ip").bytes(&[6, 6, 6, 6, 6, 6]).key(b"r").begin_dict();
        reply.key(b"id").bytes(&self.near(wanted)).key(b"nodes").bytes(&nodes);
        reply.key(b"token").bytes(b"lie").key(b"values").begin_list();
        reply.bytes(&[9, 9, 9, self.rng.u8(..), 9, 9]).end().end();
        reply.key(b"t").bytes(root.get(b"t")?.as_bytes()?).key(b"y").bytes(b"r").end();
        Some(reply.finish())
    }

    /// An id so close that no honest node is closer.
    fn near(&mut self, wanted: [u8; 20]) -> [u8; 20] {
        let mut id = wanted;
        let (_, end) = id.split_at_mut(10);
        self.rng.fill(end);
        id
    }
}
