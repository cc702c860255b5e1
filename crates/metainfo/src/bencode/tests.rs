//! What the decoder takes, flags and refuses.

use super::*;

fn error(input: &[u8]) -> Error {
    parse(input, Limits::default()).unwrap_err()
}

#[test]
fn every_kind_with_its_span() {
    let input = b"d1:ai-12e1:bl3:xyzdee1:c0:e";
    let tape = parse(input, Limits::default()).unwrap();
    let root = tape.root();
    assert!(tape.is_canonical());
    assert_eq!(root.get(b"a").unwrap().as_int(), Some(-12));
    assert_eq!(root.get(b"b").unwrap().raw(), b"l3:xyzdee");
    let list: Vec<_> = root.get(b"b").unwrap().list().unwrap().map(|n| n.kind()).collect();
    assert_eq!(list, [Kind::Bytes, Kind::Dict]);
    assert_eq!(root.get(b"c").unwrap().as_str(), Some(""));
    assert!(root.get(b"d").is_none());
    assert_eq!(root.raw(), input);
}

#[test]
fn what_has_no_one_meaning_is_refused() {
    assert_eq!(error(b"i9223372036854775808e"), Error::Overflow { offset: 0 });
    assert_eq!(error(b"99999999999999999999:a"), Error::Overflow { offset: 0 });
    assert_eq!(error(b"18446744073709551615:a"), Error::Overflow { offset: 0 });
    assert_eq!(error(b"d1:ai0e1:ai0ee"), Error::DuplicateKey { offset: 7 });
    assert_eq!(error(b"d1:bi0e1:ai0e1:bi0ee"), Error::DuplicateKey { offset: 13 });
    assert_eq!(error(b"i0ei0e"), Error::Trailing { count: 3 });
    for bad in [&b"ie"[..], b"i-e", b"i1-e", b"e", b"d1:ae", b"di0ei0ee", b"x", b"1x", b"i 1e"] {
        assert!(matches!(error(bad), Error::Unexpected { .. }), "{bad:?}");
    }
}

#[test]
fn truncated_at_every_byte() {
    let input = b"d1:ai-12e1:bl3:xyzdee1:c0:e";
    for end in 0..input.len() {
        assert_eq!(error(&input[..end]), Error::Truncated, "{end}");
    }
}

#[test]
fn what_others_write_is_taken_and_flagged() {
    for odd in [&b"i-0e"[..], b"i03e", b"03:abc", b"d1:bi0e1:ai0ee"] {
        assert!(!parse(odd, Limits::default()).unwrap().is_canonical(), "{odd:?}");
    }
    assert_eq!(parse(b"i03e", Limits::default()).unwrap().root().as_int(), Some(3));
    assert_eq!(
        parse(b"i-9223372036854775808e", Limits::default()).unwrap().root().as_int(),
        Some(i64::MIN)
    );
}

#[test]
fn limits_hold() {
    let nested = vec![b'l'; 1_000_000];
    assert_eq!(error(&nested), Error::TooDeep { limit: 100 });
    let limits = Limits { tokens: 3, ..Limits::default() };
    assert_eq!(parse(b"li0ei0ei0ee", limits).unwrap_err(), Error::TooManyTokens { limit: 3 });
    let limits = Limits { bytes: 2, ..Limits::default() };
    assert!(matches!(parse(b"i0e", limits), Err(Error::TooLong { .. })));
}

#[test]
fn a_prefix_says_how_long_it_is() {
    let (tape, used) = parse_prefix(b"d1:ai1eeRAW", Limits::network()).unwrap();
    assert_eq!((used, tape.root().get(b"a").unwrap().as_int()), (8, Some(1)));
}

#[test]
fn a_value_that_reaches_past_the_limit_is_refused() {
    let limits = Limits { bytes: 4, ..Limits::network() };
    assert_eq!(
        parse_prefix(b"5:hello", limits).unwrap_err(),
        Error::TooLong { bytes: 7, limit: 4 }
    );
    assert_eq!(parse_prefix(b"2:hi and more", limits).unwrap().1, 4);
}

#[test]
fn the_token_limit_is_exact() {
    let limits = Limits { tokens: 4, ..Limits::default() };
    assert!(parse(b"li0ei0ei0ee", limits).is_ok());
    assert!(parse(b"d1:ai0e1:bi0ee", limits).is_err(), "keys count");
}

#[test]
fn the_depth_limit_is_exact() {
    let nested = |depth: usize| [vec![b'l'; depth], vec![b'e'; depth]].concat();
    assert!(parse(&nested(100), Limits::default()).is_ok());
    assert_eq!(error(&nested(101)), Error::TooDeep { limit: 100 });
}

#[test]
fn a_hundred_thousand_unsorted_keys_take_no_time() {
    let dict = |last: &str| {
        let mut input = b"d".to_vec();
        for key in (0..100_000).rev() {
            input.extend_from_slice(format!("6:{key:06}le").as_bytes());
        }
        input.extend_from_slice(format!("6:{last}lee").as_bytes());
        input
    };
    let input = dict("unique");
    let tape = parse(&input, Limits::default()).unwrap();
    assert!(!tape.is_canonical());
    assert_eq!(tape.root().get(b"000000").unwrap().kind(), Kind::List);
    let twice = dict("077777");
    let at = twice.len() - 11;
    assert_eq!(error(&twice), Error::DuplicateKey { offset: at });
}

#[test]
fn a_key_is_found_past_large_values() {
    let list = "i0e".repeat(1000);
    let input = format!("d1:al{list}e1:bi7ee");
    let tape = parse(input.as_bytes(), Limits::default()).unwrap();
    assert_eq!(tape.root().get(b"b").unwrap().as_int(), Some(7));
    assert_eq!(tape.root().get(b"a").unwrap().get(b"b").map(|node| node.kind()), None);
}

#[test]
fn asking_for_another_kind_gives_nothing() {
    let tape = parse(b"l1:\xffi1ee", Limits::default()).unwrap();
    let root = tape.root();
    let [bytes, int] = root.list().unwrap().collect::<Vec<_>>()[..] else { panic!("two values") };
    assert!(root.as_int().is_none() && root.as_bytes().is_none() && root.dict().is_none());
    assert!(bytes.as_int().is_none() && bytes.list().is_none() && bytes.as_str().is_none());
    assert!(int.as_bytes().is_none() && int.get(b"a").is_none());
}
