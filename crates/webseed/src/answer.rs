//! What an answer is worth, by its head alone (RFC 9110): how many bytes of the body to skip and to
//! take, or why none of it is read.

use std::time::Duration;

use crate::Failure;

/// Bytes in front of what is wanted that are read in vain when a server ignores ranges: as many as
/// are taken, or this, whichever is more. Beyond, such a server costs more than it gives.
const SKIP_MAX: u64 = 1024 * 1024;
/// The longest that a server may send us away for.
const RETRY_MAX: Duration = Duration::from_hours(1);

/// The head of an answer. Header values are as they came.
#[derive(Debug, Clone, Copy, Default)]
pub struct Head<'a> {
    /// The status code.
    pub status: u16,
    /// Bytes of the body, if it says so.
    pub length: Option<u64>,
    /// `Content-Range`.
    pub range: Option<&'a [u8]>,
    /// `Content-Encoding`.
    pub encoding: Option<&'a [u8]>,
    /// `Retry-After`.
    pub retry_after: Option<&'a [u8]>,
}

/// What was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    /// Bytes of a file.
    Range {
        /// The first.
        first: u64,
        /// The last.
        last: u64,
        /// Bytes of the whole file.
        whole: u64,
    },
    /// A body of this length.
    Body {
        /// Bytes.
        length: u64,
    },
}

/// Which bytes of a body are of use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Body {
    /// That many first are not.
    pub skip: u64,
    /// That many then are. Fewer than wanted when the server gives less at a time.
    pub take: u64,
    /// More follows, which is not read: the connection can't be used again.
    pub leaves_rest: bool,
}

/// Judges a head.
///
/// # Errors
/// [`Failure`]: none of the body is of use.
pub fn judge(head: &Head<'_>, wanted: &Wanted) -> Result<Body, Failure> {
    match head.status {
        200 | 206 => {}
        404 | 410 => return Err(Failure::Missing { status: head.status }),
        416 => return Err(Failure::TooShort),
        401 | 403 => return Err(Failure::Denied { status: head.status }),
        429 | 503 => return Err(Failure::Busy { wait: head.retry_after.and_then(seconds) }),
        status => return Err(Failure::Status { status }),
    }
    let encoding = head.encoding.unwrap_or_default().trim_ascii();
    if !encoding.is_empty() && !encoding.eq_ignore_ascii_case(b"identity") {
        return Err(Failure::Encoded);
    }
    match (*wanted, head.status) {
        (Wanted::Range { first, last, whole }, 206) => part(head, first, last, whole),
        (Wanted::Range { first, last, whole }, _) => whole_body(head, first, last, whole),
        (Wanted::Body { length }, _) => {
            let given = head.length.unwrap_or(length);
            if given == length {
                Ok(Body { skip: 0, take: length, leaves_rest: false })
            } else {
                Err(Failure::WrongLength { wanted: length, given })
            }
        }
    }
}

fn part(head: &Head<'_>, first: u64, last: u64, whole: u64) -> Result<Body, Failure> {
    let range = head.range.and_then(content_range).ok_or(Failure::WrongRange)?;
    if let Some(given) = range.whole.filter(|given| *given != whole) {
        return Err(Failure::WrongLength { wanted: whole, given });
    }
    // A server may give less than it was asked for, but not something else.
    if range.first != first || range.last > last || range.last < first {
        return Err(Failure::WrongRange);
    }
    let take = range.last.saturating_sub(first).saturating_add(1);
    match head.length.filter(|given| *given != take) {
        Some(given) => Err(Failure::WrongLength { wanted: take, given }),
        None => Ok(Body { skip: 0, take, leaves_rest: false }),
    }
}

fn whole_body(head: &Head<'_>, first: u64, last: u64, whole: u64) -> Result<Body, Failure> {
    if let Some(given) = head.length.filter(|given| *given != whole) {
        return Err(Failure::WrongLength { wanted: whole, given });
    }
    let take = last.saturating_sub(first).saturating_add(1);
    if first > take.max(SKIP_MAX) {
        return Err(Failure::NoRanges);
    }
    Ok(Body { skip: first, take, leaves_rest: last.saturating_add(1) < whole })
}

struct ContentRange {
    first: u64,
    last: u64,
    whole: Option<u64>,
}

/// `bytes 0-99/1000`, or `/*` where the server does not know.
fn content_range(value: &[u8]) -> Option<ContentRange> {
    let value = std::str::from_utf8(value).ok()?.trim();
    let (unit, value) = value.split_once(char::is_whitespace)?;
    let (range, whole) = value.trim().split_once('/')?;
    let (first, last) = range.split_once('-')?;
    let whole = match whole.trim() {
        "*" => None,
        number => Some(number.parse().ok()?),
    };
    let range =
        ContentRange { first: first.trim().parse().ok()?, last: last.trim().parse().ok()?, whole };
    unit.eq_ignore_ascii_case("bytes").then_some(range)
}

/// Seconds to wait; the other form, a date, needs a clock that agrees with the server's.
fn seconds(value: &[u8]) -> Option<Duration> {
    let seconds = std::str::from_utf8(value).ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds).min(RETRY_MAX))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const WANTED: Wanted = Wanted::Range { first: 100, last: 199, whole: 1000 };

    fn answer(status: u16, length: u64, range: &str) -> Result<Body, Failure> {
        let range = Some(range.as_bytes()).filter(|range| !range.is_empty());
        judge(&Head { status, length: Some(length), range, ..Head::default() }, &WANTED)
    }

    #[test]
    fn a_range_is_the_one_that_was_asked_for_or_its_beginning() {
        let body = |take| Ok(Body { skip: 0, take, leaves_rest: false });
        assert_eq!(answer(206, 100, "bytes 100-199/1000"), body(100));
        assert_eq!(answer(206, 100, "Bytes 100-199/*"), body(100));
        assert_eq!(answer(206, 50, "bytes 100-149/1000"), body(50));
        for wrong in [
            "",
            "bytes */1000",
            "bytes 99-199/1000",
            "bytes 100-200/1000",
            "bytes 100-99/1000",
            "lines 100-199/1000",
            "bytes 100-199/x",
            "bytes -1-2/3",
        ] {
            assert_eq!(answer(206, 100, wrong), Err(Failure::WrongRange), "{wrong}");
        }
        let wrong = |wanted, given| Err(Failure::WrongLength { wanted, given });
        assert_eq!(answer(206, 100, "bytes 100-199/999"), wrong(1000, 999));
        assert_eq!(answer(206, 99, "bytes 100-199/1000"), wrong(100, 99));
    }

    #[test]
    fn a_whole_file_is_taken_when_what_is_wanted_is_near_its_start() {
        let skipped = Body { skip: 100, take: 100, leaves_rest: true };
        assert_eq!(answer(200, 1000, ""), Ok(skipped));
        assert_eq!(answer(200, 999, ""), Err(Failure::WrongLength { wanted: 1000, given: 999 }));
        let mib = 1024 * 1024;
        let (first, last) = (SKIP_MAX + 1, SKIP_MAX + 16 * 1024);
        let head = Head { status: 200, ..Head::default() };
        let far = Wanted::Range { first, last, whole: 100 * mib };
        assert_eq!(judge(&head, &far), Err(Failure::NoRanges));
        let long = Wanted::Range { first: 2 * mib, last: 4 * mib - 1, whole: 4 * mib };
        let to_the_end = Body { skip: 2 * mib, take: 2 * mib, leaves_rest: false };
        assert_eq!(judge(&head, &long), Ok(to_the_end));
    }

    #[test]
    fn each_refusal_has_a_name_and_a_next_step() {
        for (status, failure, of_one_file, is_final) in [
            (404, Failure::Missing { status: 404 }, true, false),
            (410, Failure::Missing { status: 410 }, true, false),
            (416, Failure::TooShort, true, false),
            (401, Failure::Denied { status: 401 }, true, false),
            (403, Failure::Denied { status: 403 }, true, false),
            (429, Failure::Busy { wait: None }, false, false),
            (500, Failure::Status { status: 500 }, false, false),
            (302, Failure::Status { status: 302 }, false, false),
        ] {
            assert_eq!(answer(status, 100, "bytes 100-199/1000"), Err(failure.clone()));
            assert_eq!(failure.is_of_one_file(), of_one_file, "{status}");
            assert_eq!(failure.is_final(), is_final, "{status}");
            assert!(!failure.next_step().is_empty());
        }
        let range: Option<&[u8]> = Some(b"bytes 100-199/1000");
        for (encoding, taken) in [("gzip", false), (" Identity ", true), ("", true)] {
            let encoding = Some(encoding.as_bytes());
            let head = Head { status: 206, length: Some(100), range, encoding, ..Head::default() };
            assert_eq!(judge(&head, &WANTED).is_ok(), taken, "{encoding:?}");
            assert!(taken || judge(&head, &WANTED) == Err(Failure::Encoded));
        }
        assert!(Failure::Encoded.is_final() && !Failure::Encoded.is_of_one_file());
    }

    #[test]
    fn a_script_gives_just_what_it_was_asked_for() {
        let wanted = Wanted::Body { length: 100 };
        let given = |length| judge(&Head { status: 200, length, ..Head::default() }, &wanted);
        let all = Body { skip: 0, take: 100, leaves_rest: false };
        assert_eq!((given(Some(100)), given(None)), (Ok(all), Ok(all)));
        let wrong = Failure::WrongLength { wanted: 100, given: 99 };
        assert_eq!(given(Some(99)), Err(wrong));
    }

    #[test]
    fn what_is_said_of_waiting_is_heard_and_bounded() {
        let wait = |value: &str| {
            let head = Head { status: 503, retry_after: Some(value.as_bytes()), ..Head::default() };
            judge(&head, &WANTED).unwrap_err()
        };
        assert_eq!(wait(" 7 "), Failure::Busy { wait: Some(Duration::from_secs(7)) });
        assert_eq!(wait("99999999999"), Failure::Busy { wait: Some(RETRY_MAX) });
        for other in ["", "-1", "Fri, 27 Nov 2026 12:00:00 GMT", "1e9"] {
            assert_eq!(wait(other), Failure::Busy { wait: None }, "{other}");
        }
    }

    proptest! {
        #[test]
        fn never_more_is_taken_than_was_asked_for(
            status in prop_oneof![Just(200u16), Just(206), 100..600u16],
            length in proptest::option::of(any::<u64>()),
            range in ".{0,30}|bytes [0-9]{1,20}-[0-9]{1,20}/[0-9*]{1,20}",
            (first, more, rest) in (0..u64::MAX / 4, 0..u64::MAX / 4, 0..u64::MAX / 4),
        ) {
            let (last, whole) = (first + more, first + more + 1 + rest);
            let head = Head { status, length, range: Some(range.as_bytes()), ..Head::default() };
            let wanted = Wanted::Range { first, last, whole };
            if let Ok(body) = judge(&head, &wanted) {
                prop_assert!(body.take >= 1 && body.take <= more + 1);
                prop_assert!(body.skip == 0 || body.skip == first);
                prop_assert!(status == 200 || status == 206);
            }
        }
    }
}
