//! The HTTP tracker protocol (BEP 3): URLs to ask, and bodies to read, without the HTTP between.
//!
//! The driver sends the GET, follows few redirects (asking [`crate::may_contact`] each time),
//! inflates and bounds the body, and hands it to [`parse_announce`] or [`parse_scrape`]; after a
//! status that is not a success, to [`refusal`], since the body may still hold the reason.

use std::fmt::Write;
use std::net::IpAddr;
use std::time::Duration;

use metainfo::bencode::{self, Kind, Limits, Node, Tape};
use metainfo::{InfoHash, percent_encode};

use crate::announce::{
    AnnounceReply, AnnounceRequest, INTERVAL_DEFAULT, INTERVAL_MAX, NAMED_PEERS_MAX, ReplyError,
    Retry, ScrapeCounts, ScrapeReply, TRACKER_ID_BYTES_MAX, count,
};
use crate::text::printable;
use crate::tracker_url::{UrlError, parse};

/// Longest DNS name (RFC 1035).
const HOST_NAME_BYTES_MAX: usize = 253;

/// The URL of an announce: `base`, its own query kept as it is, with the request's parameters
/// appended (BEP 3, 23). `info_hash` and `peer_id` are percent-encoded raw bytes.
pub fn announce_url(base: &str, request: &AnnounceRequest) -> Result<String, UrlError> {
    let mut url = http_base(base)?;
    push_key(&mut url, "info_hash");
    percent_encode(request.info_hash.as_bytes(), &mut url);
    push_key(&mut url, "peer_id");
    percent_encode(&request.peer_id, &mut url);
    let AnnounceRequest { port, uploaded, downloaded, left, numwant, key, .. } = request;
    // Writing to a String cannot fail.
    let _ = write!(
        url,
        "&port={port}&uploaded={uploaded}&downloaded={downloaded}&left={left}\
         &compact=1&numwant={numwant}&key={key:08x}"
    );
    if let Some(event) = request.event.name() {
        push_key(&mut url, "event");
        url.push_str(event);
    }
    if let Some(tracker_id) = &request.tracker_id {
        push_key(&mut url, "trackerid");
        percent_encode(tracker_id, &mut url);
    }
    Ok(url)
}

/// The URL of a scrape of `info_hashes` (BEP 48): `None` unless the last part of `base`'s path
/// starts with `announce`, which is replaced by `scrape`.
pub fn scrape_url(base: &str, info_hashes: &[InfoHash]) -> Option<String> {
    let mut url = parse(base).ok().filter(|url| url.scheme() != "udp")?;
    let (folder, last) = url.path().rsplit_once('/')?;
    let path = format!("{folder}/scrape{}", last.strip_prefix("announce")?);
    url.set_path(&path);
    let mut url = String::from(url);
    for info_hash in info_hashes {
        push_key(&mut url, "info_hash");
        percent_encode(info_hash.as_bytes(), &mut url);
    }
    Some(url)
}

/// Reads the body of an announce answer. Compact and dictionary peers are both understood, at
/// any time; bytes after the dictionary are ignored, since some servers add a line end.
pub fn parse_announce(body: &[u8]) -> Result<AnnounceReply, ReplyError> {
    let tape = parse_body(body)?;
    let reply = accepted(tape.root())?;
    let seconds = |key: &[u8]| {
        let value = reply.get(key).and_then(|node| node.as_int())?;
        Some(Duration::from_secs(u64::try_from(value).unwrap_or(0)))
    };
    let mut parsed = AnnounceReply::with_interval(seconds(b"interval").unwrap_or(INTERVAL_DEFAULT));
    parsed.min_interval = seconds(b"min interval").map(|min| min.min(INTERVAL_MAX));
    parsed.seeders = count_at(reply, b"complete");
    parsed.leechers = count_at(reply, b"incomplete");
    parsed.external_ip = bytes_at(reply, b"external ip").and_then(ip_from_bytes);
    parsed.tracker_id = bytes_at(reply, b"tracker id")
        .filter(|id| (1..=TRACKER_ID_BYTES_MAX).contains(&id.len()))
        .map(<[u8]>::to_vec);
    parsed.warning = bytes_at(reply, b"warning message").map(printable);
    if let Some(peers) = reply.get(b"peers") {
        match peers.as_bytes() {
            Some(bytes) => parsed.add_compact_v4(records::<6>("peers", bytes)?),
            None => add_listed_peers(&mut parsed, peers),
        }
    }
    if let Some(bytes) = bytes_at(reply, b"peers6") {
        parsed.add_compact_v6(records::<18>("peers6", bytes)?);
    }
    Ok(parsed)
}

/// Reads the body of a scrape answer (BEP 48).
pub fn parse_scrape(body: &[u8]) -> Result<ScrapeReply, ReplyError> {
    let tape = parse_body(body)?;
    let files = accepted(tape.root())?.get(b"files").ok_or(ReplyError::NoFiles)?;
    let mut reply = ScrapeReply::default();
    for (key, torrent) in files.dict().ok_or(ReplyError::NoFiles)? {
        let Ok(hash) = <[u8; 20]>::try_from(key) else {
            continue;
        };
        let counts = ScrapeCounts {
            complete: count_at(torrent, b"complete"),
            downloaded: count_at(torrent, b"downloaded"),
            incomplete: count_at(torrent, b"incomplete"),
        };
        reply.torrents.push((InfoHash(hash), counts));
    }
    Ok(reply)
}

/// The error of an answer whose HTTP `status` is not a success: the tracker's own reason when
/// the body has one, else the status.
pub fn refusal(status: u16, body: &[u8]) -> ReplyError {
    match parse_body(body).and_then(|tape| accepted(tape.root()).map(|_| ())) {
        Err(refused @ ReplyError::Refused { .. }) => refused,
        _ => ReplyError::Status { status },
    }
}

/// `base` without fragment, ending where a parameter can be appended.
fn http_base(base: &str) -> Result<String, UrlError> {
    let url = parse(base)?;
    if url.scheme() == "udp" {
        let scheme = url.scheme().to_owned();
        return Err(UrlError::Scheme { scheme });
    }
    Ok(url.into())
}

/// Appends `?key=` or `&key=`, as `url` needs.
fn push_key(url: &mut String, key: &str) {
    if !url.contains('?') {
        url.push('?');
    } else if !url.ends_with(['?', '&']) {
        url.push('&');
    }
    url.push_str(key);
    url.push('=');
}

fn parse_body(body: &[u8]) -> Result<Tape<'_>, ReplyError> {
    let body = body.trim_ascii_start();
    match body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body) {
        [] => Err(ReplyError::Empty),
        [b'<', ..] => Err(ReplyError::Html),
        body => match bencode::parse_prefix(body, Limits::network()) {
            Ok((tape, _)) => Ok(tape),
            Err(error) => Err(ReplyError::NotBencode(error)),
        },
    }
}

/// The reply's dictionary, unless it is a refusal (BEP 3, 31).
fn accepted<'t, 'a>(root: Node<'t, 'a>) -> Result<Node<'t, 'a>, ReplyError> {
    if root.kind() != Kind::Dict {
        return Err(ReplyError::NotDictionary);
    }
    // BEP 48 spells the key with an underscore.
    let reason = bytes_at(root, b"failure reason").or_else(|| bytes_at(root, b"failure_reason"));
    match reason {
        Some(reason) => Err(ReplyError::refused(reason, retry(root))),
        None => Ok(root),
    }
}

/// BEP 31 `retry in`: minutes, or the word `never`.
fn retry(refusal: Node<'_, '_>) -> Retry {
    let Some(value) = refusal.get(b"retry in") else {
        return Retry::Default;
    };
    if value.as_bytes() == Some(b"never") {
        return Retry::Never;
    }
    // Some trackers write the number as a string.
    let text = || value.as_str().and_then(|text| text.parse().ok());
    match value.as_int().or_else(text).map(u64::try_from) {
        Some(Ok(minutes @ 1..)) => {
            Retry::After(Duration::from_secs(minutes.saturating_mul(60)).min(INTERVAL_MAX))
        }
        _ => Retry::Default,
    }
}

fn bytes_at<'a>(dict: Node<'_, 'a>, key: &[u8]) -> Option<&'a [u8]> {
    dict.get(key).and_then(|node| node.as_bytes())
}

fn count_at(dict: Node<'_, '_>, key: &[u8]) -> Option<u32> {
    dict.get(key).and_then(|node| node.as_int()).and_then(count)
}

fn ip_from_bytes(bytes: &[u8]) -> Option<IpAddr> {
    let v4 = <[u8; 4]>::try_from(bytes).map(IpAddr::from);
    let v6 = || <[u8; 16]>::try_from(bytes).map(IpAddr::from);
    v4.or_else(|_| v6()).ok().map(|ip| ip.to_canonical())
}

/// `bytes`, when they are whole records of `N`.
fn records<'a, const N: usize>(key: &'static str, bytes: &'a [u8]) -> Result<&'a [u8], ReplyError> {
    match bytes.as_chunks::<N>() {
        (_, []) => Ok(bytes),
        _ => Err(ReplyError::WrongLength { key, length: bytes.len(), record: N }),
    }
}

/// The original form (BEP 3): a list of dictionaries. One bad entry does not spoil the others.
fn add_listed_peers(reply: &mut AnnounceReply, peers: Node<'_, '_>) {
    for peer in peers.list().into_iter().flatten() {
        let port = peer.get(b"port").and_then(|port| port.as_int());
        let (Some(host), Some(Ok(port))) = (bytes_at(peer, b"ip"), port.map(u16::try_from)) else {
            continue;
        };
        let Ok(host) = str::from_utf8(host) else {
            continue;
        };
        if let Ok(ip) = host.parse() {
            reply.add_peer(ip, port);
        } else if port != 0 && reply.named_peers.len() < NAMED_PEERS_MAX && is_host_name(host) {
            reply.named_peers.push((host.to_owned(), port));
        }
    }
}

fn is_host_name(host: &str) -> bool {
    let part = |part: &str| {
        (1..=63).contains(&part.len())
            && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b))
    };
    host.len() <= HOST_NAME_BYTES_MAX && host.split('.').all(part)
}

#[cfg(test)]
mod tests;
