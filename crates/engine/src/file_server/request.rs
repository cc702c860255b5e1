//! What a client asks for, in its own words: which part, by which name, and what kind of file it is.

use std::net::{Ipv4Addr, Ipv6Addr};

/// The part of a file that is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    /// All of it.
    Whole,
    /// From the first of these bytes to the last.
    Some { first: u64, last: u64 },
    /// Only what lies past its end.
    Nothing,
}

/// What a `Range` header asks for, of a file of `length` bytes. One that makes no sense, or that asks
/// for several parts, is as good as none: a server may send the whole (RFC 9110, 14.2).
pub(super) fn part(range: Option<&str>, length: u64) -> Part {
    let Some((unit, set)) = range.and_then(|range| range.split_once('=')) else {
        return Part::Whole;
    };
    let Some((first, last)) = set.trim().split_once('-') else { return Part::Whole };
    if !unit.trim().eq_ignore_ascii_case("bytes") {
        return Part::Whole;
    }
    match (position(first), position(last)) {
        // The last so many bytes.
        (None, Some(count)) if first.is_empty() => match (count.min(length), length) {
            (0, _) => Part::Nothing,
            (count, length) => Part::Some { first: length - count, last: length - 1 },
        },
        (Some(first), None) if last.is_empty() => from(first, u64::MAX, length),
        (Some(first), Some(last)) if first <= last => from(first, last, length),
        _ => Part::Whole,
    }
}

fn from(first: u64, last: u64, length: u64) -> Part {
    if first >= length { Part::Nothing } else { Part::Some { first, last: last.min(length - 1) } }
}

/// Digits alone; what is too large for the type is past the end of any file.
fn position(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().unwrap_or(u64::MAX))
}

/// Whether a `Host` header names this machine by an address, or as `localhost`. Any other name may be
/// a stranger's that leads here (DNS rebinding), which would make a page of theirs one of ours.
pub(super) fn is_trusted_host(host: &str) -> bool {
    let bare = match host.rsplit_once(':') {
        Some((bare, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => bare,
        _ => host,
    };
    let v6 = bare.strip_prefix('[').and_then(|inner| inner.strip_suffix(']'));
    match v6 {
        Some(v6) => v6.parse::<Ipv6Addr>().is_ok(),
        None => bare.eq_ignore_ascii_case("localhost") || bare.parse::<Ipv4Addr>().is_ok(),
    }
}

/// The media type that players expect for a name.
pub(super) fn media_type(name: &[u8]) -> &'static str {
    let dot = name.iter().rposition(|byte| *byte == b'.');
    let extension = dot.and_then(|dot| name.get(dot + 1..)).unwrap_or_default();
    let extension = String::from_utf8_lossy(extension).to_ascii_lowercase();
    match extension.as_str() {
        "mp4" | "m4v" => "video/mp4",
        "mkv" => "video/x-matroska",
        "webm" => "video/webm",
        "avi" => "video/x-msvideo",
        "mov" => "video/quicktime",
        "ts" | "m2ts" | "mts" => "video/mp2t",
        "mpg" | "mpeg" => "video/mpeg",
        "ogv" => "video/ogg",
        "wmv" => "video/x-ms-wmv",
        "flv" => "video/x-flv",
        "mp3" => "audio/mpeg",
        "m4a" | "m4b" => "audio/mp4",
        "flac" => "audio/flac",
        "ogg" | "oga" | "opus" => "audio/ogg",
        "wav" => "audio/wav",
        "aac" => "audio/aac",
        "srt" => "application/x-subrip",
        "vtt" => "text/vtt",
        "jpg" | "jpeg" => "image/jpeg",
        "png" => "image/png",
        "gif" => "image/gif",
        "webp" => "image/webp",
        "pdf" => "application/pdf",
        "epub" => "application/epub+zip",
        "zip" | "cbz" => "application/zip",
        "txt" | "nfo" | "md" => "text/plain; charset=utf-8",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts() {
        let some = |first, last| Part::Some { first, last };
        for (range, wanted) in [
            ("bytes=0-0", some(0, 0)),
            ("bytes=10-19", some(10, 19)),
            ("BYTES = 10-19", some(10, 19)),
            ("bytes=10-", some(10, 99)),
            ("bytes=10-1000", some(10, 99)),
            ("bytes=99-99999999999999999999999", some(99, 99)),
            ("bytes=-1", some(99, 99)),
            ("bytes=-1000", some(0, 99)),
            ("bytes=-0", Part::Nothing),
            ("bytes=100-", Part::Nothing),
            ("bytes=99999999999999999999999-", Part::Nothing),
            ("bytes=20-10", Part::Whole),
            ("bytes=0-1,5-6", Part::Whole),
            ("bytes=", Part::Whole),
            ("bytes=-", Part::Whole),
            ("bytes=+1-2", Part::Whole),
            ("lines=1-2", Part::Whole),
            ("10-20", Part::Whole),
            ("bytes=a-b", Part::Whole),
        ] {
            assert_eq!(part(Some(range), 100), wanted, "{range}");
        }
        assert_eq!(part(None, 100), Part::Whole);
        for range in ["bytes=0-", "bytes=-5", "bytes=0-0"] {
            assert_eq!(part(Some(range), 0), Part::Nothing, "{range} of nothing");
        }
    }

    #[test]
    fn any_range_lies_within_the_file() {
        let mut rng = fastrand::Rng::with_seed(7);
        let pieces = ["bytes", "=", "-", ",", " ", "0", "7", "42", "18446744073709551615", "x"];
        for _ in 0..20_000 {
            let count = rng.usize(0..8);
            let range: String = (0..count).map(|_| pieces[rng.usize(..pieces.len())]).collect();
            let range = if rng.bool() { format!("bytes={range}") } else { range };
            let length = [0, 1, 50, u64::MAX][rng.usize(..4)];
            if let Part::Some { first, last } = part(Some(&range), length) {
                assert!(first <= last && last < length, "{range} of {length}");
            }
        }
    }

    #[test]
    fn only_addresses_and_localhost_are_trusted() {
        for host in ["127.0.0.1", "127.0.0.1:80", "localhost:8080", "LOCALHOST", "[::1]:9", "[::1]"]
        {
            assert!(is_trusted_host(host), "{host}");
        }
        for host in [
            "",
            "evil.example",
            "evil.example:80",
            "localhost.evil.example",
            "127.0.0.1.nip.io",
            "127.0.0.1@evil.example",
            "[::1",
            "[]",
            "127.0.0.1:80:80",
            "localhost.",
            "0x7f000001",
        ] {
            assert!(!is_trusted_host(host), "{host}");
        }
    }

    #[test]
    fn media_types() {
        assert_eq!(media_type(b"a.film.MKV"), "video/x-matroska");
        for name in [&b"noextension"[..], b"", b".", b"x.", b"page.html", b"x.\xff\xfe"] {
            assert_eq!(media_type(name), "application/octet-stream");
        }
    }
}
