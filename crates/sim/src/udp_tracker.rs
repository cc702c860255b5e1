//! The tracker's side of BEP 15, in front of the registry that answers over HTTP too: what the real
//! client's side of it talks to in a simulated world.

use std::fmt::Write;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use tracker::http::parse_announce;
use tracker::server::Registry;

use crate::content::scramble;

const PROTOCOL_ID: u64 = 0x0417_2710_1980;
const CONNECT: u32 = 0;
const ANNOUNCE: u32 = 1;
const ERROR: u32 = 3;
/// A connection id is good for this minute and the next (BEP 15).
const LIFETIME_SECONDS: u64 = 60;
const EVENTS: [&str; 4] = ["", "completed", "started", "stopped"];

/// Answers a datagram; `None` for what is no request.
pub(crate) fn answer(
    registry: &mut Registry,
    now: Duration,
    remote: SocketAddr,
    packet: &[u8],
) -> Option<Vec<u8>> {
    let minute = now.as_secs() / LIFETIME_SECONDS;
    let (action, transaction) = (u32_at(packet, 8)?, packet.get(12..16)?);
    let id = packet.first_chunk().map(|id| u64::from_be_bytes(*id))?;
    let answers =
        |action: u32, rest: &[u8]| Some([&action.to_be_bytes(), transaction, rest].concat());
    match action {
        CONNECT if id == PROTOCOL_ID => {
            answers(CONNECT, &connection_id(remote, minute).to_be_bytes())
        }
        ANNOUNCE
            if [minute, minute.saturating_sub(1)]
                .map(|m| connection_id(remote, m))
                .contains(&id) =>
        {
            let target = target(packet)?;
            let (_, body) = registry.handle_http(now, remote, &target);
            let Ok(reply) = parse_announce(&body) else { return answers(ERROR, b"not here") };
            let counts = [reply.interval.as_secs() as u32, reply.leechers?, reply.seeders?];
            let mut rest: Vec<u8> = counts.iter().flat_map(|count| count.to_be_bytes()).collect();
            for peer in reply.peers.iter().filter(|peer| peer.is_ipv4() == remote.is_ipv4()) {
                match peer.ip() {
                    IpAddr::V4(ip) => rest.extend(ip.octets()),
                    IpAddr::V6(ip) => rest.extend(ip.octets()),
                }
                rest.extend(peer.port().to_be_bytes());
            }
            answers(ANNOUNCE, &rest)
        }
        ANNOUNCE => answers(ERROR, b"connection id mismatch"),
        _ => None,
    }
}

/// The announce as the registry reads it over HTTP.
fn target(packet: &[u8]) -> Option<String> {
    let escaped = |from: usize| {
        packet.get(from..from + 20).map(|bytes| {
            bytes.iter().fold(String::new(), |mut text, byte| {
                let _ = write!(text, "%{byte:02x}"); // a string takes anything
                text
            })
        })
    };
    let left = u64::from_be_bytes(packet.get(64..72)?.try_into().ok()?);
    let event = EVENTS.get(u32_at(packet, 80)? as usize)?;
    let numwant = u32_at(packet, 92)?;
    let port = u16::from_be_bytes(packet.get(96..98)?.try_into().ok()?);
    Some(format!(
        "/announce?info_hash={}&peer_id={}&port={port}&left={left}&event={event}&numwant={numwant}&compact=1",
        escaped(16)?,
        escaped(36)?
    ))
}

fn u32_at(packet: &[u8], at: usize) -> Option<u32> {
    packet.get(at..at + 4)?.try_into().ok().map(u32::from_be_bytes)
}

/// What only who receives at that address can know.
fn connection_id(remote: SocketAddr, minute: u64) -> u64 {
    let ip = match remote.ip() {
        IpAddr::V4(ip) => u64::from(ip.to_bits()),
        IpAddr::V6(ip) => ip.to_bits() as u64,
    };
    scramble(scramble(ip) ^ minute)
}

#[cfg(test)]
mod tests {
    use metainfo::InfoHash;
    use tracker::server::ServerLimits;

    use super::*;

    #[test]
    fn a_connection_id_is_of_one_address_and_two_minutes() {
        let mut registry = Registry::new(ServerLimits { open: true, ..ServerLimits::default() }, 1);
        registry.allow(InfoHash([7; 20]));
        let at = |minute: u64| Duration::from_secs(60 * minute);
        let [one, other] = [[10, 0, 0, 1], [10, 0, 0, 2]].map(|ip| SocketAddr::from((ip, 5)));
        let connect = [&PROTOCOL_ID.to_be_bytes()[..], &[0, 0, 0, 0, 1, 2, 3, 4]].concat();
        let id = answer(&mut registry, at(5), one, &connect).unwrap();
        assert_eq!(id[..8], [0, 0, 0, 0, 1, 2, 3, 4]);
        let rest = [&[7; 20][..], &[b'x'; 20], &[0; 24], &[0, 0, 0, 2], &[0; 12], &[9, 9]].concat();
        let announce = [&id[8..], &[0, 0, 0, 1, 5, 6, 7, 8], &rest].concat();
        let mut action =
            |minute, from| answer(&mut registry, at(minute), from, &announce).unwrap()[3];
        assert_eq!([action(5, one), action(6, one), action(7, one)], [1, 1, 3]);
        assert_eq!(action(5, other), 3);
        assert_eq!(answer(&mut registry, at(5), one, &connect[..15]), None);
    }
}
