//! What is created is what is read, and the same input always gives the same bytes.

use metainfo::bencode::{self, Limits};
use metainfo::merkle::{self, MerkleHash};
use metainfo::{
    CreateFile, CreateOptions, CreatePayload, Format, PieceHashes, Torrent, TorrentError, create,
    default_piece_length, padding_after,
};

fn options() -> CreateOptions {
    CreateOptions {
        format: Format::V1,
        piece_length: Some(32 * 1024),
        trackers: vec![
            vec!["http://a/announce".into(), "udp://b:6969".into()],
            vec!["http://c/announce".into()],
        ],
        web_seeds: vec!["http://seed/".into(), "http://other/".into()],
        comment: Some("a comment".into()),
        created_by: Some("peerless 0.1".into()),
        creation_date: Some(1_700_000_000),
        similar: vec![],
        collections: vec![],
        private: true,
    }
}

fn entry(path: &[&str], length: u64, executable: bool) -> CreateFile {
    let path = path.iter().map(|name| name.as_bytes().to_vec()).collect();
    CreateFile { path, length, executable, ..CreateFile::default() }
}

#[test]
fn everything_said_is_read_back() {
    let mut payload = CreatePayload::Folder(vec![
        entry(&["b"], 5, true),
        entry(&["a", "z"], 40_000, false),
        entry(&["a-"], 0, false),
    ]);
    payload.sort();
    assert_eq!(payload.total_length(), Some(40_005));
    let hashes: Vec<u8> = (0..40).collect();
    let made = create(b"folder", &payload, &hashes, &options()).unwrap();
    assert!(bencode::parse(&made, Limits::default()).unwrap().is_canonical());
    let torrent = Torrent::parse(&made).unwrap();
    let files: Vec<_> = torrent.info.files().iter().collect();
    let read: Vec<_> =
        files.iter().map(|f| (f.path.display(), f.length, f.attributes.executable)).collect();
    assert_eq!(
        read,
        [
            // `a` is before `a-`, though as a whole string `a/z` is not.
            ("folder/a/z".to_string(), 40_000, false),
            ("folder/a-".to_string(), 0, false),
            ("folder/b".to_string(), 5, true),
        ]
    );
    let options = options();
    assert_eq!(torrent.trackers, options.trackers);
    assert_eq!(torrent.web_seeds, options.web_seeds);
    assert_eq!(torrent.comment, options.comment);
    assert_eq!(torrent.created_by, options.created_by);
    assert_eq!(torrent.creation_date, options.creation_date);
    assert!(torrent.info.is_private() && !torrent.info.is_single_file());
    assert_eq!(torrent.info.geometry().piece_length(), 32 * 1024);
    assert_eq!(torrent.info.piece_hash(1).unwrap()[0], 20);
}

#[test]
fn one_file_with_nothing_more_to_say() {
    let payload = CreatePayload::File { length: 3, executable: false };
    let made = create(b"x", &payload, &[b'h'; 20], &CreateOptions::default()).unwrap();
    let expected =
        b"d4:infod6:lengthi3e4:name1:x12:piece lengthi16384e6:pieces20:hhhhhhhhhhhhhhhhhhhhee";
    assert_eq!(made, expected, "no date, no program, nothing that changes");
    let one = CreateOptions {
        trackers: vec![vec!["http://a/".into()]],
        web_seeds: vec!["http://b/".into()],
        ..CreateOptions::default()
    };
    let torrent = Torrent::parse(&create(b"x", &payload, &[0; 20], &one).unwrap()).unwrap();
    assert_eq!((torrent.trackers, torrent.web_seeds), (one.trackers, one.web_seeds));
}

#[test]
fn the_default_piece_length_is_used() {
    let total = 10_u64 << 30;
    let pieces = total.div_ceil(u64::from(default_piece_length(total)));
    assert!((700..=1500).contains(&pieces), "{pieces}");
    let payload = CreatePayload::File { length: total, executable: true };
    let made = create(b"x", &payload, &vec![0; pieces as usize * 20], &CreateOptions::default());
    let torrent = Torrent::parse(&made.unwrap()).unwrap();
    assert_eq!(torrent.info.geometry().piece_length(), default_piece_length(total));
    assert!(torrent.info.files()[0].attributes.executable);
}

#[test]
fn what_could_not_be_read_is_not_made() {
    let file = CreatePayload::File { length: 1, executable: false };
    let plain = CreateOptions::default();
    let make = |name: &[u8], payload: &CreatePayload, pieces: &[u8], options| {
        create(name, payload, pieces, options).unwrap_err()
    };
    assert_eq!(
        make(b"x", &file, &[0; 40], &plain),
        TorrentError::PiecesLength { got: 40, expected: 20 }
    );
    assert_eq!(make(b"", &file, &[0; 20], &plain), TorrentError::Missing("name"));
    let empty = CreatePayload::Folder(Vec::new());
    assert_eq!(make(b"x", &empty, &[], &plain), TorrentError::NoFiles);
    let zero = CreateOptions { piece_length: Some(0), ..CreateOptions::default() };
    assert!(matches!(make(b"x", &file, &[0; 20], &zero), TorrentError::BadNumber { .. }));
    let much = CreatePayload::Folder(vec![entry(&["a"], u64::MAX, false), entry(&["b"], 1, false)]);
    assert_eq!(make(b"x", &much, &[], &plain), TorrentError::LengthOverflow);
    let huge = CreatePayload::File { length: u64::MAX, executable: false };
    assert_eq!(make(b"x", &huge, &[], &plain), TorrentError::LengthOverflow);
}

fn named(path: &str, length: u64) -> CreateFile {
    entry(&path.split('/').collect::<Vec<_>>(), length, false)
}

fn v2(format: Format) -> CreateOptions {
    CreateOptions { format, piece_length: Some(16 * 1024), ..CreateOptions::default() }
}

/// What each file's hashes would be, were it full of `x`.
fn layers(files: &[CreateFile]) -> Vec<Vec<MerkleHash>> {
    let of = |file: &CreateFile| {
        let content = vec![b'x'; file.length as usize];
        content.chunks(16 * 1024).map(merkle::leaf).collect()
    };
    files.iter().map(of).collect()
}

#[test]
fn v2_and_hybrids_are_read_back() {
    let link = CreateFile {
        symlink_target: Some(vec![b"d".to_vec(), b"a".to_vec()]),
        executable: true,
        ..named("link", 0)
    };
    let hidden = CreateFile { hidden: true, executable: true, ..named("d/a", 40_000) };
    let files = [named("b", 16_384), hidden, named("d/e/f", 5), named("d0", 0), link];
    let mut payload = CreatePayload::Folder(files.into());
    payload.sort();
    let CreatePayload::Folder(files) = &payload else { unreachable!() };
    let layers = layers(files);
    for (format, pieces) in [(Format::V2, 0), (Format::Hybrid, 5)] {
        let v1 = vec![9; pieces * 20];
        let hashes = PieceHashes { v1: &v1, v2: &layers };
        let made = create(b"folder", &payload, hashes, &v2(format)).unwrap();
        assert!(bencode::parse(&made, Limits::default()).unwrap().is_canonical());
        let torrent = Torrent::parse(&made).unwrap();
        let info = &torrent.info;
        assert_eq!((info.has_v1(), info.has_v2()), (format.has_v1(), true));
        assert!(!torrent.lacks_layers());
        let real: Vec<_> = info.files().iter().filter(|file| !file.attributes.pad).collect();
        let read: Vec<_> = real.iter().map(|file| (file.path.display(), file.length)).collect();
        let expected = [("b", 16_384), ("d/a", 40_000), ("d/e/f", 5), ("d0", 0), ("link", 0)];
        assert_eq!(read, expected.map(|(path, length)| (format!("folder/{path}"), length)));
        assert!(real[1].attributes.hidden && real[1].attributes.executable);
        assert_eq!(real[4].symlink_target.as_ref(), Some(&real[1].path));
        assert_eq!(torrent.piece_root(2), Some(layers[1][1]));
        assert_eq!(info.geometry().piece_count(), 5);
    }
}

#[test]
fn a_hybrid_pads_all_files_but_an_only_one() {
    assert_eq!(padding_after(5, 16_384, 2), 16_379);
    assert_eq!(padding_after(16_384, 16_384, 2), 0);
    assert_eq!(padding_after(0, 16_384, 2), 0);
    assert_eq!(padding_after(5, 16_384, 1), 0);
    let one = [named("f", 5)];
    let layers = layers(&one);
    let hashes = PieceHashes { v1: &[9; 20], v2: &layers };
    let folder = CreatePayload::Folder(one.into());
    let made = create(b"folder", &folder, hashes, &v2(Format::Hybrid)).unwrap();
    assert_eq!(Torrent::parse(&made).unwrap().info.files().len(), 1);
    let file = CreatePayload::File { length: 5, executable: true };
    let made = create(b"file", &file, hashes, &v2(Format::Hybrid)).unwrap();
    let torrent = Torrent::parse(&made).unwrap();
    assert!(torrent.info.is_single_file() && torrent.info.has_v1() && torrent.info.has_v2());
    assert!(torrent.info.files()[0].attributes.executable);
    let made = create(b"file", &file, hashes, &v2(Format::V2)).unwrap();
    assert!(Torrent::parse(&made).unwrap().info.files()[0].attributes.executable);
}

#[test]
fn files_that_a_tree_can_not_have_are_refused() {
    let layers = vec![vec![[1; 32]]; 2];
    let make = |paths: [&str; 2]| {
        let payload = CreatePayload::Folder(paths.map(|path| named(path, 5)).into());
        let hashes = PieceHashes { v1: &[], v2: &layers };
        create(b"t", &payload, hashes, &v2(Format::V2)).map(|_| ())
    };
    assert_eq!(make(["a", "b"]), Ok(()));
    let refused = |name: &str| Err(TorrentError::FileOrder(name.into()));
    assert_eq!(make(["a", "a/b"]), refused("a/b"));
    assert_eq!(make(["a", "a"]), refused("a"));
    assert_eq!(make(["b", "a"]), refused("a"));
    // Hashes that are missing make no torrent either.
    let payload = CreatePayload::File { length: 5, executable: false };
    let made = create(b"t", &payload, &[9; 20], &v2(Format::Hybrid));
    assert_eq!(made, Err(TorrentError::PiecesRoot("t".into())));
    let odd = CreateOptions { piece_length: Some(48 * 1024), ..v2(Format::V2) };
    let hashes = PieceHashes { v1: &[], v2: &layers[..1] };
    assert_eq!(create(b"t", &payload, hashes, &odd), Err(TorrentError::PieceLengthV2(49_152)));
}
