//! A file that a command was asked to make: it appears whole or not at all, and replaces nothing
//! unasked.

use std::fs::{File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::exit::{Code, Failure};

/// The mode of a new file before the user's umask takes from it.
const MODE: u32 = 0o666;

/// Refuses early, before any work is done, what [`write`] would refuse at the end.
pub(crate) fn refuse_existing(target: &Path, replace: bool) -> Result<(), Failure> {
    if replace || target.symlink_metadata().is_err() {
        return Ok(());
    }
    let message = format!("{} exists", target.display());
    Err(Failure::new(Code::Disk, message).advise("give another -o, or --force"))
}

/// Writes it beside the target and moves it there.
pub(crate) fn write(target: &Path, bytes: &[u8], replace: bool) -> Result<(), Failure> {
    let failed = |error: io::Error| Failure::file(target, &reason(error));
    let folder = target.parent().filter(|parent| !parent.as_os_str().is_empty());
    let mut part = tempfile::Builder::new()
        .prefix(".peerless-")
        .suffix(".part")
        .permissions(Permissions::from_mode(MODE))
        .tempfile_in(folder.unwrap_or(Path::new(".")))
        .map_err(failed)?;
    part.write_all(bytes).and_then(|()| part.as_file().sync_all()).map_err(failed)?;
    if replace {
        return part.persist(target).map(drop).map_err(|error| failed(error.error));
    }
    match part.persist_noclobber(target) {
        Ok(_) => Ok(()),
        Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => {
            refuse_existing(target, false) // it came into being meanwhile
        }
        // A file system without hard links, nor a rename that replaces nothing.
        Err(_) => write_new(target, bytes).map_err(failed),
    }
}

/// Without the name of a file that nobody asked for.
fn reason(error: io::Error) -> io::Error {
    if error.raw_os_error().is_some() { error } else { error.kind().into() }
}

/// Straight into the target, which must be new.
fn write_new(target: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file: File = OpenOptions::new().write(true).create_new(true).open(target)?;
    file.write_all(bytes).and_then(|()| file.sync_all()).inspect_err(|_| {
        let _ = std::fs::remove_file(target); // ours, and half a file
    })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn nothing_is_replaced_unasked_and_nothing_is_left_behind() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("a");
        write(&target, b"one", false).unwrap();
        assert_eq!(write(&target, b"two", false).unwrap_err().code, Code::Disk);
        assert_eq!(fs::read(&target).unwrap(), b"one");
        write(&target, b"two", true).unwrap();
        assert_eq!(fs::read(&target).unwrap(), b"two");
        let failed = write(&dir.path().join("no/such/folder"), b"", true).unwrap_err();
        assert!(
            failed.message.contains("such/folder") && !failed.message.contains(".part"),
            "{}",
            failed.message
        );
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn where_nothing_can_be_moved_the_file_is_made_in_place() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("a");
        write_new(&target, b"one").unwrap();
        assert_eq!(write_new(&target, b"two").unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read(&target).unwrap(), b"one");
    }

    #[test]
    fn a_dangling_link_is_in_the_way_too() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("a");
        std::os::unix::fs::symlink("nowhere", &target).unwrap();
        assert!(refuse_existing(&target, false).is_err());
        assert!(write(&target, b"one", false).is_err());
        assert!(!dir.path().join("nowhere").exists());
    }
}
