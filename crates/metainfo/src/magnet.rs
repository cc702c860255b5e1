//! Magnet links (BEP 9, 53): a torrent's name, and hints where to begin looking for it.
//!
//! A link is text from a stranger. What it names at most is bounded, what it does not know is
//! skipped, and only a link without any usable hash is of no use.

use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;

use sha1::{Digest, Sha1};
use sha2::Sha256;

use crate::text::percent_decode;
use crate::{InfoHash, InfoHashV2};

/// Bytes of the longest link taken: room for every tracker there is.
const LINK_BYTES_MAX: usize = 64 * 1024;
/// Trackers, web seeds and peers kept of each: more is an attack on somebody.
const HINTS_MAX: usize = 200;
/// Ranges of `so` kept.
const RANGES_MAX: usize = 10_000;

/// The hashes a torrent goes by. At least one is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct InfoHashes {
    v1: Option<InfoHash>,
    v2: Option<InfoHashV2>,
}

impl InfoHashes {
    /// `None` when neither is given.
    pub fn new(v1: Option<InfoHash>, v2: Option<InfoHashV2>) -> Option<Self> {
        (v1.is_some() || v2.is_some()).then_some(Self { v1, v2 })
    }

    /// For a torrent that has been read: it is of one version at least.
    pub(crate) fn of(v1: Option<InfoHash>, v2: Option<InfoHashV2>) -> Self {
        Self { v1, v2 }
    }

    /// SHA-1 of the `info` value (BEP 3).
    pub fn v1(&self) -> Option<InfoHash> {
        self.v1
    }

    /// SHA-256 of the `info` value (BEP 52).
    pub fn v2(&self) -> Option<InfoHashV2> {
        self.v2
    }

    /// What handshakes, trackers and the DHT call it: the v1 hash or, without one, the first 20
    /// bytes of the v2 hash (BEP 52).
    pub fn on_the_wire(&self) -> InfoHash {
        self.v1.or(self.v2.map(|hash| hash.truncated())).unwrap_or(InfoHash([0; 20]))
    }

    /// Whether `info` is the value that every hash here stands for.
    pub fn verify(&self, info: &[u8]) -> bool {
        let v1 = self.v1.is_none_or(|hash| <[u8; 20]>::from(Sha1::digest(info)) == hash.0);
        v1 && self.v2.is_none_or(|hash| <[u8; 32]>::from(Sha256::digest(info)) == hash.0)
    }
}

/// One or both, as a person may search for them.
impl fmt::Display for InfoHashes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.v1, self.v2) {
            (Some(v1), Some(v2)) => write!(f, "{v1} and {v2}"),
            (_, Some(v2)) => v2.fmt(f),
            _ => self.on_the_wire().fmt(f),
        }
    }
}

/// A parsed magnet link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Magnet {
    /// What it is called on the network (`xt`).
    pub hashes: InfoHashes,
    /// What it is called by people, unescaped and unchecked (`dn`).
    pub name: Option<String>,
    /// Announce URLs (`tr`), each a tier of its own.
    pub trackers: Vec<String>,
    /// Peers to begin with, as host and port (`x.pe`).
    pub peers: Vec<(String, u16)>,
    /// HTTP sources (`ws`).
    pub web_seeds: Vec<String>,
    /// The files to fetch, by number (`so`, BEP 53); all when it names none.
    pub files: Vec<RangeInclusive<u32>>,
}

/// Why text is not a magnet link this client can use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MagnetError {
    /// It is something else.
    #[error("a magnet link begins with `magnet:?`")]
    NotAMagnet,
    /// Longer than any real one.
    #[error("a link of more than {LINK_BYTES_MAX} bytes")]
    TooLong,
    /// A `urn:btih:` that is neither 40 hexadecimal nor 32 base32 digits.
    #[error("`xt=urn:btih:` wants 40 hexadecimal or 32 base32 digits")]
    BadInfoHash,
    /// A `urn:btmh:` that is not a SHA-256 multihash.
    #[error("`xt=urn:btmh:` wants 1220 and 64 hexadecimal digits")]
    BadMultihash,
    /// Two hashes of one kind that differ.
    #[error("the link names two torrents")]
    TwoTorrents,
    /// No hash at all.
    #[error("the link names no torrent: `xt=urn:btih:` or `xt=urn:btmh:` is missing")]
    NoHash,
    /// `so` is not a list of numbers and ranges.
    #[error("`so` wants file numbers and ranges, as in `so=0,2,4-6`")]
    BadSelection,
}

impl FromStr for Magnet {
    type Err = MagnetError;

    fn from_str(link: &str) -> Result<Self, MagnetError> {
        if link.len() > LINK_BYTES_MAX {
            return Err(MagnetError::TooLong);
        }
        let query = match link.split_at_checked(8) {
            Some((scheme, query)) if scheme.eq_ignore_ascii_case("magnet:?") => query,
            _ => return Err(MagnetError::NotAMagnet),
        };
        let (mut v1, mut v2) = (None, None);
        let (mut name, mut trackers, mut peers) = (None, Vec::new(), Vec::new());
        let (mut web_seeds, mut files) = (Vec::new(), Vec::new());
        for (key, value) in query.split('&').filter_map(|pair| pair.split_once('=')) {
            // `tr.1`, `xt.2`: numbered ones mean the same.
            let key = match key.split_once('.') {
                Some((key, number)) if number.bytes().all(|b| b.is_ascii_digit()) => key,
                _ => key,
            };
            match key.to_ascii_lowercase().as_str() {
                "xt" => exact_topic(&percent_decode(value), &mut v1, &mut v2)?,
                "dn" if name.is_none() => name = Some(percent_decode(&value.replace('+', " "))),
                "tr" => add(&mut trackers, &percent_decode(value)),
                "ws" => add(&mut web_seeds, &percent_decode(value)),
                "x.pe" if peers.len() < HINTS_MAX => peers.extend(peer(&percent_decode(value))),
                "so" => selection(&percent_decode(value), &mut files)?,
                _ => {}
            }
        }
        let hashes = InfoHashes::new(v1, v2).ok_or(MagnetError::NoHash)?;
        Ok(Self { hashes, name, trackers, peers, web_seeds, files })
    }
}

fn add(list: &mut Vec<String>, url: &str) {
    let url = url.trim();
    if !url.is_empty() && list.len() < HINTS_MAX && !list.iter().any(|known| known == url) {
        list.push(url.to_string());
    }
}

/// Topics of other networks are skipped: a link may name the same content in several.
fn exact_topic(
    urn: &str,
    v1: &mut Option<InfoHash>,
    v2: &mut Option<InfoHashV2>,
) -> Result<(), MagnetError> {
    let Some((kind, digits)) = urn.split_at_checked(9) else { return Ok(()) };
    if kind.eq_ignore_ascii_case("urn:btih:") {
        let hash = digits.parse().ok().or_else(|| base32(digits)).ok_or(MagnetError::BadInfoHash);
        return one(v1, hash?);
    }
    if kind.eq_ignore_ascii_case("urn:btmh:") {
        let digits = digits.strip_prefix("1220").ok_or(MagnetError::BadMultihash)?;
        return one(v2, digits.parse().map_err(|_| MagnetError::BadMultihash)?);
    }
    Ok(())
}

fn one<T: PartialEq>(slot: &mut Option<T>, hash: T) -> Result<(), MagnetError> {
    match slot {
        Some(known) if *known != hash => Err(MagnetError::TwoTorrents),
        _ => {
            *slot = Some(hash);
            Ok(())
        }
    }
}

/// 32 digits of RFC 4648, either case.
fn base32(digits: &str) -> Option<InfoHash> {
    if digits.len() != 32 {
        return None;
    }
    let mut hash = [0; 20];
    // Eight digits are five bytes.
    for (bytes, digits) in hash.chunks_mut(5).zip(digits.as_bytes().as_chunks::<8>().0) {
        let mut bits: u64 = 0;
        for digit in digits {
            let value = match digit.to_ascii_uppercase() {
                letter @ b'A'..=b'Z' => letter.wrapping_sub(b'A'),
                number @ b'2'..=b'7' => number.wrapping_sub(b'2').wrapping_add(26),
                _ => return None,
            };
            bits = bits << 5 | u64::from(value);
        }
        bytes.copy_from_slice(bits.to_be_bytes().last_chunk::<5>()?);
    }
    Some(InfoHash(hash))
}

/// `host:port`; an IPv6 address is in brackets.
fn peer(text: &str) -> Option<(String, u16)> {
    let (host, port) = text.rsplit_once(':')?;
    let port = port.parse().ok().filter(|port| *port != 0)?;
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    (!host.is_empty() && host.len() <= 253).then(|| (host.to_string(), port))
}

fn selection(text: &str, files: &mut Vec<RangeInclusive<u32>>) -> Result<(), MagnetError> {
    let number = |text: &str| text.trim().parse::<u32>().map_err(|_| MagnetError::BadSelection);
    for part in text.split(',').take(RANGES_MAX) {
        let range = match part.split_once('-') {
            Some((first, last)) => number(first)?..=number(last)?,
            None => number(part)?..=number(part)?,
        };
        if range.is_empty() {
            return Err(MagnetError::BadSelection);
        }
        files.push(range);
    }
    Ok(())
}

#[cfg(test)]
mod tests;
