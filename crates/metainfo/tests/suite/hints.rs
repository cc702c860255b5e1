//! Hints of torrents that may have the same files (BEP 38).

use metainfo::{
    CreateOptions, CreatePayload, Edit, Format, Hints, InfoHash, InfoHashV2, Torrent, create,
};
use proptest::prelude::*;

fn made(similar: &[InfoHash], collections: &[&str]) -> Vec<u8> {
    let options = CreateOptions {
        piece_length: Some(16 * 1024),
        private: true,
        similar: similar.to_vec(),
        collections: collections.iter().map(|name| (*name).into()).collect(),
        ..CreateOptions::default()
    };
    let payload = CreatePayload::File { length: 5, executable: true };
    create(b"f", &payload, &[7; 20][..], &options).unwrap()
}

fn hints(bytes: &[u8]) -> Hints {
    Torrent::parse(bytes).unwrap().hints().clone()
}

#[test]
fn what_is_created_is_in_the_info_where_links_lead_to_it() {
    let (one, two) = (InfoHash([1; 20]), InfoHash([2; 20]));
    let bytes = made(&[one, two], &["series", "über"]);
    let expected =
        Hints { similar: vec![one, two], collections: vec!["series".into(), "über".into()] };
    assert_eq!(hints(&bytes), expected);
    let torrent = Torrent::parse(&bytes).unwrap();
    let magnet = torrent.magnet().parse().unwrap();
    let fetched = Torrent::from_info(&torrent.info_bytes, &magnet).unwrap();
    assert_eq!(*fetched.hints(), expected);
    assert_eq!(hints(&made(&[], &[])), Hints::default());
    let v2 = CreateOptions {
        format: Format::V2,
        collections: vec!["c".into()],
        similar: vec![one],
        ..CreateOptions::default()
    };
    let empty = CreatePayload::File { length: 0, executable: false };
    let v2 = create(b"f", &empty, metainfo::PieceHashes { v1: &[], v2: &[vec![]] }, &v2).unwrap();
    assert_eq!(hints(&v2).collections, ["c"]);
}

#[test]
fn those_around_the_info_are_edited_and_count_with_those_in_it() {
    let (one, two) = (InfoHash([1; 20]), InfoHash([2; 20]));
    let bytes = made(&[one], &["a"]);
    let edit = Edit {
        similar: Some(vec![two, one]),
        collections: Some(vec!["b".into()]),
        ..Edit::default()
    };
    let edited = edit.apply(&bytes).unwrap();
    assert_eq!(hints(&edited).similar, [two, one], "each once");
    assert_eq!(hints(&edited).collections, ["b", "a"]);
    let (before, after) = (Torrent::parse(&bytes).unwrap(), Torrent::parse(&edited).unwrap());
    assert_eq!(before.info_hash, after.info_hash);
    let none = Edit { similar: Some(vec![]), collections: Some(vec![]), ..Edit::default() };
    assert_eq!(none.apply(&edited).unwrap(), bytes, "those in the info stay");
}

#[test]
fn what_is_no_hint_is_passed_over_and_their_number_is_bounded() {
    let around = |similar: &str, collections: &str| {
        let bytes = made(&[], &[]);
        let rest = String::from_utf8_lossy(&bytes[1..bytes.len() - 1]).into_owned();
        let text = format!("d11:collections{collections}{rest}7:similar{similar}e");
        // Hashes are ASCII here.
        hints(text.replace('\u{fffd}', "\u{7}").as_bytes())
    };
    assert_eq!(around("i3e", "d1:a1:be"), Hints::default());
    assert_eq!(around("4:abcd", "5:hello"), Hints::default());
    let odd =
        format!("l3:abci5e20:{}32:{}le20:{}e", "x".repeat(20), "y".repeat(32), "x".repeat(20));
    let found = around(&odd, &format!("l0:i1e1:a1:a600:{}e", "z".repeat(600)));
    assert_eq!(found.similar, [InfoHash([b'x'; 20]), InfoHashV2([b'y'; 32]).truncated()]);
    assert_eq!(found.collections, ["a"]);
    let many: Vec<String> = (0..1000).map(|number| format!("20:{number:020}")).collect();
    let many = format!("l{}e", many.concat());
    let found = around(&many, &many);
    assert_eq!((found.similar.len(), found.collections.len()), (200, 200));
}

proptest! {
    #[test]
    fn any_hints_come_back(
        similar in prop::collection::btree_set(prop::array::uniform20(any::<u8>()), 0..20),
        collections in prop::collection::btree_set("[^\u{0}]{1,40}", 0..20),
    ) {
        let similar: Vec<_> = similar.into_iter().map(InfoHash).collect();
        let collections: Vec<_> = collections.into_iter().collect();
        let names: Vec<_> = collections.iter().map(String::as_str).collect();
        let inside = made(&similar, &names);
        prop_assert_eq!(hints(&inside), Hints { similar: similar.clone(), collections: collections.clone() });
        let edit = Edit {
            similar: Some(similar.clone()),
            collections: Some(collections.clone()),
            ..Edit::default()
        };
        let outside = edit.apply(&made(&[], &[])).unwrap();
        prop_assert_eq!(hints(&outside), Hints { similar, collections });
    }
}
