//! Changing what stands around a torrent's `info` (BEP 3, 12, 19, 38), and not one byte of it or of what
//! nobody here knows: the torrent stays the same, by another address.

use std::collections::BTreeMap;

use crate::bencode::{self, Encoder, Limits};
use crate::{InfoHash, Torrent, TorrentError};

/// What becomes of a value that may be there or not.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Change<T> {
    /// It stays.
    #[default]
    Keep,
    /// It goes.
    Remove,
    /// This instead.
    Set(T),
}

/// What is to change.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Edit {
    /// Announce URLs in tiers (BEP 12) instead of all that there are; none at all takes them away.
    pub trackers: Option<Vec<Vec<String>>>,
    /// HTTP sources (BEP 19), as above.
    pub web_seeds: Option<Vec<String>>,
    /// Torrents that may have the same files (BEP 38), as above. Those in `info` stay.
    pub similar: Option<Vec<InfoHash>>,
    /// Collections that it belongs to (BEP 38), as above.
    pub collections: Option<Vec<String>>,
    /// Free text.
    pub comment: Change<String>,
    /// The program.
    pub created_by: Change<String>,
    /// Seconds since 1970.
    pub creation_date: Change<i64>,
}

impl Edit {
    /// A .torrent file's bytes with these changes. Keys come out sorted, all values that are not
    /// changed as they were.
    ///
    /// # Errors
    /// What [`Torrent::parse`] says of the file.
    pub fn apply(&self, torrent: &[u8]) -> Result<Vec<u8>, TorrentError> {
        let before = Torrent::parse(torrent)?;
        let tape = bencode::parse(torrent, Limits::default())?;
        let pairs = tape.root().dict().ok_or(TorrentError::NotADictionary)?;
        let mut values: BTreeMap<&[u8], Vec<u8>> =
            pairs.map(|(key, value)| (key, value.raw().to_vec())).collect();
        let mut set = |key: &'static [u8], value: Option<Vec<u8>>| {
            match value {
                Some(value) => values.insert(key, value),
                None => values.remove(key),
            };
        };
        if let Some(tiers) = &self.trackers {
            let mut urls = tiers.iter().flatten();
            set(b"announce", urls.next().map(|url| text(url)));
            set(b"announce-list", urls.next().map(|_| lists(tiers)));
        }
        if let Some(urls) = &self.web_seeds {
            let value = match urls.as_slice() {
                [] => None,
                [one] => Some(text(one)),
                many => Some(list(many)),
            };
            set(b"url-list", value);
        }
        if let Some(hashes) = &self.similar {
            set(b"similar", strings(hashes.iter().map(|hash| &hash.0[..])));
        }
        if let Some(names) = &self.collections {
            set(b"collections", strings(names.iter().map(String::as_bytes)));
        }
        if self.comment != Change::Keep {
            set(b"comment.utf-8", None); // it would be read first
        }
        let words = [
            (&b"comment"[..], self.comment.raw(|comment| text(comment))),
            (b"created by", self.created_by.raw(|program| text(program))),
            (b"creation date", self.creation_date.raw(|date| Encoder::new().int(*date).finish())),
        ];
        for (key, change) in words {
            match change {
                Change::Keep => {}
                Change::Remove => set(key, None),
                Change::Set(value) => set(key, Some(value)),
            }
        }
        let mut out = Encoder::new();
        out.begin_dict();
        for (key, value) in values {
            out.key(key).raw(&value);
        }
        let bytes = out.end().finish();
        let after = Torrent::parse(&bytes)?;
        debug_assert_eq!(before.info_bytes, after.info_bytes);
        Ok(bytes)
    }
}

impl<T> Change<T> {
    fn raw(&self, encode: impl Fn(&T) -> Vec<u8>) -> Change<Vec<u8>> {
        match self {
            Self::Keep => Change::Keep,
            Self::Remove => Change::Remove,
            Self::Set(value) => Change::Set(encode(value)),
        }
    }
}

fn text(text: &str) -> Vec<u8> {
    Encoder::new().bytes(text.as_bytes()).finish()
}

/// `None` for none.
fn strings<'a>(strings: impl ExactSizeIterator<Item = &'a [u8]>) -> Option<Vec<u8>> {
    if strings.len() == 0 {
        return None;
    }
    let mut out = Encoder::new();
    out.begin_list();
    for string in strings {
        out.bytes(string);
    }
    Some(out.end().finish())
}

fn list(urls: &[String]) -> Vec<u8> {
    let mut out = Encoder::new();
    out.begin_list();
    for url in urls {
        out.bytes(url.as_bytes());
    }
    out.end().finish()
}

fn lists(tiers: &[Vec<String>]) -> Vec<u8> {
    let mut out = Encoder::new();
    out.begin_list();
    for tier in tiers.iter().filter(|tier| !tier.is_empty()) {
        out.raw(&list(tier));
    }
    out.end().finish()
}
