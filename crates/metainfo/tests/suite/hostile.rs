//! What must be refused, and what must not cost more than it is worth.

use metainfo::{Torrent, TorrentError};

use crate::value::{
    PIECE, Value, bytes, dict, file, folder, info, int, list, parse, single, strings, torrent,
};

#[test]
fn every_class_of_failure_is_refused_by_name() {
    use TorrentError::Missing;
    let lone = |file: Value| folder(1, [file]);
    let cases = [
        ("no piece length", single(1).without("piece length"), Missing("piece length")),
        (
            "piece length no integer",
            single(1).with("piece length", bytes("1")),
            Missing("piece length"),
        ),
        ("no name", single(1).without("name"), Missing("name")),
        ("empty name", single(1).with("name", bytes("")), Missing("name")),
        ("name no string", single(1).with("name", int(1)), Missing("name")),
        ("length no integer", single(1).with("length", bytes("1")), Missing("length")),
        ("neither", single(1).without("length"), Missing("length` or `files")),
        ("both", single(1).with("files", list([file("x", 1)])), TorrentError::BothLengthAndFiles),
        ("files no list", folder(1, []).with("files", int(1)), Missing("files")),
        ("file no dictionary", lone(int(1)), Missing("files")),
        ("no files", folder(1, []), TorrentError::NoFiles),
        ("no file length", lone(file("x", 1).without("length")), Missing("length")),
        (
            "negative file length",
            lone(file("x", 1).with("length", int(-5))),
            TorrentError::BadNumber { key: "length", value: -5 },
        ),
        ("no path", lone(file("x", 1).without("path")), Missing("path")),
        ("path no list", lone(file("x", 1).with("path", bytes("x"))), Missing("path")),
        ("path empty", lone(file("x", 1).with("path", list([]))), Missing("path")),
        ("path of integers", lone(file("x", 1).with("path", list([int(1)]))), Missing("path")),
        (
            "path half of integers",
            lone(file("x", 1).with("path", list([bytes("a"), int(1)]))),
            Missing("path"),
        ),
        ("no pieces", single(1).without("pieces"), Missing("pieces")),
        ("pieces no string", single(1).with("pieces", int(1)), Missing("pieces")),
        (
            "pieces of no torrent",
            single(0).with("pieces", bytes([0; 20])),
            TorrentError::PiecesLength { got: 20, expected: 0 },
        ),
    ];
    for (what, value, error) in cases {
        assert_eq!(info(value), Err(error), "{what}");
    }
    assert_eq!(info(int(1)), Err(Missing("info")));
    assert_eq!(parse(&dict([("announce", bytes("http://a/"))])).unwrap_err(), Missing("info"));
    assert_eq!(parse(&list([])).unwrap_err(), TorrentError::NotADictionary);
    for junk in [&b""[..], b"<html>", b"d", b"\0", b"4:spam3:egg"] {
        assert!(matches!(Torrent::parse(junk), Err(TorrentError::Bencode(_))), "{junk:?}");
    }
}

#[test]
fn errors_read_as_sentences() {
    let error = info(single(1).with("piece length", int(0))).unwrap_err();
    assert_eq!(error.to_string(), "`piece length` is 0, which makes no sense");
    let error = info(single(1).without("length")).unwrap_err();
    assert_eq!(error.to_string(), "`length` or `files` is missing or of the wrong type");
    let error = Torrent::parse(b"d3:ke").unwrap_err();
    assert_eq!(error.to_string(), "not a .torrent file: the data ends in the middle of a value");
}

#[test]
fn a_torrent_cut_anywhere_is_refused() {
    let whole = torrent(folder(PIECE, [file("a", PIECE - 1), file("b/c", 1)])).encode();
    assert!(Torrent::parse(&whole).is_ok());
    for end in 0..whole.len() {
        assert!(Torrent::parse(&whole[..end]).is_err(), "{end}");
    }
}

// Each of these takes minutes, or all memory, where a cost is the square of its input.

#[test]
fn two_hundred_thousand_files() {
    let files = (0..200_000).map(|n| file(&format!("dir{}/file{n}.dat", n / 100), 100));
    let torrent = info(folder(20_000_000, files)).unwrap();
    assert_eq!(torrent.files()[199_999].path.display(), "t/dir1999/file199999.dat");
    assert_eq!(torrent.files()[199_999].offset, 19_999_900);
}

#[test]
fn two_hundred_thousand_copies_of_one_path() {
    let torrent = info(folder(0, vec![file("a/b.txt", 0); 200_000])).unwrap();
    assert_eq!(torrent.files()[199_999].path.display(), "t/a/b (200000).txt");
}

#[test]
fn two_hundred_thousand_folders_with_the_name_of_a_file() {
    let files = (0..200_000).map(|n| if n == 0 { file("a", 0) } else { file("a/b", 0) });
    let torrent = info(folder(0, files)).unwrap();
    assert_eq!(torrent.files()[199_999].path.display(), "t/a (2)/b (199999)");
}

#[test]
fn deep_folders_with_long_names() {
    let deep = vec!["x".repeat(255); 99].join("/");
    let files = (0..500).map(|n| file(&format!("{deep}/{n}"), 0));
    assert_eq!(info(folder(0, files)).unwrap().files().len(), 500);
}

#[test]
fn two_hundred_thousand_pads_in_one_piece() {
    let pad = || dict([("attr", bytes("p")), ("length", int(1))]);
    let data = || file("x", 1);
    let files = (0..200_000).map(|n| if n % 2 == 0 { pad() } else { data() });
    let torrent = folder(1, files).with("piece length", int(256 << 20));
    assert_eq!(info(torrent).unwrap().pad_blocks().count(), 0);
}

#[test]
fn a_pad_larger_than_any_disk() {
    let huge = 2_097_151_i64 << 28;
    let files = [file("x", 1 << 28), dict([("attr", bytes("p")), ("length", int(huge))])];
    let torrent = folder(1, files).with("piece length", int(256 << 20));
    let torrent = info(torrent.with("pieces", bytes(vec![0; 2_097_152 * 20]))).unwrap();
    assert_eq!(torrent.pad_blocks().next(), Some((1, 0)));
    assert_eq!(torrent.pad_blocks().count(), 4_000_000);
}

#[test]
fn a_crowd_of_empty_files_inside_a_piece() {
    let empty = (0..200_000).map(|n| file(&n.to_string(), 0));
    let files = [file("a", 10)].into_iter().chain(empty).chain([file("b", 10)]);
    let torrent = info(folder(20, files)).unwrap();
    for _ in 0..10_000 {
        let found: Vec<_> = torrent.segments(0, 0, 20).map(|segment| segment.file).collect();
        assert_eq!(found, [0, 200_001]);
    }
}

#[test]
fn a_symlink_over_a_folder_takes_nothing_with_it() {
    // A link named as a folder of later files: they must not be written through it.
    let link = file("a", 0).with("attr", bytes("l")).with("symlink path", strings(["b"]));
    let torrent = info(folder(1, [link, file("a/x", 1)])).unwrap();
    assert_eq!(torrent.files()[1].path.display(), "t/a (2)/x");
}
