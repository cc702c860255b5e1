//! One line of a list, of whichever format:
//!
//! - an address, a range `A-B`, or a network `A/24`, and what follows `#` or `;` is a comment;
//! - `PeerGuardian`'s text format, `.p2p`: `name:1.2.3.4-1.2.3.9`;
//! - eMule's `.dat`: `001.002.003.004 - 001.002.003.255 , 000 , name`, whose number says how far the
//!   range is trusted.
//!
//! Numbers are decimal, also with zeros before them, as both formats write them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::BadLine;

/// eMule keeps away whose level is lower.
const ALLOWED_FROM: u32 = 128;
/// Bytes of the longest range: two IPv6 addresses with an IPv4 end each, and blanks around.
const RANGE_BYTES_MAX: usize = 120;

/// What a line says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Entry {
    /// From the first to the last, both included.
    V4(u32, u32),
    V6(u128, u128),
    /// A range that its level lets in.
    Allowed,
}

/// `None` for a comment or an empty line.
pub(super) fn parse(line: &[u8]) -> Result<Option<Entry>, BadLine> {
    let text = String::from_utf8_lossy(line);
    let text = text.trim();
    if text.is_empty() || text.starts_with(['#', ';']) || text.starts_with("//") {
        return Ok(None);
    }
    if let Some((range, rest)) = text.split_once(',')
        && let Some(entry) = range_of(range)
    {
        let level = rest.split(',').next().unwrap_or_default().trim();
        let level: u32 = level.parse().map_err(|_| BadLine::Level)?;
        return entry.map(|entry| Some(if level < ALLOWED_FROM { entry } else { Entry::Allowed }));
    }
    let bare = text.split(['#', ';']).next().unwrap_or_default();
    if let Some(entry) = range_of(bare) {
        return entry.map(Some);
    }
    named_range(text).map(Some)
}

/// `name:range`. Names have colons too, and so have IPv6 addresses: the longest range wins.
fn named_range(text: &str) -> Result<Entry, BadLine> {
    let mut failure = BadLine::NoRange;
    for (at, _) in text.match_indices(':') {
        let Some(range) = text.get(at + 1..).filter(|range| range.len() <= RANGE_BYTES_MAX) else {
            continue;
        };
        match range_of(range) {
            Some(Ok(entry)) => return Ok(entry),
            // The end of an IPv6 address with its beginning cut off may look like something.
            Some(Err(reason)) if failure == BadLine::NoRange => failure = reason,
            _ => {}
        }
    }
    Err(failure)
}

/// `A`, `A-B` or `A/bits`; `None` when it is nothing of that kind.
fn range_of(text: &str) -> Option<Result<Entry, BadLine>> {
    let text = text.trim();
    if let Some((first, bits)) = text.split_once('/') {
        let (first, bits) = (address(first)?, bits.trim());
        return Some(match bits.parse() {
            Ok(bits) => network(first, bits),
            Err(_) => Err(BadLine::Prefix),
        });
    }
    let (first, last) = match text.split_once('-') {
        Some((first, last)) => (address(first)?, address(last)?),
        None => (address(text)?, address(text)?),
    };
    Some(match (first, last) {
        (IpAddr::V4(first), IpAddr::V4(last)) if first <= last => {
            Ok(Entry::V4(first.into(), last.into()))
        }
        (IpAddr::V6(first), IpAddr::V6(last)) if first <= last => {
            Ok(Entry::V6(first.into(), last.into()))
        }
        (IpAddr::V4(_), IpAddr::V4(_)) | (IpAddr::V6(_), IpAddr::V6(_)) => Err(BadLine::Reversed),
        _ => Err(BadLine::Mixed),
    })
}

/// All addresses with the same first bits.
fn network(ip: IpAddr, bits: u32) -> Result<Entry, BadLine> {
    let longest = if ip.is_ipv4() { u32::BITS } else { u128::BITS };
    if bits > longest {
        return Err(BadLine::Prefix);
    }
    Ok(match ip {
        IpAddr::V4(ip) => {
            let hosts = u32::MAX.checked_shr(bits).unwrap_or(0);
            let first = u32::from(ip) & !hosts;
            Entry::V4(first, first | hosts)
        }
        IpAddr::V6(ip) => {
            let hosts = u128::MAX.checked_shr(bits).unwrap_or(0);
            let first = u128::from(ip) & !hosts;
            Entry::V6(first, first | hosts)
        }
    })
}

/// An IPv4 address in IPv6 clothes is taken for what it is.
fn address(text: &str) -> Option<IpAddr> {
    let text = text.trim();
    if text.contains(':') {
        return text.parse::<Ipv6Addr>().ok().map(|ip| IpAddr::V6(ip).to_canonical());
    }
    let mut parts = text.split('.').map(|part| {
        let digits =
            (1..=3).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_digit());
        part.parse::<u8>().ok().filter(|_| digits)
    });
    let octets = [parts.next()??, parts.next()??, parts.next()??, parts.next()??];
    parts.next().is_none().then(|| Ipv4Addr::from(octets).into())
}
