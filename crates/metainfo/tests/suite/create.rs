//! What is created is what is read, and the same input always gives the same bytes.

use metainfo::bencode::{self, Limits};
use metainfo::{
    CreateFile, CreateOptions, CreatePayload, Torrent, TorrentError, create, default_piece_length,
};

fn options() -> CreateOptions {
    CreateOptions {
        piece_length: Some(32 * 1024),
        trackers: vec![
            vec!["http://a/announce".into(), "udp://b:6969".into()],
            vec!["http://c/announce".into()],
        ],
        web_seeds: vec!["http://seed/".into(), "http://other/".into()],
        comment: Some("a comment".into()),
        created_by: Some("peerless 0.1".into()),
        creation_date: Some(1_700_000_000),
        private: true,
    }
}

fn entry(path: &[&str], length: u64, executable: bool) -> CreateFile {
    let path = path.iter().map(|name| name.as_bytes().to_vec()).collect();
    CreateFile { path, length, executable }
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
