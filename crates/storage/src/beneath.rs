//! Opening, making and looking at files below a folder without ever leaving it.
//!
//! A torrent's names are safe (`metainfo::SafePath`), but what lies on the disk may not be: a
//! symbolic link in the place of a folder would lead every write elsewhere. The kernel is asked to
//! refuse that (`openat2`); where it can't be asked (old kernels, sandboxes), the path is walked
//! one component at a time, each opened without following links.

use std::ffi::OsStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;

use metainfo::SafePath;
use rustix::fs::{self, AtFlags, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;

/// How often `openat2` may ask for another try while folders are being renamed around it, before
/// the path is walked instead.
#[cfg(target_os = "linux")]
const RETRIES_MAX: u32 = 8;

/// Flags of every file opened here. Non-blocking, so that a pipe in a file's place can't hang us;
/// on regular files it changes nothing.
const FILE: OFlags = OFlags::CLOEXEC.union(OFlags::NONBLOCK).union(OFlags::NOCTTY);

/// Flags of a folder that is only a place to start from.
#[cfg(target_os = "linux")]
const PLACE: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);
#[cfg(not(target_os = "linux"))]
const PLACE: OFlags = OFlags::DIRECTORY.union(OFlags::CLOEXEC);

/// The folder everything is below. Links on the way to it are the user's own and are followed.
pub(crate) fn open_root(root: &std::path::Path) -> Result<OwnedFd, Errno> {
    fs::open(root, PLACE, Mode::empty())
}

/// Opens a file below `root`. Links anywhere on the way are refused with `ELOOP` or `ENOTDIR`.
pub(crate) fn open(
    root: BorrowedFd<'_>,
    path: &SafePath,
    flags: OFlags,
    mode: Mode,
) -> Result<OwnedFd, Errno> {
    #[cfg(target_os = "linux")]
    if let Some(result) = open_at_once(root, path, flags, mode) {
        return result;
    }
    open_stepwise(root, path, flags, mode)
}

/// `None` when the kernel can't or won't do it this way.
#[cfg(target_os = "linux")]
fn open_at_once(
    root: BorrowedFd<'_>,
    path: &SafePath,
    flags: OFlags,
    mode: Mode,
) -> Option<Result<OwnedFd, Errno>> {
    use rustix::fs::ResolveFlags;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    let joined = path.components().collect::<Vec<_>>().join(&b'/');
    for _ in 0..RETRIES_MAX {
        match fs::openat2(root, &*joined, flags | FILE, mode, resolve) {
            Err(Errno::AGAIN | Errno::INTR) => {}
            // Sandboxes answer `EPERM` for calls they do not know; a whole path may be too long
            // where each of its names is not.
            Err(Errno::NOSYS | Errno::PERM | Errno::NAMETOOLONG) => return None,
            result => return Some(result),
        }
    }
    None
}

fn open_stepwise(
    root: BorrowedFd<'_>,
    path: &SafePath,
    flags: OFlags,
    mode: Mode,
) -> Result<OwnedFd, Errno> {
    let (folder, name) = folder_of(root, path)?;
    let folder = folder.as_ref().map_or(root, AsFd::as_fd);
    fs::openat(folder, name, flags | FILE | OFlags::NOFOLLOW, mode)
}

/// The folder a path's last component is in (`None` is the root itself), and that component.
pub(crate) fn folder_of<'p>(
    root: BorrowedFd<'_>,
    path: &'p SafePath,
) -> Result<(Option<OwnedFd>, &'p OsStr), Errno> {
    let mut folder: Option<OwnedFd> = None;
    let mut name: Option<&OsStr> = None;
    for component in path.components() {
        if let Some(name) = name {
            let at = folder.as_ref().map_or(root, AsFd::as_fd);
            folder = Some(fs::openat(at, name, PLACE | OFlags::NOFOLLOW, Mode::empty())?);
        }
        name = Some(OsStr::from_bytes(component));
    }
    name.map(|name| (folder, name)).ok_or(Errno::NOENT) // a safe path is never empty
}

/// Makes the folders a file is in. Returns how many components deep the first new one is, so that
/// the caller knows which folders changed; `None` when all were there.
pub(crate) fn make_folders(root: BorrowedFd<'_>, path: &SafePath) -> Result<Option<usize>, Errno> {
    let mut folder: Option<OwnedFd> = None;
    let mut first_new = None;
    let count = path.components().count().saturating_sub(1);
    for (depth, component) in path.components().take(count).enumerate() {
        let at = folder.as_ref().map_or(root, AsFd::as_fd);
        let name = OsStr::from_bytes(component);
        match fs::mkdirat(at, name, Mode::RWXU | Mode::RWXG | Mode::RWXO) {
            Ok(()) => first_new = first_new.or(Some(depth)),
            Err(Errno::EXIST) => {}
            Err(error) => return Err(error),
        }
        folder = Some(fs::openat(at, name, PLACE | OFlags::NOFOLLOW, Mode::empty())?);
    }
    Ok(first_new)
}

/// What is at a path, not following a link that is there; links on the way are refused.
pub(crate) fn look(root: BorrowedFd<'_>, path: &SafePath) -> Result<Stat, Errno> {
    let (folder, name) = folder_of(root, path)?;
    let folder = folder.as_ref().map_or(root, AsFd::as_fd);
    fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW)
}

/// What kind of thing an answer of [`look`] is about.
pub(crate) fn kind(stat: &Stat) -> FileType {
    FileType::from_raw_mode(stat.st_mode as _)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use metainfo::PathRules;

    use super::*;

    fn path(components: &[&str]) -> SafePath {
        SafePath::new(components, PathRules::Posix).unwrap()
    }

    /// Both ways of opening must refuse and accept the same.
    fn both(root: &OwnedFd, path: &SafePath) -> [Result<OwnedFd, Errno>; 2] {
        let (flags, mode) = (OFlags::RDONLY, Mode::empty());
        [open(root.as_fd(), path, flags, mode), open_stepwise(root.as_fd(), path, flags, mode)]
    }

    #[test]
    fn links_are_refused_on_every_component() {
        let dir = tempfile::tempdir().unwrap();
        let outside = tempfile::tempdir().unwrap();
        std::fs::write(outside.path().join("file"), "secret").unwrap();
        symlink(outside.path(), dir.path().join("folder")).unwrap();
        symlink(outside.path().join("file"), dir.path().join("link")).unwrap();
        std::fs::create_dir(dir.path().join("real")).unwrap();
        symlink("../real", dir.path().join("real/loop")).unwrap();
        let root = open_root(dir.path()).unwrap();
        for names in [&["folder", "file"][..], &["link"], &["real", "loop", "file"]] {
            for result in both(&root, &path(names)) {
                let error = result.unwrap_err();
                assert!(matches!(error, Errno::LOOP | Errno::NOTDIR), "{names:?}: {error:?}");
            }
        }
        assert!(make_folders(root.as_fd(), &path(&["folder", "new", "file"])).is_err());
        assert!(!outside.path().join("new").exists());
        assert!(look(root.as_fd(), &path(&["folder", "file"])).is_err());
    }

    #[test]
    fn a_look_at_a_link_sees_the_link() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("file"), "x").unwrap();
        symlink("file", dir.path().join("link")).unwrap();
        let root = open_root(dir.path()).unwrap();
        let seen = look(root.as_fd(), &path(&["link"])).unwrap();
        assert_eq!(kind(&seen), FileType::Symlink);
    }

    #[test]
    fn plain_files_open_both_ways() {
        let dir = tempfile::tempdir().unwrap();
        let file = path(&["a", "b", "c"]);
        let root = open_root(dir.path()).unwrap();
        assert_eq!(make_folders(root.as_fd(), &file), Ok(Some(0)));
        assert_eq!(make_folders(root.as_fd(), &path(&["a", "b", "x", "y"])), Ok(Some(2)));
        assert_eq!(make_folders(root.as_fd(), &file), Ok(None));
        assert!(
            both(&root, &file).iter().all(|result| *result.as_ref().unwrap_err() == Errno::NOENT)
        );
        std::fs::write(dir.path().join("a/b/c"), "x").unwrap();
        assert!(both(&root, &file).iter().all(Result::is_ok));
    }

    #[test]
    fn a_pipe_does_not_hang_the_opener() {
        let dir = tempfile::tempdir().unwrap();
        let root = open_root(dir.path()).unwrap();
        let pipe = dir.path().join("pipe");
        rustix::fs::mknodat(rustix::fs::CWD, &pipe, FileType::Fifo, Mode::RUSR, 0).unwrap();
        drop(both(&root, &path(&["pipe"]))); // returning at all is what is tested
        let error = open(root.as_fd(), &path(&["pipe"]), OFlags::WRONLY, Mode::empty());
        assert_eq!(error.unwrap_err(), Errno::NXIO);
    }

    #[test]
    fn a_path_longer_than_the_kernel_takes_at_once_is_walked() {
        let dir = tempfile::tempdir().unwrap();
        let name = "n".repeat(250);
        let names = vec![name.as_str(); 20]; // 5,000 bytes, over PATH_MAX
        let file = path(&names);
        let root = open_root(dir.path()).unwrap();
        make_folders(root.as_fd(), &file).unwrap();
        let flags = OFlags::WRONLY | OFlags::CREATE;
        open(root.as_fd(), &file, flags, Mode::RUSR | Mode::WUSR).unwrap();
        assert_eq!(kind(&look(root.as_fd(), &file).unwrap()), FileType::RegularFile);
    }
}
