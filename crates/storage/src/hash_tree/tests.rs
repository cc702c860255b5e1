//! Hashing files and folders for a new torrent.

use std::os::unix::fs::{PermissionsExt, symlink};

use super::*;

fn no_progress(_: CheckProgress) {}

fn hash(payload: &Payload, piece_length: u32) -> Result<Vec<u8>, HashTreeError> {
    payload.hash(piece_length, &no_progress, &AtomicBool::new(false))
}

#[test]
fn one_file_has_the_known_hash() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("abc.txt");
    fs::write(&path, "abc").unwrap();
    let payload = Payload::walk(&path).unwrap();
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
    let payload = Payload::walk(dir.path()).unwrap();
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
    let payload = Payload::walk(dir.path()).unwrap();
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
    let payload = Payload::walk(dir.path()).unwrap();
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
        let payload = Payload::walk(dir.path()).unwrap();
        fs::write(&path, change).unwrap();
        let result = hash(&payload, 16 * 1024);
        assert!(
            matches!(&result, Err(HashTreeError::Changed { path: at }) if *at == path),
            "{result:?}"
        );
    }
    fs::write(&path, "first").unwrap();
    fs::write(dir.path().join("z"), "last").unwrap();
    let payload = Payload::walk(dir.path()).unwrap();
    let touch = |_| {
        let file = File::options().write(true).open(&path).unwrap();
        file.set_modified(SystemTime::UNIX_EPOCH).unwrap(); // same length, after it was read
    };
    let result = payload.hash(16 * 1024, &touch, &AtomicBool::new(false));
    assert!(matches!(result, Err(HashTreeError::Changed { .. })), "{result:?}");
    fs::remove_file(&path).unwrap();
    assert!(matches!(hash(&payload, 16 * 1024), Err(HashTreeError::Unreadable { .. })));
}

#[test]
fn nothing_to_hash_is_said_plainly() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("sub")).unwrap();
    assert!(matches!(Payload::walk(dir.path()), Err(HashTreeError::Empty { .. })));
    assert!(matches!(Payload::walk(&dir.path().join("no")), Err(HashTreeError::Unreadable { .. })));
    assert!(matches!(Payload::walk(Path::new("/dev/null")), Err(HashTreeError::NotAFile { .. })));
    fs::write(dir.path().join("empty"), "").unwrap();
    let payload = Payload::walk(dir.path()).unwrap();
    assert_eq!(hash(&payload, 16 * 1024).unwrap(), [0; 0]);
    assert!(matches!(hash(&payload, 0), Err(HashTreeError::PieceLength(0))));
}

#[test]
fn a_path_without_a_name_is_named_after_its_folder() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("name")).unwrap();
    fs::write(dir.path().join("name/file"), "x").unwrap();
    let payload = Payload::walk(&dir.path().join("name/../name/.")).unwrap();
    assert_eq!(payload.name, b"name");
    let payload = Payload::walk(&dir.path().join("name/..")).unwrap();
    assert_eq!(Some(std::ffi::OsStr::from_bytes(&payload.name)), dir.path().file_name());
}

#[test]
fn progress_reaches_the_end_and_cancelling_stops() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("file"), vec![1; 9 << 20]).unwrap();
    let payload = Payload::walk(dir.path()).unwrap();
    let seen = Mutex::new(Vec::new());
    let progress = |now: CheckProgress| seen.lock().unwrap().push(now.done_bytes);
    payload.hash(1 << 20, &progress, &AtomicBool::new(false)).unwrap();
    let mut seen = seen.into_inner().unwrap();
    seen.sort_unstable();
    assert_eq!((seen.len(), seen.last()), (3, Some(&(9 << 20))));
    let result = payload.hash(1 << 20, &no_progress, &AtomicBool::new(true));
    assert!(matches!(result, Err(HashTreeError::Cancelled)));
}
