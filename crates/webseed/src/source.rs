//! From a web seed's URL to that of a part. BEP 19: a URL that ends in `/` is a folder, which the
//! torrent's name is appended to; a torrent of many files always lies in one. BEP 17: the script is
//! told the torrent, the piece and the range.

use std::collections::HashMap;
use std::fmt::Write;

use metainfo::{Info, InfoHash};

use crate::{Part, Place, Wanted};

/// How a server is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// It has files (BEP 19, `url-list`).
    Files,
    /// It has a script that gives parts of pieces (BEP 17, `httpseeds`).
    Pieces,
}

/// One web seed of a torrent.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Source {
    /// As the torrent has it.
    pub url: String,
    /// How it is asked.
    pub kind: Kind,
}

/// What one request asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// Whom.
    pub url: String,
    /// First and last byte for a `Range` header.
    pub range: Option<(u64, u64)>,
    /// What the answer has to be.
    pub wanted: Wanted,
}

/// Names of files as the torrent has them, where those on our disk differ: a server has the former.
#[derive(Debug, Default)]
pub struct Names(HashMap<usize, String>);

impl Names {
    /// Those of a torrent.
    pub fn of(info: &Info) -> Self {
        let differing = info.names_as_written().into_iter();
        Self(differing.map(|(file, path)| (file, joined(path.iter().map(Vec::as_slice)))).collect())
    }

    /// A file's path, ready for a URL.
    fn path(&self, info: &Info, file: usize) -> Option<String> {
        let safe = || Some(joined(info.files().get(file)?.path.components()));
        self.0.get(&file).cloned().or_else(safe)
    }
}

impl Source {
    /// A name for people that gives no secret away: without user, password and query.
    pub fn shown(&self) -> String {
        let url = self.url.split(['?', '#']).next().unwrap_or_default();
        let Some((scheme, rest)) = url.split_once("://") else { return url.to_owned() };
        let (host, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let host = host.rsplit('@').next().unwrap_or_default();
        format!("{scheme}://{host}{path}")
    }

    /// The request for a part; `None` for padding, which needs none, and for what does not exist.
    pub fn request(
        &self,
        info: &Info,
        info_hash: InfoHash,
        names: &Names,
        part: &Part,
    ) -> Option<Request> {
        match part.place {
            Place::Pad => None,
            Place::File { file, offset } => {
                let whole = info.files().get(file)?.length;
                let last = offset.checked_add(part.length)?.checked_sub(1)?;
                let wanted = Wanted::Range { first: offset, last, whole };
                let url = self.file_url(info, names, file)?;
                Some(Request { url, range: Some((offset, last)), wanted })
            }
            Place::Piece { piece, begin } => {
                let mut url = self.url.clone();
                url.push(if url.contains('?') { '&' } else { '?' });
                url.push_str("info_hash=");
                for byte in info_hash.0 {
                    let _ = write!(url, "%{byte:02X}"); // a `String` takes all
                }
                let last = u64::from(begin).checked_add(part.length)?.checked_sub(1)?;
                let _ = write!(url, "&piece={piece}&ranges={begin}-{last}");
                Some(Request { url, range: None, wanted: Wanted::Body { length: part.length } })
            }
        }
    }

    fn file_url(&self, info: &Info, names: &Names, file: usize) -> Option<String> {
        let mut url = self.url.clone();
        if info.is_single_file() && !url.ends_with('/') {
            return Some(url);
        }
        if !url.ends_with('/') {
            url.push('/');
        }
        url.push_str(&names.path(info, file)?);
        Some(url)
    }
}

/// Components with everything encoded that is not unreserved (RFC 3986), byte for byte.
fn joined<'a>(components: impl Iterator<Item = &'a [u8]>) -> String {
    let mut path = String::new();
    for component in components {
        if !path.is_empty() {
            path.push('/');
        }
        for byte in component {
            match byte {
                b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                    path.push(char::from(*byte));
                }
                _ => {
                    let _ = write!(path, "%{byte:02X}");
                }
            }
        }
    }
    path
}
