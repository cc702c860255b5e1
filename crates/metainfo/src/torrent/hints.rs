//! Hints of torrents that may have the same files (BEP 38): their info hashes, and collections that
//! torrents belong to. They stand outside of `info` or in it, and count together. Whoever wrote them may
//! be wrong, or lie: a hint says where to look, never what is there.

use crate::bencode::Node;
use crate::{InfoHash, InfoHashV2};

/// Hashes kept, and names: more is no hint.
const HINTS_MAX: usize = 200;
/// Bytes of a collection's name kept.
const NAME_BYTES_MAX: usize = 512;

/// Where else its files may be.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Hints {
    /// Torrents that may have files of this one. A v2 hash is cut to 20 bytes, as on the wire.
    pub similar: Vec<InfoHash>,
    /// Names that torrents share which may have the same files.
    pub collections: Vec<String>,
}

impl Hints {
    /// Those of `info` and of the dictionary around it. What is no hash and no name is passed over.
    pub(super) fn read(dictionaries: &[Node<'_, '_>]) -> Option<Box<Self>> {
        let mut hints = Self::default();
        for node in dictionaries {
            let list = |key| node.get(key).and_then(|list| list.list()).into_iter().flatten();
            for hash in list(b"similar").filter_map(|hash| info_hash(hash.as_bytes()?)) {
                add(&mut hints.similar, hash);
            }
            for name in list(b"collections").filter_map(|name| name.as_bytes()) {
                if !name.is_empty() && name.len() <= NAME_BYTES_MAX {
                    add(&mut hints.collections, String::from_utf8_lossy(name).into_owned());
                }
            }
        }
        (!hints.is_empty()).then(|| Box::new(hints))
    }

    /// Nothing is hinted at.
    pub fn is_empty(&self) -> bool {
        self.similar.is_empty() && self.collections.is_empty()
    }
}

fn add<T: PartialEq>(list: &mut Vec<T>, value: T) {
    if list.len() < HINTS_MAX && !list.contains(&value) {
        list.push(value);
    }
}

fn info_hash(bytes: &[u8]) -> Option<InfoHash> {
    let v1 = bytes.try_into().ok().map(InfoHash);
    v1.or_else(|| bytes.try_into().ok().map(|hash| InfoHashV2(hash).truncated()))
}
