//! Local service discovery (BEP 14): the datagram by which a client tells its network what it has.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use metainfo::InfoHash;

/// The groups that are told and listened to.
pub const LOCAL_GROUP_V4: (Ipv4Addr, u16) = (Ipv4Addr::new(239, 192, 152, 143), 6771);
/// The same for IPv6, of the site.
pub const LOCAL_GROUP_V6: (Ipv6Addr, u16) =
    (Ipv6Addr::new(0xff15, 0, 0, 0, 0, 0, 0xefc0, 0x988f), 6771);

/// Torrents that one datagram names: more would not fit into a packet of 1,400 bytes.
pub const LOCAL_TORRENTS_MAX: usize = 20;
/// Torrents taken from one. Others may pack more tightly.
const TAKEN_MAX: usize = 32;
/// Bytes of the largest that is looked at.
const BYTES_MAX: usize = 2048;
/// Bytes of a cookie.
const COOKIE_BYTES_MAX: usize = 64;

const FIRST_LINE: &str = "BT-SEARCH * HTTP/1.1";

/// What one client says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalSearch {
    /// Where it accepts connections, on the address that the datagram came from.
    pub port: u16,
    /// What it has or wants.
    pub info_hashes: Vec<InfoHash>,
    /// By which it knows its own datagrams when it hears them.
    pub cookie: Option<String>,
}

impl LocalSearch {
    /// As it is sent to `group`.
    pub fn encode(&self, group: SocketAddr) -> Vec<u8> {
        let hashes = self.info_hashes.iter().map(|info_hash| format!("Infohash: {info_hash}\r\n"));
        let cookie = self.cookie.iter().map(|cookie| format!("cookie: {cookie}\r\n"));
        let mut out = format!("{FIRST_LINE}\r\nHost: {group}\r\nPort: {}\r\n", self.port);
        out.extend(hashes.chain(cookie));
        out.push_str("\r\n\r\n");
        out.into_bytes()
    }

    /// From a datagram; `None` if it is none of these, or names no port or no torrent. What it has
    /// besides is skipped.
    pub fn decode(datagram: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(datagram.get(..BYTES_MAX).unwrap_or(datagram)).ok()?;
        let mut lines = text.split('\n').map(|line| line.trim_end_matches('\r'));
        if lines.next()? != FIRST_LINE {
            return None;
        }
        let (mut port, mut info_hashes, mut cookie) = (None, Vec::new(), None);
        for line in lines {
            let Some((name, value)) = line.split_once(':') else { continue };
            let value = value.trim();
            match name.trim().to_ascii_lowercase().as_str() {
                "port" => port = value.parse().ok().filter(|port| *port != 0),
                "infohash" if info_hashes.len() < TAKEN_MAX => {
                    info_hashes.extend(value.parse::<InfoHash>());
                }
                "cookie" if value.len() <= COOKIE_BYTES_MAX => cookie = Some(value.to_string()),
                _ => {}
            }
        }
        let port = port.filter(|_| !info_hashes.is_empty())?;
        Some(Self { port, info_hashes, cookie })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HASH: &str = "0123456789abcdef0123456789abcdef01234567";

    #[test]
    fn the_format_of_the_bep() {
        let search = LocalSearch {
            port: 6881,
            info_hashes: vec![HASH.parse().unwrap()],
            cookie: Some("name of client".into()),
        };
        let datagram = search.encode(SocketAddr::from(LOCAL_GROUP_V4));
        let expected = format!(
            "BT-SEARCH * HTTP/1.1\r\nHost: 239.192.152.143:6771\r\nPort: 6881\r\nInfohash: {HASH}\r\n\
             cookie: name of client\r\n\r\n\r\n"
        );
        assert_eq!(String::from_utf8(datagram.clone()).unwrap(), expected);
        assert_eq!(LocalSearch::decode(&datagram), Some(search));
        let v6 = SocketAddr::from(LOCAL_GROUP_V6);
        assert_eq!(v6.to_string(), "[ff15::efc0:988f]:6771");
    }

    #[test]
    fn names_in_any_case_and_lines_that_nobody_knows() {
        let datagram = format!(
            "BT-SEARCH * HTTP/1.1\nHOST: x\nPORT:9\ninfohash:{HASH}\nInfohash: zz\nX: y\nnothing\n"
        );
        let search = LocalSearch::decode(datagram.as_bytes()).unwrap();
        assert_eq!((search.port, search.info_hashes.len(), search.cookie), (9, 1, None));
    }

    #[test]
    fn what_says_nothing_is_nothing() {
        let with = |rest: &str| format!("BT-SEARCH * HTTP/1.1\r\n{rest}\r\n\r\n").into_bytes();
        for rest in [
            "Port: 6881".to_string(),
            format!("Infohash: {HASH}"),
            format!("Port: 0\r\nInfohash: {HASH}"),
            format!("Port: 70000\r\nInfohash: {HASH}"),
        ] {
            assert_eq!(LocalSearch::decode(&with(&rest)), None, "{rest}");
        }
        let other = format!("M-SEARCH * HTTP/1.1\r\nPort: 1\r\nInfohash: {HASH}\r\n");
        assert_eq!(LocalSearch::decode(other.as_bytes()), None);
        assert_eq!(LocalSearch::decode(&[0xff; 100]), None);
    }

    #[test]
    fn a_full_one_fits_into_a_packet_and_a_flood_is_cut() {
        let hash = |number: usize| InfoHash([number as u8; 20]);
        let full = LocalSearch {
            port: 65_535,
            info_hashes: (0..LOCAL_TORRENTS_MAX).map(hash).collect(),
            cookie: Some("0123456789abcdef".into()),
        };
        assert!(full.encode(SocketAddr::from(LOCAL_GROUP_V6)).len() <= 1400);
        let flood = LocalSearch { info_hashes: (0..5000).map(hash).collect(), ..full };
        let taken = LocalSearch::decode(&flood.encode(SocketAddr::from(LOCAL_GROUP_V4))).unwrap();
        assert!(taken.info_hashes.len() <= TAKEN_MAX);
    }

    proptest! {
        #[test]
        fn any_datagram_is_read_or_refused(bytes: Vec<u8>, rest: String) {
            LocalSearch::decode(&bytes);
            let text = format!("{FIRST_LINE}\r\nPort: 1\r\nInfohash: {HASH}\r\n{rest}");
            LocalSearch::decode(text.as_bytes());
        }
    }
}
