//! From torrents to URLs and ranges: every name, every run, padding left out.

use metainfo::{CreateFile, CreateOptions, CreatePayload, Format, PieceHashes, Torrent, create};
use proptest::prelude::*;
use webseed::{Kind, Names, Part, Place, Source, Wanted, parts};

/// A torrent of files with these paths and lengths; `p` before a path makes it padding.
fn torrent(files: &[(&[&[u8]], u64)], piece_length: u64) -> Torrent {
    let total: u64 = files.iter().map(|(_, length)| length).sum();
    let mut info = b"d5:filesl".to_vec();
    for (path, length) in files {
        let pad = path.first() == Some(&&b".pad"[..]);
        info.extend(if pad { &b"d4:attr1:p"[..] } else { b"d" });
        info.extend(format!("6:lengthi{length}e4:pathl").bytes());
        for name in *path {
            info.extend(format!("{}:", name.len()).bytes());
            info.extend(*name);
        }
        info.extend(b"ee");
    }
    let name = "a #1";
    info.extend(format!("e4:name{}:{name}12:piece lengthi{piece_length}e", name.len()).bytes());
    let hashes = vec![7; total.div_ceil(piece_length) as usize * 20];
    info.extend(format!("6:pieces{}:", hashes.len()).bytes());
    info.extend(hashes);
    info.push(b'e');
    let bytes = [b"d4:info".as_slice(), &info, b"e"].concat();
    Torrent::parse(&bytes).unwrap()
}

fn source(url: &str, kind: Kind) -> Source {
    Source { url: url.into(), kind }
}

fn url_of(torrent: &Torrent, url: &str, file: usize) -> String {
    let part = Part { place: Place::File { file, offset: 0 }, length: 1 };
    let names = Names::of(&torrent.info);
    source(url, Kind::Files).request(&torrent.info, torrent.info_hash, &names, &part).unwrap().url
}

#[test]
fn names_are_encoded_byte_for_byte_as_the_torrent_has_them() {
    let raw: [&[&[u8]]; 6] = [
        &[b"b c", b"50%.bin"],
        &["Gr\u{f6}\u{df}e?".as_bytes()],
        &[b"\xff\x01\\"], // what a disk has is another name
        &[b"..", b"x"],   // no name for a URL, whoever has it
        &[b"UP.txt"],
        &[b"UP.txt"], // a second one of the name: the disk's has a number
    ];
    let torrent = torrent(&raw.map(|path| (path, 10)), 16_384);
    let url = |file| url_of(&torrent, "http://h/d/", file);
    assert_eq!(url(0), "http://h/d/a%20%231/b%20c/50%25.bin");
    assert_eq!(url(1), "http://h/d/a%20%231/Gr%C3%B6%C3%9Fe%3F");
    assert_eq!(url(2), "http://h/d/a%20%231/%FF%01%5C");
    assert_eq!(url(3), "http://h/d/a%20%231/x");
    assert_eq!((url(4), url(5)), (url(4), "http://h/d/a%20%231/UP.txt".into()));
    assert_eq!(url_of(&torrent, "http://h/d", 0), url(0), "many files always lie in a folder");
}

#[test]
fn a_single_file_is_the_url_unless_that_is_a_folder() {
    let bytes =
        b"d4:infod6:lengthi10e4:name3:a b12:piece lengthi16384e6:pieces20:aaaaaaaaaaaaaaaaaaaaee";
    let torrent = Torrent::parse(bytes).unwrap();
    assert_eq!(url_of(&torrent, "http://h/x.iso", 0), "http://h/x.iso");
    assert_eq!(url_of(&torrent, "http://h/x/", 0), "http://h/x/a%20b");
}

#[test]
fn a_script_is_told_the_torrent_the_piece_and_the_range() {
    let torrent = torrent(&[(&[b"f"], 40_000)], 16_384);
    let part = parts(&torrent.info, Kind::Pieces, 16_384 + 5, 16_384 + 9)[0];
    let request = |url| {
        let source = source(url, Kind::Pieces);
        source.request(&torrent.info, torrent.info_hash, &Names::default(), &part).unwrap()
    };
    let asked = request("http://h/s.php");
    let hex: Vec<_> = torrent.info_hash.0.iter().map(|byte| format!("%{byte:02X}")).collect();
    let hash = hex.concat();
    assert_eq!(asked.url, format!("http://h/s.php?info_hash={hash}&piece=1&ranges=5-8"));
    assert_eq!((asked.range, asked.wanted), (None, Wanted::Body { length: 4 }));
    assert!(request("http://h/s.php?k=1").url.starts_with("http://h/s.php?k=1&info_hash="));
}

/// The files of a torrent that is v2 only have gaps between them, so that the last ones are further on
/// than there are bytes.
#[test]
fn the_files_behind_gaps_are_asked_for_too() {
    let length = 40_000;
    let file =
        |name: &[u8]| CreateFile { path: vec![name.to_vec()], length, ..CreateFile::default() };
    let payload = CreatePayload::Folder([b"a", b"b", b"c"].map(|name| file(name)).into());
    let layers = [[7; 32], [8; 32], [9; 32]].map(|root| vec![root]);
    let hashes = PieceHashes { v1: &[], v2: &layers };
    let options = CreateOptions {
        format: Format::V2,
        piece_length: Some(65_536),
        ..CreateOptions::default()
    };
    let bytes = create(b"three", &payload, hashes, &options).unwrap();
    let info = Torrent::parse(&bytes).unwrap().info;
    for (file, start) in [(0, 0), (1, 65_536), (2, 131_072)] {
        let place = Place::File { file, offset: 0 };
        assert_eq!(parts(&info, Kind::Files, start, start + length), [Part { place, length }]);
        let place = Place::Piece { piece: file as u32, begin: 0 };
        assert_eq!(parts(&info, Kind::Pieces, start, start + length), [Part { place, length }]);
    }
}

#[test]
fn people_see_no_secrets() {
    let shown = |url| source(url, Kind::Files).shown();
    assert_eq!(shown("https://me:pass@h:1/a/?key=1#x"), "https://h:1/a/");
    assert_eq!(shown("http://h"), "http://h");
    assert_eq!(shown("nonsense"), "nonsense");
}

proptest! {
    /// The parts of any run are its bytes in order, each of one place, and no padding is asked for.
    #[test]
    fn parts_cover_a_run(
        files in proptest::collection::vec((any::<bool>(), 0..60_000u64), 1..12),
        (start, length) in (0..200_000u64, 0..200_000u64),
        kind in prop_oneof![Just(Kind::Files), Just(Kind::Pieces)],
    ) {
        let numbers: Vec<Vec<u8>> = (0..files.len()).map(|n| n.to_string().into_bytes()).collect();
        let paths: Vec<[&[u8]; 2]> = files.iter().zip(&numbers)
            .map(|((pad, _), name)| [if *pad { &b".pad"[..] } else { b"d" }, name]).collect();
        let entries: Vec<(&[&[u8]], u64)> =
            paths.iter().zip(&files).map(|(path, (_, length))| (&path[..], *length)).collect();
        let torrent = torrent(&entries, 16_384);
        let info = &torrent.info;
        let total = info.geometry().total_length();
        let end = start.saturating_add(length);
        let mut at = start;
        let names = Names::of(info);
        for part in parts(info, kind, start, end) {
            prop_assert!(part.length > 0);
            let request = source("http://h/", kind).request(info, torrent.info_hash, &names, &part);
            match part.place {
                Place::Pad => {
                    prop_assert!(request.is_none());
                    let file = info.files().iter().find(|f| f.offset <= at && at < f.offset + f.length);
                    prop_assert!(file.unwrap().attributes.pad);
                }
                Place::File { file, offset } => {
                    let entry = &info.files()[file];
                    prop_assert!(!entry.attributes.pad);
                    prop_assert_eq!(entry.offset + offset, at);
                    prop_assert!(offset + part.length <= entry.length);
                    prop_assert_eq!(request.unwrap().range, Some((offset, offset + part.length - 1)));
                }
                Place::Piece { piece, begin } => {
                    prop_assert_eq!(info.geometry().piece_offset(piece) + u64::from(begin), at);
                    prop_assert!(u64::from(begin) + part.length <= 16_384);
                }
            }
            prop_assert_eq!(part.after(part.length), None);
            if let Some(rest) = part.after(1) {
                prop_assert_eq!(rest.length, part.length - 1);
            }
            at += part.length;
        }
        prop_assert_eq!(at, end.min(total).max(start));
    }
}
