//! Web seeds: any torrent, any run of it, any answer. What is asked for lies in the files, is never
//! padding, and what is taken of an answer is never more than that.
#![no_main]

use libfuzzer_sys::fuzz_target;
use metainfo::Torrent;
use webseed::{Head, Kind, Names, Place, Source, Wanted, judge, parts};

fuzz_target!(|input: &[u8]| {
    // Numbers, then the header values in lines, then a torrent.
    let Some((numbers, rest)) = input.split_first_chunk::<20>() else { return };
    let number = |at: usize| u64::from_le_bytes(std::array::from_fn(|n| numbers[at + n]));
    let mut lines = rest.splitn(5, |byte| *byte == b'\n');
    let mut line = || lines.next().filter(|line| !line.is_empty());
    let (range, encoding, retry_after, url) = (line(), line(), line(), line());
    let status = u16::from_le_bytes([numbers[16], numbers[17]]) % 600;
    let length = Some(number(8)).filter(|_| numbers[18] & 1 == 0);
    let head = Head { status, length, range, encoding, retry_after };
    let url = String::from_utf8_lossy(url.unwrap_or_default()).into_owned();
    let first = number(0) >> 2;
    let wanted = Wanted::Range { first, last: first + 99, whole: first + 99 + (number(8) >> 2) };
    if let Ok(body) = judge(&head, &wanted) {
        assert!((1..=100).contains(&body.take) && (body.skip == 0 || body.skip == first));
    }
    let Ok(torrent) = Torrent::parse(lines.next().unwrap_or_default()) else { return };
    let (info, names) = (&torrent.info, Names::of(&torrent.info));
    let total = info.geometry().total_length();
    let start = number(0) % total.max(1);
    let end = start.saturating_add(number(8) % (4 << 20));
    for kind in [Kind::Files, Kind::Pieces] {
        let source = Source { url: url.clone(), kind };
        assert!(!source.shown().contains('?'));
        let mut at = start;
        for part in parts(info, kind, start, end) {
            assert!(part.length > 0);
            at += part.length;
            let request = source.request(info, torrent.info_hash, &names, &part);
            let Some(request) = request else {
                assert_eq!(part.place, Place::Pad);
                continue;
            };
            if let Wanted::Range { first, last, whole } = request.wanted {
                assert!(first <= last && last < whole);
                assert_eq!(request.range, Some((first, last)));
            }
            let said = &request.url[url.len()..];
            assert!(said.bytes().all(|byte| byte.is_ascii_graphic()), "{said}");
            if let Ok(body) = judge(&head, &request.wanted) {
                assert!(body.take <= part.length && body.take > 0);
            }
        }
        assert_eq!(at, end.min(total).max(start));
    }
});
