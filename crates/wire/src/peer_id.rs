//! Twenty bytes that name a peer, and the customs by which most clients name themselves (BEP 20).

use std::fmt;

/// A peer's id: any 20 bytes, unique to a session, never text.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PeerId(pub [u8; 20]);

/// Our own code and version (BEP 20, Azureus style): 0.1.0 is `0100`.
const OUR_PREFIX: &[u8; 8] = b"-PL0100-";

/// Two-letter codes of the Azureus style.
const AZUREUS: &[(&[u8; 2], &str)] = &[
    (b"AG", "Ares"),
    (b"AZ", "Azureus"),
    (b"BC", "BitComet"),
    (b"BI", "BiglyBT"),
    (b"BT", "BitTorrent"),
    (b"CD", "Enhanced CTorrent"),
    (b"CT", "CTorrent"),
    (b"DE", "Deluge"),
    (b"FD", "Free Download Manager"),
    (b"FL", "Flud"),
    (b"FW", "FrostWire"),
    (b"GT", "anacrolix/torrent"),
    (b"HL", "Halite"),
    (b"KG", "KGet"),
    (b"KT", "KTorrent"),
    (b"LH", "LH-ABC"),
    (b"LP", "Lphant"),
    (b"LT", "libtorrent"),
    (b"LW", "LimeWire"),
    (b"PI", "PicoTorrent"),
    (b"PL", "peerless"),
    (b"QD", "QQDownload"),
    (b"RN", "Rain"),
    (b"SD", "Thunder"),
    (b"TB", "Torch"),
    (b"TL", "Tribler"),
    (b"TR", "Transmission"),
    (b"TT", "TuoTu"),
    (b"TX", "Tixati"),
    (b"UE", "uTorrent Embedded"),
    (b"UM", "uTorrent Mac"),
    (b"UT", "uTorrent"),
    (b"UW", "uTorrent Web"),
    (b"VG", "Vagaa"),
    (b"WD", "WebTorrent Desktop"),
    (b"WW", "WebTorrent"),
    (b"XF", "Xfplay"),
    (b"XL", "Xunlei"),
    (b"ZO", "Zona"),
    (b"lt", "rTorrent"),
    (b"qB", "qBittorrent"),
    (b"rQ", "rqbit"),
    (b"st", "SharkTorrent"),
];

impl PeerId {
    /// An id of ours; `random` gives each of its last 12 bytes.
    pub fn generate(mut random: impl FnMut() -> u8) -> Self {
        let mut id = [0; 20];
        let bytes = OUR_PREFIX.iter().copied().chain(std::iter::repeat_with(&mut random));
        id.iter_mut().zip(bytes).for_each(|(to, from)| *to = from);
        Self(id)
    }

    /// The client's name and version, where the id follows a custom we know.
    pub fn client_name(&self) -> Option<String> {
        self.azureus().or_else(|| self.dashed()).or_else(|| self.shadow())
    }

    /// `-XXvvvv-`
    fn azureus(&self) -> Option<String> {
        let [b'-', a, b, v1, v2, v3, v4, b'-', ..] = self.0 else {
            return None;
        };
        let digits = [v1, v2, v3, v4];
        if ![a, b].iter().chain(&digits).all(u8::is_ascii_alphanumeric) {
            return None;
        }
        let code = [a, b];
        let known = AZUREUS.iter().find(|(known, _)| **known == code);
        let name = known.map_or_else(|| text(&code), |(_, name)| (*name).to_string());
        let digit = |byte: u8| char::from(byte).to_digit(36).unwrap_or(0);
        let [d1, d2, d3, d4] = digits.map(digit);
        let version = match &code {
            // 3.00 is 3000, 4.0.5 is 4050: the major version changed the custom.
            b"TR" if d1 < 4 => format!("{d1}.{d2}{d3}"),
            _ if d4 == 0 => format!("{d1}.{d2}.{d3}"),
            _ => format!("{d1}.{d2}.{d3}.{d4}"),
        };
        Some(format!("{name} {version}"))
    }

    /// `M7-9-2--` (Mainline) and `A2-1-36-0-` (aria2)
    fn dashed(&self) -> Option<String> {
        let (name, rest) = match self.0.split_first_chunk::<3>()? {
            (b"A2-", rest) => ("aria2", rest),
            ([b'M', digit, b'-'], _) if digit.is_ascii_digit() => ("Mainline", self.0.get(1..)?),
            ([b'Q', digit, b'-'], _) if digit.is_ascii_digit() => ("Queen Bee", self.0.get(1..)?),
            _ => return None,
        };
        let numbers: Vec<String> = rest
            .split(|byte| *byte == b'-')
            .take(3)
            .take_while(|part| (1..=4).contains(&part.len()) && part.iter().all(u8::is_ascii_digit))
            .map(text)
            .collect();
        (!numbers.is_empty()).then(|| format!("{name} {}", numbers.join(".")))
    }

    /// `T03I--`: a letter, then version digits up to three dashes.
    fn shadow(&self) -> Option<String> {
        let (code, rest) = self.0.split_first()?;
        let name = match code {
            b'A' => "ABC",
            b'O' => "Osprey",
            b'R' => "Tribler",
            b'S' => "Shadow",
            b'T' => "BitTornado",
            b'U' => "UPnP NAT",
            _ => return None,
        };
        let digits = rest.iter().take_while(|byte| byte.is_ascii_alphanumeric()).count();
        let dashes = rest.get(digits..digits.saturating_add(2))?;
        if !(1..=5).contains(&digits) || dashes != b"--" {
            return None;
        }
        let version = rest.iter().take(digits).filter_map(|digit| char::from(*digit).to_digit(36));
        let version: Vec<String> = version.map(|digit| digit.to_string()).collect();
        Some(format!("{name} {}", version.join(".")))
    }

    /// The bytes as text, with everything that is not printable ASCII escaped.
    pub fn escaped(&self) -> String {
        text(&self.0)
    }
}

fn text(bytes: &[u8]) -> String {
    bytes.escape_ascii().to_string()
}

impl fmt::Display for PeerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for PeerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PeerId({})", self.escaped())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(prefix: &[u8]) -> Option<String> {
        let mut id = [b'x'; 20];
        id[..prefix.len()].copy_from_slice(prefix);
        PeerId(id).client_name()
    }

    #[test]
    fn known_clients() {
        for (prefix, expected) in [
            (&b"-TR3000-"[..], "Transmission 3.00"),
            (b"-TR4050-", "Transmission 4.0.5"),
            (b"-qB5100-", "qBittorrent 5.1.0"),
            (b"-LT2110-", "libtorrent 2.1.1"),
            (b"-lt0D80-", "rTorrent 0.13.8"),
            (b"A2-1-36-0-", "aria2 1.36.0"),
            (b"M7-9-2--", "Mainline 7.9.2"),
            (b"T03I----", "BitTornado 0.3.18"),
            (b"-WW0208-", "WebTorrent 0.2.0.8"),
            (b"-ZZ1234-", "ZZ 1.2.3.4"),
        ] {
            assert_eq!(name(prefix).as_deref(), Some(expected), "{prefix:?}");
        }
    }

    #[test]
    fn ids_without_a_custom_have_no_name() {
        assert_eq!(name(&[0xff; 20]), None);
        assert_eq!(name(b"-\x1b[2J--"), None, "escape sequences are not names");
        assert_eq!(name(b"A2-garbage"), None);
    }

    #[test]
    fn ours_is_recognised_and_random() {
        let mut next = 0;
        let id = PeerId::generate(|| {
            next += 1;
            next
        });
        assert_eq!(id.client_name().as_deref(), Some("peerless 0.1.0"));
        assert_eq!(id.0[8..], [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]);
        assert!(id.to_string().starts_with("2d504c303130302d0102"));
    }
}
