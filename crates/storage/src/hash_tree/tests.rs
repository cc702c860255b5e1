//! Hashing files and folders for a new torrent.

use std::os::unix::fs::{PermissionsExt, symlink};
use std::sync::Mutex;

use metainfo::merkle;

use super::*;

fn no_progress(_: CheckProgress) {}

fn hash_as(
    payload: &Payload,
    format: Format,
    piece_length: u32,
) -> Result<PayloadHashes, HashTreeError> {
    payload.hash(format, piece_length, &no_progress, &AtomicBool::new(false))
}

fn hash(payload: &Payload, piece_length: u32) -> Result<Vec<u8>, HashTreeError> {
    let hashes = hash_as(payload, Format::V1, piece_length)?;
    assert!(hashes.v2.is_empty());
    Ok(hashes.v1)
}

fn walk(path: &Path) -> Result<Payload, HashTreeError> {
    Payload::walk(path, Symlinks::Skip)
}

#[test]
fn one_file_has_the_known_hash() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("abc.txt");
    fs::write(&path, "abc").unwrap();
    let payload = walk(&path).unwrap();
    assert_eq!((&*payload.name, payload.is_single_file), (&b"abc.txt"[..], true));
    assert_eq!(payload.files[0].components, Vec::<Vec<u8>>::new());
    // FIPS 180-2, "abc".
    let known = b"\xa9\x99\x3e\x36\x47\x06\x81\x6a\xba\x3e\x25\x71\x78\x50\xc2\x6c\x9c\xd0\xd8\x9d";
    assert_eq!(hash(&payload, 16 * 1024).unwrap(), known);
}

#[test]
fn a_million_a_in_two_files_is_one_piece() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("1"), vec![b'a'; 400_001]).unwrap();
    fs::write(dir.path().join("2"), vec![b'a'; 599_999]).unwrap();
    let payload = walk(dir.path()).unwrap();
    // FIPS 180-2, one million times "a".
    let known = b"\x34\xaa\x97\x3c\xd4\xc4\xda\xa4\xf6\x1e\xeb\x2b\xdb\xad\x27\x31\x65\x34\x01\x6f";
    assert_eq!(hash(&payload, 1 << 20).unwrap(), known);
}

#[test]
fn many_pieces_over_many_files_agree_with_hashing_the_whole() {
    let dir = tempfile::tempdir().unwrap();
    let mut whole = Vec::new();
    for number in 0..40_u32 {
        let bytes: Vec<u8> = (0..number * 7919).map(|byte| (byte * 31 + number) as u8).collect();
        fs::write(dir.path().join(format!("{number:03}")), &bytes).unwrap();
        whole.extend_from_slice(&bytes);
    }
    let payload = walk(dir.path()).unwrap();
    assert_eq!(payload.total_length(), whole.len() as u64);
    for piece_length in [16 * 1024, 1_000_003, 8 << 20] {
        let expected: Vec<u8> =
            whole.chunks(piece_length).flat_map(|piece| digest::sha1(&[piece])).collect();
        assert_eq!(hash(&payload, piece_length as u32).unwrap(), expected, "{piece_length}");
    }
}

#[test]
fn files_are_sorted_by_their_bytes_and_links_are_left_out() {
    let dir = tempfile::tempdir().unwrap();
    for name in ["b/z", "b/a", "B", "a.txt", "a/x"] {
        let path = dir.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, name).unwrap();
    }
    fs::set_permissions(dir.path().join("B"), fs::Permissions::from_mode(0o755)).unwrap();
    symlink(dir.path().join("B"), dir.path().join("link")).unwrap();
    symlink(dir.path().join("b"), dir.path().join("folder-link")).unwrap();
    let payload = walk(dir.path()).unwrap();
    let names: Vec<String> = payload
        .files
        .iter()
        .map(|file| String::from_utf8_lossy(&file.components.join(&b'/')).into_owned())
        .collect();
    assert_eq!(names, ["B", "a/x", "a.txt", "b/a", "b/z"]);
    assert_eq!(payload.skipped, ["folder-link", "link"].map(|name| dir.path().join(name)));
    let executable: Vec<bool> = payload.files.iter().map(|file| file.executable).collect();
    assert_eq!(executable, [true, false, false, false, false]);
}

#[test]
fn what_changes_while_it_is_hashed_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("file");
    for change in [&b"shorter"[..], b"much longer than it was before"] {
        fs::write(&path, "what it was before").unwrap();
        let payload = walk(dir.path()).unwrap();
        fs::write(&path, change).unwrap();
        let result = hash(&payload, 16 * 1024);
        assert!(
            matches!(&result, Err(HashTreeError::Changed { path: at }) if *at == path),
            "{result:?}"
        );
    }
    fs::write(&path, "first").unwrap();
    fs::write(dir.path().join("z"), "last").unwrap();
    let payload = walk(dir.path()).unwrap();
    let touch = |_| {
        let file = File::options().write(true).open(&path).unwrap();
        file.set_modified(SystemTime::UNIX_EPOCH).unwrap(); // same length, after it was read
    };
    let result = payload.hash(Format::V1, 16 * 1024, &touch, &AtomicBool::new(false));
    assert!(matches!(result, Err(HashTreeError::Changed { .. })), "{result:?}");
    fs::remove_file(&path).unwrap();
    assert!(matches!(hash(&payload, 16 * 1024), Err(HashTreeError::Unreadable { .. })));
}

#[test]
fn nothing_to_hash_is_said_plainly() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("sub")).unwrap();
    assert!(matches!(walk(dir.path()), Err(HashTreeError::Empty { .. })));
    assert!(matches!(walk(&dir.path().join("no")), Err(HashTreeError::Unreadable { .. })));
    assert!(matches!(walk(Path::new("/dev/null")), Err(HashTreeError::NotAFile { .. })));
    fs::write(dir.path().join("empty"), "").unwrap();
    let payload = walk(dir.path()).unwrap();
    assert_eq!(hash(&payload, 16 * 1024).unwrap(), [0; 0]);
    assert!(matches!(hash(&payload, 0), Err(HashTreeError::PieceLength(0))));
}

#[test]
fn a_path_without_a_name_is_named_after_its_folder() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("name")).unwrap();
    fs::write(dir.path().join("name/file"), "x").unwrap();
    let payload = walk(&dir.path().join("name/../name/.")).unwrap();
    assert_eq!(payload.name, b"name");
    let payload = walk(&dir.path().join("name/..")).unwrap();
    assert_eq!(Some(std::ffi::OsStr::from_bytes(&payload.name)), dir.path().file_name());
}

#[test]
fn progress_reaches_the_end_and_cancelling_stops() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("file"), vec![1; 9 << 20]).unwrap();
    let payload = walk(dir.path()).unwrap();
    let seen = Mutex::new(Vec::new());
    let progress = |now: CheckProgress| seen.lock().unwrap().push(now.done_bytes);
    payload.hash(Format::V1, 1 << 20, &progress, &AtomicBool::new(false)).unwrap();
    let mut seen = seen.into_inner().unwrap();
    seen.sort_unstable();
    let runs = (9_u64 << 20).div_ceil(crate::check::run_bytes(1 << 20)) as usize;
    assert_eq!((seen.len(), seen.last()), (runs, Some(&(9 << 20))));
    let result = payload.hash(Format::V1, 1 << 20, &no_progress, &AtomicBool::new(true));
    assert!(matches!(result, Err(HashTreeError::Cancelled)));
}

#[test]
fn hash_trees_agree_with_hashing_each_file_alone() {
    let dir = tempfile::tempdir().unwrap();
    let lengths = [0, 1, 16_384, 16_385, 32_768, 65_536, 65_537, 0, 300_000, 5_000_000];
    let content = |number: usize| {
        (0..lengths[number]).map(|byte| (byte * 31 + number) as u8).collect::<Vec<u8>>()
    };
    for number in 0..lengths.len() {
        fs::write(dir.path().join(format!("{number:03}")), content(number)).unwrap();
    }
    let payload = walk(dir.path()).unwrap();
    for piece_length in [16 * 1024_u32, 64 * 1024, 8 << 20] {
        let layer = merkle::piece_layer(piece_length);
        let expected: Vec<Vec<MerkleHash>> = (0..lengths.len())
            .map(|number| {
                let content = content(number);
                let leaves: Vec<_> = content.chunks(16 * 1024).map(merkle::leaf).collect();
                if content.len() <= piece_length as usize {
                    let top = merkle::height(leaves.len() as u64);
                    return leaves
                        .first()
                        .map(|_| merkle::root(&leaves, 0, top))
                        .into_iter()
                        .collect();
                }
                leaves.chunks(1 << layer).map(|piece| merkle::root(piece, 0, layer)).collect()
            })
            .collect();
        let v2 = hash_as(&payload, Format::V2, piece_length).unwrap();
        assert!(v2.v1.is_empty());
        assert!(v2.v2 == expected, "{piece_length}");
        // A hybrid's v1 pieces have zeros between the files, the last one too.
        let hybrid = hash_as(&payload, Format::Hybrid, piece_length).unwrap();
        assert!(hybrid.v2 == expected, "{piece_length}");
        let mut whole = Vec::new();
        for number in 0..lengths.len() {
            whole.extend(content(number));
            whole.resize(whole.len().next_multiple_of(piece_length as usize), 0);
        }
        let pieces = whole.chunks(piece_length as usize);
        assert!(hybrid.v1 == pieces.flat_map(|piece| digest::sha1(&[piece])).collect::<Vec<u8>>());
    }
    assert!(matches!(hash_as(&payload, Format::V2, 8_192), Err(HashTreeError::PieceLength(8_192))));
    assert!(hash_as(&payload, Format::Hybrid, 48 * 1024).is_err());
}

#[test]
fn one_file_alone_is_not_padded() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("f"), "abc").unwrap();
    let payload = walk(dir.path()).unwrap();
    let hybrid = hash_as(&payload, Format::Hybrid, 16 * 1024).unwrap();
    assert_eq!(hybrid.v1, hash(&payload, 16 * 1024).unwrap());
    assert_eq!(hybrid.v2, [[merkle::leaf(b"abc")]]);
}

#[test]
fn links_that_stay_inside_are_kept_on_demand() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("d")).unwrap();
    fs::write(dir.path().join("f"), "abc").unwrap();
    let links = [
        ("d/up", "../f"),
        ("dangling", "d/./nothing"),
        ("absolute", "/etc/passwd"),
        ("out", "../x"),
        ("and-back", "d/../../d/up"),
        ("self", "d/.."),
    ];
    for (name, target) in links {
        symlink(target, dir.path().join(name)).unwrap();
    }
    let payload = Payload::walk(dir.path(), Symlinks::Keep).unwrap();
    let kept: Vec<_> = payload
        .files
        .iter()
        .filter_map(|file| {
            let target = file.symlink_target.as_ref()?;
            Some((file.components.join(&b"/"[..]), target.join(&b"/"[..]), file.length))
        })
        .collect();
    let expected = [("d/up", "f"), ("dangling", "d/nothing")];
    assert_eq!(kept, expected.map(|(from, to)| (from.into(), to.into(), 0)));
    assert_eq!(payload.skipped.len(), 4);
    assert_eq!(hash(&payload, 16 * 1024).unwrap(), digest::sha1(&[b"abc"]));
    assert_eq!(walk(dir.path()).unwrap().skipped.len(), 6);
}
