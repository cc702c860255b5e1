//! What holds for every input.

use std::collections::HashSet;
use std::path::{Component, Path};

use metainfo::bencode::{self, Limits};
use metainfo::{BLOCK_LENGTH, PathRules, SafePath, Torrent};
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;

use crate::value::{PIECE, Value, bytes, dict, file, folder, info, int, strings, torrent};

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        any::<i64>().prop_map(Value::Int),
        vec(any::<u8>(), 0..12).prop_map(Value::Bytes)
    ];
    leaf.prop_recursive(6, 64, 6, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..6).prop_map(Value::List),
            btree_map(vec(any::<u8>(), 0..5), inner, 0..6).prop_map(Value::Dict)
        ]
    })
}

/// Bytes that get further into a bencode parser than random ones.
fn bencode_like() -> impl Strategy<Value = Vec<u8>> {
    let token = prop_oneof![
        Just(b"d".to_vec()),
        Just(b"l".to_vec()),
        Just(b"e".to_vec()),
        Just(b"i".to_vec()),
        Just(b"i7e".to_vec()),
        Just(b"1:a".to_vec()),
        Just(b"2:bb".to_vec()),
        Just(b"4:info".to_vec()),
        "[0-9]{1,21}:".prop_map(String::into_bytes),
        "-?[0-9]{1,21}e".prop_map(String::into_bytes),
        vec(any::<u8>(), 0..3),
    ];
    vec(token, 0..40).prop_map(|tokens| tokens.concat())
}

/// A torrent with most things in it, for changing.
fn rich() -> Vec<u8> {
    let link = file("link", 0).with("attr", bytes("l")).with("symlink path", strings(["a"]));
    let pad = dict([("attr", bytes("p")), ("length", int(100))]);
    let files = [file("a", 2 * PIECE - 100), pad, link, file("b/c", 0), file("a", 5)];
    torrent(folder(2 * PIECE + 5, files).with("private", int(1)))
        .with("announce", bytes("http://a/announce"))
        .with("announce-list", Value::List(vec![strings(["udp://b:1"])]))
        .with("url-list", strings(["http://seed/"]))
        .with("comment", bytes("hi"))
        .encode()
}

/// Asks everything there is to ask.
fn exercise(torrent: &Torrent) {
    let geometry = torrent.info.geometry();
    for file in torrent.info.files().iter().take(100) {
        assert_stays(&file.path);
        file.symlink_target.iter().for_each(assert_stays);
        assert!(file.end() <= geometry.total_length());
    }
    for piece in [0, 1, geometry.piece_count().saturating_sub(1), u32::MAX] {
        torrent.info.segments(piece, 0, u32::MAX).take(1000).for_each(drop);
        let _ = (torrent.info.files_of_piece(piece), torrent.info.piece_hash(piece));
    }
    let pads = torrent.info.pad_blocks().take(1000);
    pads.for_each(|(piece, block)| assert!(geometry.block_size(piece, block) > 0));
    let _ = (torrent.magnet(), torrent.info.name());
}

fn assert_stays(path: &SafePath) {
    let root = Path::new("/root/of/all");
    let full = path.under(root);
    let below = full.strip_prefix(root).expect("below the root");
    assert!(below.components().count() > 0);
    assert!(below.components().all(|part| matches!(part, Component::Normal(_))), "{path:?}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn decoding_undoes_encoding(value in value()) {
        let encoded = value.encode();
        let tape = bencode::parse(&encoded, Limits::network()).unwrap();
        prop_assert_eq!(Value::read(tape.root()), value);
        prop_assert!(tape.is_canonical());
        prop_assert_eq!(tape.root().raw(), &encoded[..]);
    }

    #[test]
    fn a_prefix_ends_where_the_value_does(value in value(), rest in vec(any::<u8>(), 0..20)) {
        let encoded = value.encode();
        let both = [&encoded[..], &rest].concat();
        let (tape, used) = bencode::parse_prefix(&both, Limits::network()).unwrap();
        prop_assert_eq!(used, encoded.len());
        prop_assert_eq!(Value::read(tape.root()), value);
    }

    #[test]
    fn canonical_means_that_encoding_again_gives_the_same(input in bencode_like()) {
        if let Ok(tape) = bencode::parse(&input, Limits::network()) {
            let again = Value::read(tape.root()).encode();
            prop_assert_eq!(tape.is_canonical(), again == input);
        }
    }

    #[test]
    fn arbitrary_bytes_never_panic(input in prop_oneof![vec(any::<u8>(), 0..200), bencode_like()]) {
        let _ = bencode::parse(&input, Limits::network());
        let _ = bencode::parse_prefix(&input, Limits { depth: 3, tokens: 9, bytes: 30 });
        let _ = Torrent::parse(&input);
    }

    #[test]
    fn changed_torrents_never_panic(
        changes in vec((any::<prop::sample::Index>(), any::<u8>(), 0_u8..3), 1..6),
    ) {
        let mut bytes = rich();
        for (index, byte, how) in changes {
            let at = index.index(bytes.len());
            match how {
                0 => bytes[at] = byte,
                1 => bytes.insert(at, byte),
                _ => drop(bytes.remove(at)),
            }
        }
        if let Ok(torrent) = Torrent::parse(&bytes) {
            exercise(&torrent);
        }
    }

    #[test]
    fn replaced_values_never_panic(key in 0_usize..9, value in value(), in_info in any::<bool>()) {
        let keys = [
            "name", "pieces", "piece length", "files", "length", "private", "announce-list",
            "url-list", "info",
        ];
        let tape_bytes = rich();
        let tape = bencode::parse(&tape_bytes, Limits::default()).unwrap();
        let mut root = Value::read(tape.root());
        if in_info {
            let info = Value::read(tape.root().get(b"info").unwrap());
            root = root.with("info", info.with(keys[key], value));
        } else {
            root = root.with(keys[key], value);
        }
        if let Ok(torrent) = Torrent::parse(&root.encode()) {
            exercise(&torrent);
        }
    }

    #[test]
    fn safe_paths_stay_under_their_root(
        names in vec(prop_oneof![
            vec(any::<u8>(), 0..300),
            "(\\.|/|\\\\|C:|CON|nul|\u{202e}|\0| |a){0,6}".prop_map(String::into_bytes),
        ], 0..6),
    ) {
        for rules in [PathRules::Posix, PathRules::Windows] {
            let Some(path) = SafePath::new(&names, rules) else {
                let structure = |name: &Vec<u8>| matches!(&name[..], b"" | b"." | b"..");
                prop_assert!(names.iter().all(structure));
                continue;
            };
            assert_stays(&path);
            for name in path.components() {
                prop_assert!(!name.is_empty() && name.len() <= 255 && name != b"." && name != b"..");
                prop_assert!(!name.contains(&b'\\') && !name.iter().any(|b| *b < 32));
                if rules == PathRules::Windows {
                    prop_assert!(!name.ends_with(b".") && !name.ends_with(b" "));
                    prop_assert!(!name.contains(&b':'));
                }
            }
            prop_assert_eq!(SafePath::new(path.components(), rules), Some(path), "safe is safe");
        }
    }

    #[test]
    fn files_never_share_a_path(paths in vec("[ab./]{0,4}( \\(2\\))?", 1..12)) {
        let files = paths.iter().map(|path| file(path, 0));
        let torrent = info(folder(0, files)).unwrap();
        let mut taken = HashSet::new();
        for file in torrent.files() {
            prop_assert!(taken.insert(file.path.display()), "{:?}", paths);
        }
        for path in &taken {
            let folder = format!("{path}/");
            prop_assert!(!taken.iter().any(|other| other.starts_with(&folder)), "{:?}", paths);
        }
    }

    #[test]
    fn segments_cover_each_piece_without_gap_or_overlap(
        lengths in vec(prop_oneof![Just(0_u64), 1_u64..50, 1_u64..200_000], 1..12),
        piece_length in prop_oneof![1_u64..100_000, Just(16 * 1024), Just(32 * 1024)],
        pads in vec(any::<bool>(), 12),
    ) {
        let total: u64 = lengths.iter().sum();
        prop_assume!(total / piece_length < 10_000);
        let files = lengths.iter().zip(&pads).enumerate().map(|(n, (length, pad))| {
            let file = file(&n.to_string(), *length);
            if *pad { file.with("attr", bytes("p")) } else { file }
        });
        let torrent = folder(1, files)
            .with("piece length", int(piece_length.cast_signed()))
            .with("pieces", bytes(vec![0; total.div_ceil(piece_length) as usize * 20]));
        let torrent = info(torrent).unwrap();
        let geometry = torrent.geometry();
        let mut pad_blocks = HashSet::new();
        let mut at = 0;
        for piece in 0..geometry.piece_count() {
            let files = torrent.files_of_piece(piece);
            for block in 0..geometry.block_count(piece) {
                let size = geometry.block_size(piece, block);
                let mut only_pads = true;
                let mut left = u64::from(size);
                for segment in torrent.segments(piece, block * BLOCK_LENGTH, size) {
                    let file = &torrent.files()[segment.file];
                    prop_assert_eq!(file.offset + segment.offset, at);
                    prop_assert!(segment.length > 0 && segment.offset + segment.length <= file.length);
                    prop_assert!(files.contains(&segment.file));
                    prop_assert!(torrent.pieces_of_file(segment.file).contains(&piece));
                    only_pads &= file.attributes.pad;
                    at += segment.length;
                    left -= segment.length;
                }
                prop_assert_eq!(left, 0);
                if only_pads {
                    pad_blocks.insert((piece, block));
                }
            }
        }
        prop_assert_eq!(at, total);
        let named: Vec<_> = torrent.pad_blocks().collect();
        prop_assert_eq!(named.len(), pad_blocks.len());
        prop_assert_eq!(named.into_iter().collect::<HashSet<_>>(), pad_blocks);
    }
}
