//! .torrent files: nothing panics, no path leaves its root or is given twice, and the files cover
//! every piece without a gap; in a v2 torrent each piece has its hash or is known to lack it. What is
//! changed around the `info` leaves it alone.
#![no_main]

use std::collections::HashSet;
use std::path::{Component, Path};

use libfuzzer_sys::fuzz_target;
use metainfo::{Edit, SafePath, Torrent};

fn stays(path: &SafePath) {
    let root = Path::new("/root");
    let full = path.under(root);
    let below = full.strip_prefix(root).expect("below the root");
    assert!(below.components().count() > 0);
    assert!(below.components().all(|part| matches!(part, Component::Normal(_))));
}

fuzz_target!(|input: &[u8]| {
    let Ok(torrent) = Torrent::parse(input) else {
        return;
    };
    let info = &torrent.info;
    let geometry = info.geometry();
    let mut paths = HashSet::new();
    let (mut end, mut bytes) = (0_u64, 0);
    for file in info.files() {
        stays(&file.path);
        file.symlink_target.iter().for_each(stays);
        assert!(file.attributes.pad || paths.insert(&file.path));
        // A torrent that is v2 only begins each file at a piece.
        let gap = if info.has_v1() { 1 } else { u64::from(geometry.piece_length()) };
        assert_eq!(file.offset, end.next_multiple_of(gap));
        assert_eq!(file.root.is_some(), info.has_v2() && file.length > 0 && !file.attributes.pad);
        end = file.end();
        bytes += file.length;
    }
    assert_eq!(bytes, geometry.total_length());
    assert!(info.has_v1() || info.has_v2());
    assert!(torrent.info_hashes.verify(&torrent.info_bytes));
    for piece in 0..geometry.piece_count() {
        let mut at = geometry.piece_offset(piece);
        for segment in info.segments(piece, 0, u32::MAX) {
            assert!(segment.length > 0 && info.files_of_piece(piece).contains(&segment.file));
            assert_eq!(info.files()[segment.file].offset + segment.offset, at);
            at += segment.length;
        }
        assert_eq!(at, geometry.piece_offset(piece) + u64::from(geometry.piece_size(piece)));
        assert_eq!(info.piece_hash(piece).is_some(), info.has_v1());
        assert!(info.tree_bytes(piece) <= geometry.piece_size(piece));
        if !torrent.lacks_layers() {
            assert_eq!(torrent.piece_root(piece).is_some(), info.file_of_piece(piece).is_some());
        }
    }
    for (piece, block) in info.pad_blocks().take(1000) {
        assert!(geometry.block_size(piece, block) > 0);
    }
    let _ = (torrent.magnet(), info.name());
    let hints = torrent.hints();
    assert!(hints.similar.len() <= 200 && hints.collections.len() <= 200);
    let trackers = Some(vec![vec!["http://new.example/".to_string()]]);
    let similar = Some(hints.similar.clone());
    let edited = Edit { trackers, similar, ..Edit::default() }.apply(input).expect("it was read");
    let edited = Torrent::parse(&edited).expect("it is still one");
    assert_eq!(edited.info_bytes, torrent.info_bytes);
    assert_eq!(edited.piece_layers, torrent.piece_layers);
    assert_eq!(edited.hints().similar, hints.similar);
});
