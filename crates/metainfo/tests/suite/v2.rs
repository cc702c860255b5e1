//! Torrents of v2 and hybrids (BEP 52): what is read, what is refused, and where bytes lie.

use std::sync::LazyLock;

use metainfo::merkle::{self, MerkleHash};
use metainfo::{BLOCK_LENGTH, Info, Magnet, Torrent, TorrentError};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::value::{PIECE, Value, bytes, dict, file, folder, info, int, parse, paths, strings};

/// The hash tree of a file of so many bytes, all of them `x`: its root and its piece layer.
fn tree(length: u64, piece_length: u64) -> (MerkleHash, Vec<MerkleHash>) {
    let content = vec![b'x'; length as usize];
    let leaves: Vec<_> = content.chunks(BLOCK_LENGTH as usize).map(merkle::leaf).collect();
    let root = merkle::root(&leaves, 0, merkle::height(leaves.len() as u64));
    let layer = merkle::piece_layer(piece_length as u32);
    let pieces = leaves.chunks(1 << layer).map(|piece| merkle::root(piece, 0, layer));
    (root, pieces.collect())
}

/// A file of a tree, without the name.
fn leaf(length: u64) -> Value {
    let properties = dict([("length", int(length.cast_signed()))]);
    if length == 0 {
        return dict([("", properties)]);
    }
    dict([("", properties.with("pieces root", bytes(tree(length, PIECE).0)))])
}

fn v2(piece_length: u64, tree: Value) -> Value {
    dict([
        ("file tree", tree),
        ("meta version", int(2)),
        ("name", bytes("t")),
        ("piece length", int(piece_length.cast_signed())),
    ])
}

/// The layers of files of these lengths.
fn layers(lengths: &[u64], piece_length: u64) -> Value {
    let mut all = dict([]);
    let Value::Dict(pairs) = &mut all else { unreachable!() };
    for length in lengths.iter().filter(|length| **length > piece_length) {
        let (root, layer) = tree(*length, piece_length);
        pairs.insert(root.to_vec(), bytes(layer.concat()));
    }
    all
}

fn torrent(info: Value, lengths: &[u64], piece_length: u64) -> Value {
    dict([("info", info), ("piece layers", layers(lengths, piece_length))])
}

fn refused(info: Value) -> TorrentError {
    parse(&dict([("info", info)])).unwrap_err()
}

/// A hybrid of `a` (40,000 bytes), `b` (none), `d/c` (5 bytes), in pieces of 32 KiB.
fn hybrid() -> Value {
    let pad = |length| file(".pad/1", length).with("attr", bytes("p"));
    let files = [file("a", 40_000), pad(25_536), file("b", 0), file("d/c", 5), pad(32_763)];
    let inner = dict([("c", leaf(5))]);
    v2(32_768, dict([("a", leaf(40_000)), ("b", leaf(0)), ("d", inner)]))
        .with("files", Value::List(files.to_vec()))
        .with("pieces", bytes([7; 60]))
}

#[test]
fn a_folder_of_files_that_each_begin_a_piece() {
    let inner = dict([("z", leaf(40_000)), ("é", leaf(1))]);
    let tree = dict([("a", leaf(32_768)), ("d", inner), ("e", leaf(0)), ("f", leaf(70_000))]);
    let lengths = [40_000, 70_000];
    let torrent = parse(&torrent(v2(32_768, tree), &lengths, 32_768)).unwrap();
    let info = &torrent.info;
    assert!(info.has_v2() && !info.has_v1() && !info.is_single_file());
    assert_eq!(paths(info), ["t/a", "t/d/z", "t/d/é", "t/e", "t/f"]);
    let places: Vec<_> = info.files().iter().map(|file| (file.offset, file.length)).collect();
    assert_eq!(
        places,
        [(0, 32_768), (32_768, 40_000), (98_304, 1), (131_072, 0), (131_072, 70_000)]
    );
    let geometry = info.geometry();
    assert_eq!((geometry.piece_count(), geometry.total_length()), (7, 142_769));
    let sizes: Vec<_> = (0..7).map(|piece| geometry.piece_size(piece)).collect();
    assert_eq!(sizes, [32_768, 32_768, 7_232, 1, 32_768, 32_768, 4_464]);
    assert_eq!(info.pieces_of_file(1), 1..3);
    assert_eq!((info.pieces_of_file(3), info.pieces_of_file(4)), (0..0, 4..7));
    assert_eq!((info.files_of_piece(2), info.files_of_piece(3)), (1..2, 2..3));
    assert_eq!(info.file_of_piece(6), Some((4, 2)));
    assert_eq!((info.piece_hash(0), info.pad_blocks().count()), (None, 0));
    let whole: Vec<_> =
        info.segments(2, 0, u32::MAX).map(|s| (s.file, s.offset, s.length)).collect();
    assert_eq!(whole, [(1, 32_768, 7_232)]);
    assert!(!torrent.lacks_layers());
    let (root, layer) = self::tree(70_000, 32_768);
    assert_eq!(info.files()[4].root, Some(root));
    assert_eq!(torrent.piece_root(5), Some(layer[1]));
    assert_eq!(torrent.piece_root(3), info.files()[2].root, "of one piece: the file's root");
    assert_eq!(torrent.piece_root(7), None);
    assert_eq!(torrent.info_hashes.v1(), None);
    assert_eq!(torrent.info_hash, torrent.info_hashes.v2().unwrap().truncated());
    assert!(torrent.info_hashes.verify(&torrent.info_bytes));
}

#[test]
fn the_tree_of_another_client() {
    // libtorrent 2.1 of a file of 100,000 times `x`.
    let (root, layer) = tree(100_000, 32_768);
    let hex = |hash: MerkleHash| hash.map(|byte| format!("{byte:02x}")).concat();
    assert_eq!(hex(root), "dce2698d0013b52da999b7cb4e4d0e3299c047a5f9c319d56630d8f364616a08");
    assert_eq!(layer.len(), 4);
    assert_eq!(hex(layer[0]), "27f54434a95203dbce735917f6c05a30445c113e7a77e120a28f59ce31d48f8e");
    assert_eq!(hex(layer[3]), "0f300886639da230b105fe5c27bc3103d8be18dabdb3f4f9614a1b835dde4fdf");
}

#[test]
fn a_lone_file_at_the_root_is_the_torrent() {
    for name in ["t", "other"] {
        let torrent = info(v2(PIECE, dict([(name, leaf(5))]))).unwrap();
        assert!(torrent.is_single_file());
        assert_eq!(paths(&torrent), [name]);
    }
    let inside = info(v2(PIECE, dict([("d", dict([("t", leaf(5))]))]))).unwrap();
    assert!(!inside.is_single_file());
    assert_eq!(paths(&inside), ["t/d/t"]);
}

#[test]
fn attributes_and_links() {
    let link = |to: &[&str]| {
        let to = strings(to.iter());
        dict([("", dict([("attr", bytes("l")), ("symlink path", to)]))])
    };
    let Value::Dict(mut run) = leaf(5) else { unreachable!() };
    let properties = run.remove(&b""[..]).unwrap().with("attr", bytes("hx"));
    let tree = dict([
        ("in", link(&["d", "run"])),
        ("out", link(&["..", "etc"])),
        ("d", dict([("run", dict([("", properties)]))])),
    ]);
    let torrent = info(v2(PIECE, tree)).unwrap();
    let [run, inner, outer] = torrent.files() else { panic!("three files") };
    assert!(run.attributes.executable && run.attributes.hidden && !run.attributes.symlink);
    assert!(inner.attributes.symlink && inner.root.is_none());
    assert_eq!(inner.symlink_target.as_ref(), Some(&run.path));
    assert_eq!(outer.symlink_target, None);
}

#[test]
fn names_are_made_safe_as_those_of_v1() {
    let climbing = dict([("..", dict([("etc", leaf(1))])), ("a/b", leaf(2)), ("a\\b", leaf(3))]);
    let torrent = info(v2(PIECE, climbing)).unwrap();
    assert_eq!(paths(&torrent), ["t/etc", "t/a_b", "t/a_b (2)"]);
    assert_eq!(paths(&info(v2(PIECE, dict([("..", leaf(1))]))).unwrap()), ["_"]);
}

#[test]
fn the_version_is_looked_at_first() {
    let nonsense = dict([("meta version", int(3)), ("piece length", bytes("x"))]);
    assert_eq!(refused(nonsense), TorrentError::UnknownVersion(3));
    let text = TorrentError::UnknownVersion(3).to_string();
    assert_eq!(text, "a torrent of BitTorrent version 3; this client knows versions 1 and 2");
    let broken = dict([("meta version", bytes("2"))]);
    assert_eq!(refused(broken), TorrentError::Missing("meta version"));
    let unversioned = v2(PIECE, dict([("a", leaf(1))])).without("meta version");
    assert_eq!(refused(unversioned), TorrentError::Missing("length` or `files"));
}

#[test]
fn what_a_v2_torrent_must_not_be() {
    use TorrentError::Missing;
    let good = leaf(5);
    let lone = |file: Value| v2(PIECE, dict([("a", file)]));
    let with = |key, value| {
        let Value::Dict(pairs) = leaf(5) else { unreachable!() };
        lone(dict([("", pairs[&b""[..]].clone().with(key, value))]))
    };
    let without_root = lone(dict([("", dict([("length", int(5))]))]));
    let empty_with_root = with("length", int(0));
    let both = lone(good.clone().with("b", good.clone()));
    let path = || "a".to_string();
    let cases = [
        ("no tree", lone(good.clone()).without("file tree"), Missing("file tree")),
        ("tree no dictionary", v2(PIECE, int(1)), Missing("file tree")),
        ("root is a file", v2(PIECE, good.clone()), TorrentError::RootIsFile),
        ("file and folder", both, TorrentError::FileWithSiblings(path())),
        ("name no dictionary", lone(int(1)), Missing("file tree")),
        ("file no dictionary", lone(dict([("", int(1))])), Missing("file tree")),
        ("no length", lone(dict([("", dict([]))])), Missing("length")),
        (
            "negative length",
            with("length", int(-1)),
            TorrentError::BadNumber { key: "length", value: -1 },
        ),
        ("too long", with("length", int(i64::MAX)), TorrentError::TooManyPieces(1 << 49)),
        ("no root", without_root, TorrentError::PiecesRoot(path())),
        ("root of nothing", empty_with_root, TorrentError::PiecesRoot(path())),
        ("short root", with("pieces root", bytes([1; 31])), TorrentError::PiecesRoot(path())),
        ("root no string", with("pieces root", int(1)), TorrentError::PiecesRoot(path())),
        ("pad", with("attr", bytes("p")), TorrentError::PadInTree(path())),
        ("nothing in it", v2(PIECE, dict([])), TorrentError::NoFiles),
        ("folders of nothing", v2(PIECE, dict([("d", dict([]))])), TorrentError::NoFiles),
        ("piece length odd", v2(PIECE * 3, dict([])), TorrentError::PieceLengthV2(49_152)),
        ("piece length small", v2(PIECE / 2, dict([])), TorrentError::PieceLengthV2(8_192)),
    ];
    for (what, info, error) in cases {
        assert_eq!(refused(info), error, "{what}");
    }
    let huge = dict([("a", leaf(1)), ("b", leaf(1))]);
    let Value::Dict(mut pairs) = huge else { unreachable!() };
    for file in pairs.values_mut() {
        let Value::Dict(file) = file else { unreachable!() };
        let properties = file.remove(&b""[..]).unwrap().with("length", int(i64::MAX));
        file.insert(Vec::new(), properties);
    }
    assert_eq!(refused(v2(PIECE, Value::Dict(pairs))), TorrentError::LengthOverflow);
}

#[test]
fn trees_deeper_than_paths_are_refused() {
    let nested = |depth| (0..depth).fold(leaf(1), |inner, _| dict([("d", inner)]));
    assert_eq!(info(v2(PIECE, nested(90))).unwrap().files().len(), 1);
    assert!(parse(&dict([("info", v2(PIECE, nested(101)))])).is_err());
    assert!(parse(&dict([("info", v2(PIECE, nested(1_000)))])).is_err());
}

#[test]
fn layers_are_believed_only_if_they_lead_to_the_root() {
    let length = 70_000;
    let (root, layer) = tree(length, PIECE);
    let with = |layer: Value| {
        let mut layers = dict([]);
        let Value::Dict(pairs) = &mut layers else { unreachable!() };
        pairs.insert(root.to_vec(), layer);
        pairs.insert(vec![1; 32], bytes("of no file"));
        let info = v2(PIECE, dict([("a", leaf(length)), ("b", leaf(1))]));
        parse(&dict([("info", info), ("piece layers", layers)]))
    };
    let good = layer.concat();
    assert!(!with(bytes(&good)).unwrap().lacks_layers());
    let size = |got| TorrentError::LayerLength { path: "t/a".into(), got, expected: 160 };
    assert_eq!(with(bytes(&good[..159])).unwrap_err(), size(159));
    assert_eq!(with(bytes([&good[..], &[0; 32]].concat())).unwrap_err(), size(192));
    assert_eq!(with(bytes("")).unwrap_err(), size(0));
    let mut bad = good.clone();
    bad[100] ^= 1;
    assert_eq!(with(bytes(&bad)).unwrap_err(), TorrentError::LayerRoot("t/a".into()));
    assert_eq!(with(int(1)).unwrap_err(), TorrentError::Missing("piece layers"));
    let info = v2(PIECE, dict([("a", leaf(length))]));
    let list = dict([("info", info), ("piece layers", Value::List(Vec::new()))]);
    assert_eq!(parse(&list).unwrap_err(), TorrentError::Missing("piece layers"));
}

#[test]
fn layers_that_are_not_there_come_later() {
    let tree =
        dict([("a", leaf(70_000)), ("b", leaf(1)), ("c", leaf(70_000)), ("d", leaf(50_000))]);
    let torrent = parse(&dict([("info", v2(PIECE, tree))])).unwrap();
    let (info, mut layers) = (&torrent.info, torrent.piece_layers.clone());
    assert!(torrent.lacks_layers());
    assert_eq!(layers.missing(info).collect::<Vec<_>>(), [0, 2, 3]);
    assert_eq!((torrent.piece_root(0), torrent.piece_root(5)), (None, info.files()[1].root));
    let (_, layer) = self::tree(70_000, PIECE);
    let mut bad = layer.concat();
    bad[0] ^= 1;
    assert_eq!(layers.add(info, 0, &bad), Err(TorrentError::LayerRoot("t/a".into())));
    assert_eq!(layers.add(info, 0, &layer.concat()), Ok(()));
    assert_eq!(layers.missing(info).collect::<Vec<_>>(), [3], "the same bytes, the same layer");
    assert_eq!(layers.piece_root(info, 10), Some(layer[4]));
    assert_eq!(layers.add(info, 0, &bad), Err(TorrentError::LayerRoot("t/a".into())));
    assert!(layers.add(info, 9, &bad).is_err());
    // From peers comes the info dictionary alone.
    let magnet: Magnet = torrent.magnet().parse().unwrap();
    assert_eq!(magnet.hashes, torrent.info_hashes);
    let fetched = Torrent::from_info(&torrent.info_bytes, &magnet).unwrap();
    assert!(fetched.lacks_layers() && fetched.info_hashes == torrent.info_hashes);
}

#[test]
fn a_hybrid_is_both() {
    let torrent = parse(&torrent(hybrid(), &[40_000], 32_768)).unwrap();
    let info = &torrent.info;
    assert!(info.has_v1() && info.has_v2() && !torrent.lacks_layers());
    let (v1, v2) = (torrent.info_hashes.v1().unwrap(), torrent.info_hashes.v2().unwrap());
    assert_eq!(torrent.info_hash, v1);
    assert_eq!(torrent.magnet(), format!("magnet:?xt=urn:btih:{v1}&xt=urn:btmh:1220{v2}&dn=t"));
    assert_eq!(info.piece_hash(2), Some([7; 20]));
    // Pieces are those of v1, padding and all; the hash trees leave the padding out.
    let sizes = |size: fn(&Info, u32) -> u32| (0..4).map(|p| size(info, p)).collect::<Vec<_>>();
    assert_eq!(
        sizes(|info, piece| info.geometry().piece_size(piece)),
        [32_768; 3].map(|s| s).into_iter().chain([0]).collect::<Vec<_>>()
    );
    assert_eq!(sizes(Info::tree_bytes), [32_768, 7_232, 5, 0]);
    assert_eq!((info.file_of_piece(1), info.file_of_piece(2)), (Some((0, 1)), Some((3, 0))));
    assert_eq!(torrent.piece_root(2), info.files()[3].root);
    assert!(
        info.files()
            .iter()
            .all(|file| file.root.is_some() == (file.length > 0 && !file.attributes.pad))
    );
}

#[test]
fn a_hybrid_of_one_file() {
    let single = v2(PIECE, dict([("t", leaf(5))])).with("pieces", bytes([7; 20]));
    let torrent = info(single.clone().with("length", int(5))).unwrap();
    assert!(torrent.is_single_file() && torrent.files()[0].root.is_some());
    let folder = single.clone().with("files", Value::List(vec![file("t", 5)]));
    assert_eq!(paths(&info(folder).unwrap()), ["t/t"], "v1 says that it is a folder");
    let other = single.clone().with("length", int(6));
    assert_eq!(refused(other), TorrentError::InconsistentHybrid("t".into()));
    let named = single.with("length", int(5)).with("name", bytes("u"));
    assert_eq!(refused(named), TorrentError::InconsistentHybrid("u".into()));
}

#[test]
fn halves_of_a_hybrid_that_differ_are_refused() {
    let with_tree = |tree: Value| refused(hybrid().with("file tree", tree));
    let differ = |path: &str| TorrentError::InconsistentHybrid(path.into());
    let inner = || dict([("c", leaf(5))]);
    let more = dict([("a", leaf(40_000)), ("b", leaf(0)), ("d", inner()), ("e", leaf(0))]);
    let fewer = dict([("a", leaf(40_000)), ("b", leaf(0))]);
    let longer = dict([("a", leaf(40_001)), ("b", leaf(0)), ("d", inner())]);
    let named = dict([("a", leaf(40_000)), ("bb", leaf(0)), ("d", inner())]);
    let link = dict([("", dict([("attr", bytes("l"))]))]);
    let linked = dict([("a", leaf(40_000)), ("b", link), ("d", inner())]);
    assert_eq!(with_tree(more), differ("t/e"));
    assert_eq!(with_tree(fewer), differ("t/d/c"));
    assert_eq!(with_tree(longer), differ("t/a"));
    assert_eq!(with_tree(named), differ("t/b"));
    assert_eq!(with_tree(linked), differ("t/b"));
    let unpadded = [file("a", 40_000), file("b", 0), file("d/c", 5)];
    let unpadded =
        hybrid().with("files", Value::List(unpadded.to_vec())).with("pieces", bytes([7; 40]));
    assert_eq!(refused(unpadded), TorrentError::Unaligned("t/d/c".into()));
    assert_eq!(refused(hybrid().without("file tree")), TorrentError::Missing("file tree"));
    let short = hybrid().with("pieces", bytes([7; 40]));
    assert_eq!(refused(short), TorrentError::PiecesLength { got: 40, expected: 60 });
    // What says that it is not v2 is v1, whatever else is in it.
    assert!(!info(hybrid().without("meta version")).unwrap().has_v2());
    assert!(!info(folder(0, [file("a", 0)])).unwrap().has_v2());
}

proptest! {
    #[test]
    fn every_byte_of_a_v2_torrent_lies_in_one_piece(
        lengths in vec(prop_oneof![Just(0_u64), 1_u64..50, 1_u64..200_000], 1..12),
        log in 0_u32..4,
    ) {
        let piece_length = PIECE << log;
        let mut all = dict([]);
        let Value::Dict(pairs) = &mut all else { unreachable!() };
        for (number, length) in lengths.iter().enumerate() {
            let properties = dict([("length", int(length.cast_signed()))]);
            let root = if *length > 0 { properties.clone().with("pieces root", bytes([1; 32])) } else { properties };
            pairs.insert(format!("{number:02}").into_bytes(), dict([("", root)]));
        }
        let info = info(v2(piece_length, all)).unwrap();
        let geometry = info.geometry();
        prop_assert_eq!(geometry.total_length(), lengths.iter().sum::<u64>());
        let mut seen = vec![0; lengths.len()];
        for piece in 0..geometry.piece_count() {
            let mut bytes = 0;
            for block in 0..geometry.block_count(piece) {
                let size = geometry.block_size(piece, block);
                prop_assert!(geometry.contains(piece, block * BLOCK_LENGTH, size));
                for segment in info.segments(piece, block * BLOCK_LENGTH, size) {
                    prop_assert_eq!(info.files_of_piece(piece), segment.file..segment.file + 1);
                    prop_assert!(info.pieces_of_file(segment.file).contains(&piece));
                    prop_assert_eq!(info.file_of_piece(piece).unwrap().0, segment.file);
                    prop_assert_eq!(segment.offset, seen[segment.file]);
                    seen[segment.file] += segment.length;
                    bytes += segment.length;
                }
            }
            prop_assert!(bytes > 0 && bytes == u64::from(geometry.piece_size(piece)));
            prop_assert_eq!(info.tree_bytes(piece), geometry.piece_size(piece));
        }
        prop_assert_eq!(seen, lengths);
    }

    #[test]
    fn changed_v2_torrents_never_panic(
        changes in vec((any::<prop::sample::Index>(), any::<u8>()), 1..8), is_hybrid in any::<bool>(),
    ) {
        static WHOLE: LazyLock<[Vec<u8>; 2]> = LazyLock::new(|| {
            let tree = dict([("a", leaf(40_000)), ("d", dict([("c", leaf(5))]))]);
            [hybrid(), v2(32_768, tree)].map(|info| torrent(info, &[40_000], 32_768).encode())
        });
        let mut bytes = WHOLE[usize::from(is_hybrid)].clone();
        for (place, value) in changes {
            let place = place.index(bytes.len());
            bytes[place] = value;
        }
        if let Ok(torrent) = Torrent::parse(&bytes) {
            let info = &torrent.info;
            for piece in 0..info.geometry().piece_count().min(100) {
                let _ = (torrent.piece_root(piece), info.tree_bytes(piece), info.piece_hash(piece));
                prop_assert_eq!(
                    info.segments(piece, 0, u32::MAX).map(|segment| segment.length).sum::<u64>(),
                    u64::from(info.geometry().piece_size(piece))
                );
            }
            let _ = (torrent.magnet(), torrent.lacks_layers());
        }
    }
}
