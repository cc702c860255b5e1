//! What is kept for the next start: our ids, and nodes to begin with. They are not believed: they
//! are asked first, and have a place when they answered.

use std::net::IpAddr;

use metainfo::bencode::{self, Encoder};

use crate::address::{Contact, Family, is_usable, put_contact, read_contacts};
use crate::dht::Dht;
use crate::id::Id;
use crate::secure::is_secure;

/// Nodes kept of each family; a table has about 150.
const NODES_MAX: usize = 300;

/// Ids kept, one for each socket.
const IDS_MAX: usize = 64;

#[derive(Debug, Default)]
pub(crate) struct Saved {
    ids: Vec<(Family, Id)>,
    pub(crate) contacts: Vec<Contact>,
}

impl Saved {
    /// An id for a socket of this family: one that fits its address, when that is known.
    pub(crate) fn take_id(&mut self, family: Family, ip: Option<IpAddr>) -> Option<Id> {
        let fits = |id: Id| ip.is_none_or(|ip| is_secure(id, ip));
        let at = self.ids.iter().position(|(of, id)| *of == family && fits(*id))?;
        Some(self.ids.remove(at).1)
    }

    fn read(bytes: &[u8]) -> Option<Self> {
        let limits = bencode::Limits { depth: 4, tokens: 32, bytes: 64 * 1024 };
        let tape = bencode::parse(bytes, limits).ok()?;
        let root = tape.root();
        let part = |key: &[u8]| root.get(key).and_then(|value| value.as_bytes()).unwrap_or(&[]);
        let mut saved = Self::default();
        let kinds: [(Family, &[u8], &[u8]); 2] =
            [(Family::V4, b"ids", b"nodes"), (Family::V6, b"ids6", b"nodes6")];
        for (family, ids, nodes) in kinds {
            let ids = part(ids).as_chunks::<20>().0.iter().take(IDS_MAX);
            saved.ids.extend(ids.map(|id| (family, Id(*id))));
            let nodes = read_contacts(part(nodes), family).take(NODES_MAX);
            saved.contacts.extend(nodes.filter(|contact| is_usable(contact.addr)));
        }
        root.dict().map(|_| saved)
    }
}

impl Dht {
    /// Takes what [`Self::export`] gave, before sockets are added. `with_ids`: our ids too, which
    /// no other program may have at the same time. Whether it could be read; if not, nothing is
    /// lost but time.
    pub fn import(&mut self, bytes: &[u8], with_ids: bool) -> bool {
        let mut saved = Saved::read(bytes);
        if let Some(saved) = saved.as_mut().filter(|_| !with_ids) {
            saved.ids.clear();
        }
        let is_good = saved.is_some();
        self.saved = saved.unwrap_or_default();
        is_good
    }

    /// What the next start should know. Nodes known from the last one stay in it until there are
    /// enough others.
    pub fn export(&self) -> Vec<u8> {
        let mut encoder = Encoder::new();
        encoder.begin_dict();
        let ids = |family| {
            let of_family = self.interfaces.values().filter(move |node| node.family() == family);
            of_family.take(IDS_MAX).flat_map(|node| node.id.0).collect::<Vec<u8>>()
        };
        let nodes = |family| {
            let now = self.interfaces.values().flat_map(|node| node.table.all());
            let before = self.saved.contacts.iter().copied();
            let mut seen = std::collections::BTreeSet::new();
            let mut nodes = Vec::new();
            now.chain(before)
                .filter(|contact| Family::of(contact.addr) == family && seen.insert(contact.addr))
                .take(NODES_MAX)
                .for_each(|contact| put_contact(&mut nodes, &contact));
            nodes
        };
        encoder.key(b"ids").bytes(&ids(Family::V4)).key(b"ids6").bytes(&ids(Family::V6));
        encoder.key(b"nodes").bytes(&nodes(Family::V4)).key(b"nodes6").bytes(&nodes(Family::V6));
        encoder.end().finish()
    }
}
