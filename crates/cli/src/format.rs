//! Sizes, rates, times and untrusted text, for people.

use std::fmt::{Display, Write};
use std::time::Duration;

/// `1.5 GiB`
pub(crate) fn bytes(count: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if count < 1024 {
        return format!("{count} B");
    }
    let mut value = count as f64 / 1024.0;
    let mut units = UNITS.iter();
    let mut unit = units.next().unwrap_or(&"KiB");
    while value >= 1023.95 {
        let Some(next) = units.next() else { break };
        value /= 1024.0;
        unit = next;
    }
    format!("{value:.1} {unit}")
}

/// `1.5 MiB/s`
pub(crate) fn rate(bytes_per_second: u64) -> String {
    format!("{}/s", bytes(bytes_per_second))
}

/// `2h 05m`, `3m 07s`, `12s`
pub(crate) fn duration(time: Duration) -> String {
    let seconds = time.as_secs();
    match (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60, seconds % 60) {
        (0, 0, 0, s) => format!("{s}s"),
        (0, 0, m, s) => format!("{m}m {s:02}s"),
        (0, h, m, _) => format!("{h}h {m:02}m"),
        (d, h, ..) => format!("{d}d {h:02}h"),
    }
}

/// `00ff`
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}"); // writing to a String can't fail
        text
    })
}

/// Parses `300`, `64K`, `1M`, `1MiB`: bytes, in binary units.
pub(crate) fn parse_bytes(text: &str) -> Result<u64, String> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let shift = match unit.to_ascii_lowercase().trim_end_matches("ib").trim_end_matches('b') {
        "" => 0,
        "k" => 10,
        "m" => 20,
        "g" => 30,
        _ => return Err(format!("`{unit}` is no unit: use K, M or G")),
    };
    let number: u64 = number.parse().map_err(|_| "a number of bytes, such as 256K or 1M")?;
    number.checked_mul(1 << shift).ok_or_else(|| "too large".into())
}

/// Parses `90s`, `30m`, `2h`, `7d`.
pub(crate) fn parse_duration(text: &str) -> Result<Duration, String> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let seconds = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 86_400,
        _ => return Err("a time such as 90s, 30m, 2h or 7d".into()),
    };
    let number: u64 = number.parse().map_err(|_| "a time such as 90s, 30m, 2h or 7d")?;
    number.checked_mul(seconds).map(Duration::from_secs).ok_or_else(|| "too long".into())
}

/// `2026-11-23 12:00:00 UTC` of seconds since 1970.
pub(crate) fn date(unix_seconds: i64) -> String {
    let (days, seconds) = (unix_seconds.div_euclid(86_400), unix_seconds.rem_euclid(86_400));
    // The civil calendar from a day count: eras of 400 years that begin on 1 March.
    let shifted = days.saturating_add(719_468);
    let (era, day_of_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_index = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_index + 2) / 5 + 1;
    let month = if month_index < 10 { month_index + 3 } else { month_index - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02} UTC")
}

/// Text from a stranger: control and bidi characters are escaped, so that it can't drive a terminal
/// or pretend to be something else.
pub(crate) fn untrusted(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for character in text.chars() {
        if engine::metainfo::is_deceptive(character) {
            safe.extend(character.escape_default());
        } else {
            safe.push(character);
        }
    }
    safe
}

/// Lines for a terminal that may have a stranger's words in them: the same is escaped, but for the ends
/// of lines and tabs.
pub(crate) fn lines(text: impl Display) -> String {
    let text = text.to_string();
    let parts = text.split_inclusive(['\n', '\t']);
    let safe = parts.map(|part| match part.strip_suffix(['\n', '\t']) {
        Some(words) => untrusted(words) + part.get(words.len()..).unwrap_or_default(),
        None => untrusted(part),
    });
    safe.collect()
}

/// A JSON document on one line, which a terminal may be shown as well. What is escaped is within strings:
/// JSON has none of it elsewhere.
pub(crate) fn document(value: &serde_json::Value) -> String {
    let text = value.to_string();
    let mut safe = String::with_capacity(text.len());
    for character in text.chars() {
        if engine::metainfo::is_deceptive(character) {
            let mut units = [0; 2];
            for unit in character.encode_utf16(&mut units) {
                let _ = write!(safe, "\\u{unit:04x}"); // writing to a String can't fail
            }
        } else {
            safe.push(character);
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        for (count, text) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (1_048_575, "1.0 MiB"),
            (1 << 30, "1.0 GiB"),
            (u64::MAX, "16.0 EiB"),
        ] {
            assert_eq!(bytes(count), text);
        }
    }

    #[test]
    fn sizes_are_parsed_in_binary_units() {
        assert_eq!(parse_bytes("300"), Ok(300));
        assert_eq!(parse_bytes("64K"), Ok(65_536));
        assert_eq!(parse_bytes("1MiB"), Ok(1 << 20));
        assert_eq!(parse_bytes("2gb"), Ok(2 << 30));
        for bad in ["", "K", "1X", "99999999999G", "-1"] {
            assert!(parse_bytes(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn durations_are_parsed_with_their_unit() {
        for (text, seconds) in [("0s", 0), ("90s", 90), ("30m", 1800), ("2h", 7200), ("1d", 86_400)]
        {
            assert_eq!(parse_duration(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        for bad in ["", "5", "m", "-1s", "1.5h", "1w", "99999999999999999999d"] {
            assert!(parse_duration(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn dates_and_durations() {
        assert_eq!(date(0), "1970-01-01 00:00:00 UTC");
        assert_eq!(date(951_782_400), "2000-02-29 00:00:00 UTC");
        assert_eq!(date(-1), "1969-12-31 23:59:59 UTC");
        assert_eq!(duration(Duration::from_secs(7265)), "2h 01m");
        assert_eq!(duration(Duration::from_secs(187)), "3m 07s");
    }

    #[test]
    fn strangers_cannot_drive_the_terminal() {
        assert_eq!(untrusted("a\x1b[2Jb\u{202e}c\n"), "a\\u{1b}[2Jb\\u{202e}c\\n");
        assert_eq!(untrusted("Größe ✓"), "Größe ✓");
    }

    #[test]
    fn strangers_words_among_ours_cannot_either() {
        assert_eq!(
            lines("a\tb\n\x1b[2Jc\u{9b}\u{202e}\r\n"),
            "a\tb\n\\u{1b}[2Jc\\u{9b}\\u{202e}\\r\n"
        );
        assert_eq!(lines("one line"), "one line");
        assert_eq!(lines(""), "");
    }

    #[test]
    fn a_document_shows_nothing_but_itself_and_says_the_same() {
        let value =
            serde_json::json!({ "na\u{202e}me": "a\u{9b}2J\x7f\x1b[1m\n", "n": [1, "Größe ✓"] });
        let text = document(&value);
        assert!(!text.chars().any(engine::metainfo::is_deceptive), "{text}");
        assert!(text.contains("Größe ✓"));
        assert_eq!(serde_json::from_str::<serde_json::Value>(&text).unwrap(), value);
    }
}
