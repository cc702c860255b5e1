//! One test for each thing about .torrent files that clients are known to get wrong.

use metainfo::{BLOCK_LENGTH, InfoHash, PathRules, SafePath, Segment, Torrent, TorrentError};

use crate::value::{
    PIECE, Value, bytes, dict, file, folder, info, int, list, parse, paths, single, strings,
    torrent,
};

fn segments(info: &metainfo::Info, piece: u32, begin: u32, length: u32) -> Vec<(usize, u64, u64)> {
    let segments = info.segments(piece, begin, length);
    segments.map(|Segment { file, offset, length }| (file, offset, length)).collect()
}

#[test]
fn info_hash_is_over_the_raw_bytes() {
    // Keys unsorted, a leading zero: encoding it again would give another hash.
    let raw = b"d4:name1:t6:lengthi05e12:piece lengthi16384e6:pieces20:aaaaaaaaaaaaaaaaaaaae";
    let file = [b"d7:comment2:hi4:info", &raw[..], b"e"].concat();
    let torrent = Torrent::parse(&file).unwrap();
    let expected: InfoHash = "05a46b9089d9287b8bfc04a000bfe639d2e21c69".parse().unwrap();
    assert_eq!(torrent.info_hash, expected);
    assert_eq!(&*torrent.info_bytes, raw);
    assert_eq!(torrent.info.geometry().total_length(), 5);
}

#[test]
fn strings_are_bytes_and_utf8_variants_are_preferred() {
    let latin = b"caf\xe9";
    let torrent = info(single(1).with("name", bytes(latin))).unwrap();
    assert_eq!(torrent.raw_name(), latin);
    assert_eq!(torrent.name(), "caf\u{fffd}");
    if PathRules::NATIVE == PathRules::Posix {
        let names: Vec<_> = torrent.files()[0].path.components().collect();
        assert_eq!(names, [latin], "the file keeps the name's own bytes");
    }

    let both = file("x", 1).with("path", strings([latin])).with("path.utf-8", strings(["café"]));
    let both = folder(1, [both]).with("name", bytes(latin)).with("name.utf-8", bytes("café"));
    let both = info(both).unwrap();
    assert_eq!(paths(&both), ["café/café"]);
    assert_eq!(both.name(), "café");

    let empty = file("x", 1).with("path.utf-8", list([]));
    let empty = folder(1, [empty]).with("name.utf-8", bytes(""));
    assert_eq!(paths(&info(empty).unwrap()), ["t/x"], "an empty variant says nothing");
}

#[test]
fn names_are_shown_without_tricks() {
    let name = "a\u{202e}gpj\u{1b}[31m\n.exe";
    let torrent = info(single(1).with("name", bytes(name))).unwrap();
    assert_eq!(torrent.name(), r"a\u{202e}gpj\u{1b}[31m\u{a}.exe");
    assert_eq!(torrent.files()[0].path.display(), "a_gpj_[31m_.exe");
    assert_eq!(torrent.raw_name(), name.as_bytes());
}

#[test]
fn one_strictness_policy() {
    let pieces = "6:pieces20:aaaaaaaaaaaaaaaaaaaa";
    let with = |info: &str| Torrent::parse(format!("d4:infod{info}ee").as_bytes());
    let usual = format!("6:lengthi1e4:name1:t12:piece lengthi16384e{pieces}");
    assert!(with(&usual).is_ok());
    assert!(with(&usual.replace("i1e", "i01e")).is_ok(), "leading zero");
    assert!(with(&usual.replace("i1e", "i-0e").replace(pieces, "6:pieces0:")).is_ok(), "-0");
    assert!(with(&usual.replace("1:t", "01:t")).is_ok(), "leading zero in a length");
    assert!(with(&format!("{pieces}{}", usual.replace(pieces, ""))).is_ok(), "unsorted");
    assert!(matches!(with(&format!("{usual}{pieces}")), Err(TorrentError::Bencode(_))), "twice");
    let trailing = format!("d4:infod{usual}ee\n");
    assert!(matches!(Torrent::parse(trailing.as_bytes()), Err(TorrentError::Bencode(_))));
}

#[test]
fn depth_tokens_and_size_are_bounded() {
    let deep = [vec![b'l'; 200_000], vec![b'e'; 200_000]].concat();
    assert!(matches!(Torrent::parse(&deep), Err(TorrentError::Bencode(_))));
    let many = [&b"l"[..], &b"le".repeat(3_000_001), b"e"].concat();
    assert!(matches!(Torrent::parse(&many), Err(TorrentError::Bencode(_))));
    let large = vec![b'0'; 64 * 1024 * 1024 + 1];
    assert!(matches!(Torrent::parse(&large), Err(TorrentError::Bencode(_))));

    let pieces = single(2_097_153).with("piece length", int(1));
    assert_eq!(info(pieces), Err(TorrentError::TooManyPieces(2_097_153)));
    let files = vec![file("x", 0); 400_001];
    assert_eq!(info(folder(0, files)), Err(TorrentError::TooManyFiles));
    let deep = file(&"x/".repeat(100), 0);
    assert_eq!(info(folder(0, [deep])), Err(TorrentError::PathTooDeep(101)));
}

#[test]
fn integers_never_wrap() {
    let beyond = "d4:infod6:lengthi9223372036854775808e4:name1:tee";
    assert!(matches!(Torrent::parse(beyond.as_bytes()), Err(TorrentError::Bencode(_))));
    let negative = single(1).with("length", int(-1));
    assert_eq!(info(negative), Err(TorrentError::BadNumber { key: "length", value: -1 }));
    let sum = folder(1, [file("a", 1 << 62), file("b", 1 << 62)]);
    assert_eq!(info(sum), Err(TorrentError::LengthOverflow));
    let many = single(1).with("length", int(i64::MAX));
    assert!(matches!(info(many), Err(TorrentError::TooManyPieces(_))));
}

#[test]
fn pieces_must_match_the_length() {
    for (length, hashes) in [(1, 0), (1, 19), (1, 21), (1, 40), (PIECE, 40), (PIECE + 1, 20)] {
        let wrong = single(length).with("pieces", bytes(vec![0; hashes]));
        let expected = length.div_ceil(PIECE) * 20;
        assert_eq!(info(wrong), Err(TorrentError::PiecesLength { got: hashes, expected }));
    }
    for value in [0, -1, i64::MIN] {
        let wrong = single(1).with("piece length", int(value));
        assert_eq!(info(wrong), Err(TorrentError::BadNumber { key: "piece length", value }));
    }
    let longest = 256 << 20;
    assert!(info(single(1).with("piece length", int(longest))).is_ok());
    for value in [longest + 1, 1 << 32, i64::MAX] {
        let wrong = single(1).with("piece length", int(value));
        assert_eq!(info(wrong), Err(TorrentError::PieceTooLong(value)));
    }
}

#[test]
fn last_pieces_and_blocks_are_short_but_never_empty() {
    let short = info(single(2 * PIECE + 5)).unwrap().geometry().clone();
    assert_eq!((short.piece_count(), short.piece_size(2), short.block_size(2, 0)), (3, 5, 5));
    let exact = info(single(2 * PIECE)).unwrap().geometry().clone();
    assert_eq!((exact.piece_count(), exact.piece_size(1)), (2, PIECE as u32));
    assert_eq!((exact.piece_size(2), exact.block_count(2)), (0, 0));
    // Blocks restart at each piece, whatever the piece length.
    let odd = info(single(40_000).with("piece length", int(20_000)).with("pieces", bytes([0; 40])));
    let odd = odd.unwrap().geometry().clone();
    assert_eq!((odd.block_count(0), odd.block_size(0, 1), odd.block_size(1, 1)), (2, 3616, 3616));
}

#[test]
fn empty_files_exist() {
    let torrent = info(folder(5, [file("a", 0), file("b", 5), file("c/d", 0)])).unwrap();
    let lengths: Vec<_> = torrent.files().iter().map(|file| (file.offset, file.length)).collect();
    assert_eq!(lengths, [(0, 0), (0, 5), (5, 0)]);
    assert_eq!(segments(&torrent, 0, 0, 5), [(1, 0, 5)], "no empty segments");
    assert_eq!(torrent.pieces_of_file(0), 0..0);

    let nothing = info(folder(0, [file("a", 0), file("b", 0)])).unwrap();
    assert_eq!(nothing.geometry().piece_count(), 0);
    assert_eq!(nothing.piece_hash(0), None);
    assert_eq!(nothing.files().len(), 2);
    assert!(segments(&nothing, 0, 0, 1).is_empty());
    assert_eq!(info(single(0)).unwrap().geometry().piece_count(), 0);
}

#[test]
fn pieces_span_files_and_files_span_pieces() {
    let p = PIECE;
    let files = [file("a", 10), file("b", 20), file("e", 0), file("c", 30), file("d", 3 * p)];
    let torrent = info(folder(60 + 3 * p, files)).unwrap();
    assert_eq!(segments(&torrent, 0, 5, 45), [(0, 5, 5), (1, 0, 20), (3, 0, 20)], "three files");
    assert_eq!(segments(&torrent, 0, 30, 1), [(3, 0, 1)]);
    assert_eq!(segments(&torrent, 1, 0, p as u32), [(4, p - 60, p)]);
    assert_eq!(segments(&torrent, 3, 59, 100), [(4, 3 * p - 1, 1)], "not past the end");
    assert!(segments(&torrent, 3, 60, 1).is_empty());
    assert!(segments(&torrent, 4, 0, 1).is_empty());
    assert!(segments(&torrent, u32::MAX, u32::MAX, u32::MAX).is_empty());
    assert_eq!(torrent.files_of_piece(0), 0..5);
    assert_eq!(torrent.files_of_piece(1), 4..5);
    assert!(torrent.files_of_piece(9).is_empty());
    assert_eq!(torrent.pieces_of_file(0), 0..1);
    assert_eq!(torrent.pieces_of_file(4), 0..4);
    assert_eq!(torrent.pieces_of_file(99), 0..0);
}

#[test]
fn files_beyond_4_gib_and_pieces_of_16_mib() {
    let piece = 16 << 20;
    let total = 3 * (5_u64 << 30);
    let hashes = vec![0; (total / piece) as usize * 20];
    let torrent = folder(1, ["a", "b", "c"].map(|name| file(name, 5 << 30)))
        .with("piece length", int(piece.cast_signed()))
        .with("pieces", bytes(hashes));
    let torrent = info(torrent).unwrap();
    assert_eq!(torrent.files()[2].offset, 10 << 30);
    let last = torrent.geometry().piece_count() - 1;
    assert_eq!(segments(&torrent, last, 16_760_832, BLOCK_LENGTH), [(2, (5 << 30) - 16384, 16384)]);
}

#[test]
fn names_can_not_leave_the_folder_and_stay_unique() {
    let climbing =
        info(folder(1, [file("../../etc/passwd", 1)]).with("name", bytes(".."))).unwrap();
    assert_eq!(paths(&climbing), ["_/etc/passwd"]);
    let names = ["..", ".", "", "/", "a/b", "a\\b", "a\0b", "a_b", "\u{202e}", "a_b", "a"];
    let entry = |name: &str| file("x", 0).with("path", strings([name]));
    let torrent = info(folder(0, names.map(entry))).unwrap();
    assert_eq!(
        paths(&torrent),
        [
            "t/_",
            "t/_ (2)",
            "t/_ (3)",
            "t/_ (4)",
            "t/a_b",
            "t/a_b (2)",
            "t/a_b (3)",
            "t/a_b (4)",
            "t/_ (5)",
            "t/a_b (5)",
            "t/a"
        ]
    );
    let again = info(folder(0, names.map(entry))).unwrap();
    assert_eq!(paths(&torrent), paths(&again), "the same names every time");

    let long = |end: &str| format!("{}{end}.x265", "x".repeat(300));
    let torrent = info(folder(0, [file(&long("1"), 0), file(&long("2"), 0)])).unwrap();
    let long = paths(&torrent);
    assert_ne!(long[0], long[1]);
    assert!(long.iter().all(|path| path.len() == "t/".len() + 255));
    let extensions = long.iter().map(|path| path.rsplit_once('.').unwrap().1);
    assert_eq!(extensions.collect::<Vec<_>>(), ["x265"; 2]);
}

#[test]
fn windows_names_are_made_safe_where_asked() {
    let windows = |name: &str| SafePath::new([name], PathRules::Windows).unwrap().display();
    for (name, safe) in
        [("C:", "C_"), ("CON", "_CON"), ("nul.txt", "_nul.txt"), ("a.", "a_"), ("a ", "a_")]
    {
        assert_eq!(windows(name), safe);
        assert_eq!(SafePath::new([name], PathRules::Posix).unwrap().display(), name);
    }
}

#[test]
fn a_file_that_is_a_folder_too_gets_another_name() {
    let files = [file("a", 0), file("a/b", 0), file("c/d", 0), file("c", 0)];
    let torrent = info(folder(0, files)).unwrap();
    assert_eq!(paths(&torrent), ["t/a", "t/a (2)/b", "t/c/d", "t/c (2)"]);
}

#[test]
fn symlinks_lead_inside_or_nowhere() {
    let link = |target: &[&str]| {
        let link = file("link", 0).with("attr", bytes("l"));
        let torrent = info(folder(0, [link.with("symlink path", strings(target))])).unwrap();
        let entry = torrent.files()[0].clone();
        assert!(entry.attributes.symlink);
        entry.symlink_target.map(|target| target.display())
    };
    assert_eq!(link(&["dir", "file"]).as_deref(), Some("t/dir/file"));
    for outside in [&["..", "x"][..], &["a", "..", "..", "x"], &["/etc/passwd"], &["."], &[], &[""]]
    {
        assert_eq!(link(outside), None, "{outside:?}");
    }
    let short =
        dict([("attr", bytes("l")), ("path", strings(["l"])), ("symlink path", strings(["x"]))]);
    assert!(info(folder(0, [short])).unwrap().files()[0].attributes.symlink, "length omitted");
    let data = file("l", 5).with("attr", bytes("l")).with("symlink path", strings(["x"]));
    let data = info(folder(5, [data])).unwrap();
    assert!(!data.files()[0].attributes.symlink, "what has data is a file");
    assert_eq!(data.files()[0].symlink_target, None);
}

#[test]
fn one_file_or_a_folder_of_one() {
    let one = info(single(5)).unwrap();
    assert_eq!((paths(&one), one.is_single_file()), (vec!["t".to_string()], true));
    let folder = info(folder(5, [file("x", 5)])).unwrap();
    assert_eq!((paths(&folder), folder.is_single_file()), (vec!["t/x".to_string()], false));
}

#[test]
fn announce_list_replaces_announce() {
    let trackers = |value: Value| parse(&value).unwrap().trackers;
    let base = || torrent(single(1)).with("announce", bytes("http://a/announce"));
    assert_eq!(trackers(base()), [["http://a/announce"]]);
    let tiers = list([strings(["udp://b:1", "", "udp://c:1"]), list([]), strings(["http://d/"])]);
    assert_eq!(
        trackers(base().with("announce-list", tiers)),
        [vec!["udp://b:1", "udp://c:1"], vec!["http://d/"]]
    );
    for empty in [list([]), list([list([])]), list([strings([""])]), int(1), bytes("x")] {
        let trackers = trackers(base().with("announce-list", empty.clone()));
        assert_eq!(trackers, [["http://a/announce"]], "{empty:?}");
    }
    let flat = strings(["http://b/", "http://c/"]);
    assert_eq!(trackers(base().with("announce-list", flat)), [["http://b/"], ["http://c/"]]);
    let twice = list([strings(["http://b/"]), strings(["http://b/", "http://c/"])]);
    assert_eq!(trackers(base().with("announce-list", twice)), [["http://b/"], ["http://c/"]]);
    assert!(trackers(torrent(single(1)).with("announce", bytes(""))).is_empty());
    let flood = strings((0..10_000).map(|n| format!("http://{n}/")));
    assert_eq!(trackers(base().with("announce-list", list([flood]))).concat().len(), 200);
    let endless = bytes(format!("http://{}/", "x".repeat(5000)));
    assert!(trackers(torrent(single(1)).with("announce", endless)).is_empty());
}

#[test]
fn web_seeds_are_a_string_or_a_list() {
    let seeds =
        |value: Value| parse(&torrent(single(1)).with("url-list", value)).unwrap().web_seeds;
    assert_eq!(seeds(bytes("http://a/")), ["http://a/"]);
    assert_eq!(seeds(strings(["http://a/", "", "http://b/"])), ["http://a/", "http://b/"]);
    assert!(seeds(bytes("")).is_empty() && seeds(int(1)).is_empty());
    assert_eq!(seeds(strings(vec!["http://a/"; 10_000])).len(), 200);
}

#[test]
fn private_is_the_integer_1_in_info() {
    let private = |info: Value| parse(&torrent(info)).unwrap();
    let open = private(single(1));
    let closed = private(single(1).with("private", int(1)));
    assert!(!open.info.is_private() && closed.info.is_private());
    assert_ne!(open.info_hash, closed.info_hash);
    assert!(!private(single(1).with("private", int(0))).info.is_private());
    assert!(!private(single(1).with("private", bytes("1"))).info.is_private());
    let outside = parse(&torrent(single(1)).with("private", int(1))).unwrap();
    assert!(!outside.info.is_private());
}

#[test]
fn pad_files_are_known_and_never_requested() {
    let pad = |length: u64| {
        dict([("attr", bytes("p")), ("length", int(length.cast_signed()))]) // no path
    };
    let block = u64::from(BLOCK_LENGTH);
    // Pieces of three blocks: | a a+ p | p p p+ | b b |
    let files = [file("a", block + 1), pad(5 * block - 2), file("b", 1 + 2 * block)];
    let torrent = folder(1, files).with("piece length", int(3 * block.cast_signed()));
    let torrent = info(torrent.with("pieces", bytes([0; 60]))).unwrap();
    assert_eq!(torrent.files()[1].path.display(), "t/.pad");
    assert!(torrent.files()[1].attributes.pad);
    assert_eq!(torrent.pad_blocks().collect::<Vec<_>>(), [(0, 2), (1, 0), (1, 1)]);
    assert_eq!(segments(&torrent, 0, 0, 3 * BLOCK_LENGTH).len(), 2, "still served");

    // Two pads make one block; the torrent's short last block counts.
    let files = [file("a", block), pad(100), pad(block - 100), pad(7)];
    let torrent = info(folder(2 * block + 7, files)).unwrap();
    assert_eq!(torrent.pad_blocks().collect::<Vec<_>>(), [(1, 0), (2, 0)]);
    // Pads share a path with each other, never with a file.
    let files = [pad(1), file(".pad", 0), pad(1), file("x", 1).with("attr", bytes("p"))];
    assert_eq!(paths(&info(folder(3, files)).unwrap()), ["t/.pad", "t/.pad", "t/.pad", "t/x"]);

    let only = info(single(5).with("attr", bytes("plx"))).unwrap();
    let attributes = only.files()[0].attributes;
    assert!(!attributes.pad && !attributes.symlink && attributes.executable);
}

#[test]
fn a_magnet_link_is_percent_encoded() {
    let value = torrent(single(1).with("name", bytes("a &b/é\u{202e}")));
    let torrent = parse(&value.with("announce", bytes("http://a/x?k=1&l=2"))).unwrap();
    let expected = format!(
        "magnet:?xt=urn:btih:{}&dn=a%20%26b%2F%C3%A9%E2%80%AE&tr=http%3A%2F%2Fa%2Fx%3Fk%3D1%26l%3D2",
        torrent.info_hash
    );
    assert_eq!(torrent.magnet(), expected);
}

#[test]
fn the_optional_texts_are_read() {
    let value = torrent(single(1))
        .with("comment", bytes(b"caf\xe9"))
        .with("comment.utf-8", bytes("café"))
        .with("created by", bytes("somebody"))
        .with("creation date", int(1_700_000_000));
    let torrent = parse(&value).unwrap();
    assert_eq!(torrent.comment.as_deref(), Some("café"));
    assert_eq!(torrent.created_by.as_deref(), Some("somebody"));
    assert_eq!(torrent.creation_date, Some(1_700_000_000));
    let odd = value.with("comment.utf-8", int(1)).with("creation date", bytes("today"));
    let odd = parse(&odd).unwrap();
    assert_eq!((odd.comment.as_deref(), odd.creation_date), (Some("caf\u{fffd}"), None));
    let endless = parse(&torrent_with_comment(1 << 20)).unwrap();
    assert_eq!(endless.comment.map(|comment| comment.len()), Some(16 * 1024));
}

fn torrent_with_comment(length: usize) -> Value {
    torrent(single(1)).with("comment", bytes(vec![b'x'; length]))
}
