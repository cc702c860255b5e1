//! Changes around `info`: nothing else of the file moves.

use metainfo::{Change, Edit, Torrent, TorrentError};
use proptest::prelude::*;

use crate::value::{Value, bytes, dict, int, single, strings};

/// With keys that nobody knows, words in two encodings, and an `info` with unsorted keys.
fn rich() -> Vec<u8> {
    let around = dict([
        ("announce", bytes("http://a/announce")),
        (
            "announce-list",
            Value::List(vec![strings(["http://a/announce"]), strings(["udp://b:1"])]),
        ),
        ("comment", bytes("old")),
        ("comment.utf-8", bytes("älter")),
        ("created by", bytes("somebody")),
        ("creation date", int(5)),
        ("info", int(0)),
        ("nodes", strings(["x"])),
        ("piece layers", dict([("\u{1}", bytes([0xff, 0xfe]))])),
        ("url-list", strings(["http://seed/"])),
        ("zz unknown", dict([("k", int(-3))])),
    ]);
    let mut info = single(5).encode();
    info.truncate(info.len() - 1);
    info.extend_from_slice(b"7:unknown1:x1:a2:\xff\0e");
    let whole = around.encode();
    let at = whole.windows(8).position(|part| part == b"4:infoi0").unwrap();
    [&whole[..at + 6], &info, &whole[at + 9..]].concat()
}

#[test]
fn no_change_is_the_same_bytes() {
    assert_eq!(Edit::default().apply(&rich()).unwrap(), rich());
    let error = Edit::default().apply(b"de").unwrap_err();
    assert_eq!(error, TorrentError::Missing("info"));
    assert!(Edit::default().apply(b"<html>").is_err());
}

#[test]
fn everything_can_be_set_and_taken_away() {
    let all = Edit {
        trackers: Some(vec![
            vec!["http://n/".into(), "http://o/".into()],
            vec!["http://p/".into()],
        ]),
        web_seeds: Some(vec!["http://s/".into(), "http://t/".into()]),
        similar: Some(vec![metainfo::InfoHash([3; 20])]),
        collections: Some(vec!["c".into()]),
        comment: Change::Set("new".into()),
        created_by: Change::Set("me".into()),
        creation_date: Change::Set(-7),
    };
    let before = Torrent::parse(&rich()).unwrap();
    let edited = all.apply(&rich()).unwrap();
    let torrent = Torrent::parse(&edited).unwrap();
    assert_eq!(torrent.info_bytes, before.info_bytes);
    assert_eq!(torrent.info_hash, before.info_hash);
    assert_eq!(Some(torrent.trackers), all.trackers);
    assert_eq!(Some(torrent.web_seeds), all.web_seeds);
    assert_eq!(
        (torrent.comment.as_deref(), torrent.created_by.as_deref()),
        (Some("new"), Some("me"))
    );
    assert_eq!(torrent.creation_date, Some(-7));
    assert!(edited.windows(20).any(|part| part == b"10:zz unknownd1:ki-3"));
    let none = Edit {
        trackers: Some(Vec::new()),
        web_seeds: Some(Vec::new()),
        similar: Some(vec![]),
        collections: Some(vec![]),
        comment: Change::Remove,
        created_by: Change::Remove,
        creation_date: Change::Remove,
    };
    let bare = none.apply(&edited).unwrap();
    let torrent = Torrent::parse(&bare).unwrap();
    assert!(torrent.trackers.is_empty() && torrent.web_seeds.is_empty());
    assert_eq!((torrent.comment, torrent.created_by, torrent.creation_date), (None, None, None));
    assert_eq!(torrent.info_bytes, before.info_bytes);
    let one = Edit { trackers: Some(vec![vec!["http://n/".into()]]), ..Edit::default() };
    let one = one.apply(&bare).unwrap();
    assert!(one.starts_with(b"d8:announce9:http://n/4:info"), "no list for one tracker");
}

fn change<T: Clone + std::fmt::Debug + 'static>(
    value: impl Strategy<Value = T> + 'static,
) -> impl Strategy<Value = Change<T>> {
    prop_oneof![Just(Change::Keep), Just(Change::Remove), value.prop_map(Change::Set)]
}

proptest! {
    #[test]
    fn the_info_and_what_is_unknown_never_change(
        tiers in prop::option::of(prop::collection::vec(prop::collection::vec("[a-z]{1,9}://x", 0..3), 0..3)),
        seeds in prop::option::of(prop::collection::vec("http://[a-z]{1,9}", 0..3)),
        comment in change(".{0,20}"),
        date in change(any::<i64>()),
    ) {
        let edit = Edit {
            trackers: tiers, web_seeds: seeds, comment, creation_date: date, ..Edit::default()
        };
        let edited = edit.apply(&rich()).unwrap();
        let (before, after) = (Torrent::parse(&rich()).unwrap(), Torrent::parse(&edited).unwrap());
        prop_assert_eq!(before.info_bytes, after.info_bytes);
        prop_assert_eq!(after.created_by, before.created_by);
        let unknown = &b"5:nodesl1:xe12:piece layersd1:\x012:\xff\xfee"[..];
        prop_assert!(edited.windows(unknown.len()).any(|part| part == unknown));
        if edit.trackers.is_none() {
            prop_assert_eq!(after.trackers, before.trackers);
        }
        prop_assert_eq!(edit.apply(&edited).unwrap(), edited, "once is enough");
    }
}
