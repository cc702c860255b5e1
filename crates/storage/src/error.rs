//! What a disk can refuse, one variant for each thing a person does about it.

use std::io;
use std::path::PathBuf;

use metainfo::PieceIndex;
use rustix::io::Errno;

/// Why a torrent's data could not be read or written. Each names the path it is about.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StorageError {
    /// The file is gone, or shorter than the data that was there.
    #[error("{path} is missing or cut short; bring it back, or check the torrent again", path = path.display())]
    Missing {
        /// Which file.
        path: PathBuf,
    },
    /// The download folder is gone, or is not the one the torrent was opened in.
    #[error("the folder {path} is gone, or another volume is mounted there", path = path.display())]
    RootMissing {
        /// The download folder.
        path: PathBuf,
    },
    /// No space is left, or the quota is used up.
    #[error("no space left for {path}; free some and the download goes on", path = path.display())]
    Full {
        /// The file being written.
        path: PathBuf,
    },
    /// Something has the name that a file is to be moved to.
    #[error("{path} exists already; nothing was moved", path = path.display())]
    Exists {
        /// What is there.
        path: PathBuf,
    },
    /// A copy that was read back is not what was copied.
    #[error("{path} is not what was copied there; the disk may be failing. The files stay where they were", path = path.display())]
    CopyDiffers {
        /// The copy.
        path: PathBuf,
    },
    /// The record of a torrent could not be read or saved.
    #[error("the state: {0}; the files stay where they were")]
    State(String),
    /// A move was given up.
    #[error("it was given up; the files stay where they were")]
    Cancelled,
    /// The file system is mounted read-only.
    #[error("{path} is on a read-only file system", path = path.display())]
    ReadOnly {
        /// Which file.
        path: PathBuf,
    },
    /// The file's or a folder's permissions say no.
    #[error("no permission to use {path}", path = path.display())]
    Permission {
        /// Which file or folder.
        path: PathBuf,
    },
    /// A path is taken by something that is not the torrent's file.
    #[error("{path} is {found}; move it away, or choose another folder", path = path.display())]
    InTheWay {
        /// The path the torrent needs, or a folder on the way to it.
        path: PathBuf,
        /// What is there.
        found: Obstacle,
    },
    /// A longer file is there, and nobody consented to cutting it.
    #[error(
        "{path} is {length} bytes where the torrent has {expected}; move it away, or allow overwriting",
        path = path.display()
    )]
    Longer {
        /// Which file.
        path: PathBuf,
        /// Bytes it has.
        length: u64,
        /// Bytes it has in the torrent.
        expected: u64,
    },
    /// A file of the torrent's name is there, and nothing in it is the torrent's.
    #[error("{path} holds something else; move it away, or allow overwriting", path = path.display())]
    Stranger {
        /// Which file.
        path: PathBuf,
    },
    /// The file has other names, whose contents would change with it.
    #[error(
        "{path} has {links} names (hard links), and writing would change them all; \
         copy it, or allow overwriting",
        path = path.display()
    )]
    HardLinked {
        /// Which file.
        path: PathBuf,
        /// Names it has.
        links: u64,
    },
    /// Two of the torrent's names lead to one file: the file system does not tell them apart.
    #[error(
        "{path} and {other} are one file here, as on file systems that see no difference between large and \
         small letters; give one of them another name, or choose another folder",
        path = path.display(), other = other.display()
    )]
    SameFile {
        /// Which file.
        path: PathBuf,
        /// The one that had it first.
        other: PathBuf,
    },
    /// The file system can't hold a file this long.
    #[error("{path} is longer than its file system takes", path = path.display())]
    TooLarge {
        /// Which file.
        path: PathBuf,
    },
    /// The file system can't have a file of this name.
    #[error("{path}: the name is not one this file system takes", path = path.display())]
    BadName {
        /// Which file.
        path: PathBuf,
    },
    /// The process or the system is out of file descriptors.
    #[error("too many open files to open {path}; raise the limit (`ulimit -n`)", path = path.display())]
    TooManyOpenFiles {
        /// Which file.
        path: PathBuf,
    },
    /// The disk failed to take what the kernel had accepted. What was written to the file since it
    /// was last synced may be lost at a power cut, whatever a later sync says.
    #[error("{path} could not be brought to disk: {error}", path = path.display())]
    NotDurable {
        /// Which file.
        path: PathBuf,
        /// What the system said, the first time.
        error: String,
    },
    /// Anything else, as the system puts it.
    #[error("{path}: {error}", path = path.display())]
    Io {
        /// Which file or folder.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// A range that is not inside a piece of the torrent, or too long to read at once.
    #[error("no {length} bytes at {begin} of piece {piece}")]
    OutOfRange {
        /// The piece.
        piece: PieceIndex,
        /// Offset in it, in bytes.
        begin: u32,
        /// Bytes.
        length: u32,
    },
    /// A bug in this program ended the job. The data is as it was before or half written.
    #[error("an internal error interrupted the disk's work")]
    Panicked,
}

/// What was found where a file belongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Obstacle {
    /// A folder.
    Folder,
    /// A file, where a folder belongs.
    File,
    /// A symbolic link; these are never followed below the download folder.
    Symlink,
    /// A symbolic link to what is not there, where a link may be.
    DeadLink,
    /// A device, a pipe or a socket.
    Special,
}

impl std::fmt::Display for Obstacle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Folder => "a folder where a file belongs",
            Self::File => "a file where a folder belongs",
            Self::Symlink => "a symbolic link, which is not followed",
            Self::DeadLink => "a symbolic link that leads nowhere",
            Self::Special => "a device, pipe or socket",
        })
    }
}

impl StorageError {
    /// What an error number means for `path`.
    pub(crate) fn new(path: PathBuf, errno: Errno) -> Self {
        match errno {
            Errno::NOENT => Self::Missing { path },
            Errno::NOSPC | Errno::DQUOT => Self::Full { path },
            Errno::ROFS => Self::ReadOnly { path },
            Errno::ACCESS | Errno::PERM => Self::Permission { path },
            Errno::FBIG => Self::TooLarge { path },
            Errno::NAMETOOLONG | Errno::ILSEQ | Errno::INVAL => Self::BadName { path },
            Errno::MFILE | Errno::NFILE => Self::TooManyOpenFiles { path },
            Errno::LOOP => Self::InTheWay { path, found: Obstacle::Symlink },
            Errno::ISDIR => Self::InTheWay { path, found: Obstacle::Folder },
            Errno::NOTDIR => Self::InTheWay { path, found: Obstacle::File },
            Errno::NXIO => Self::InTheWay { path, found: Obstacle::Special },
            other => Self::Io { path, error: other.into() },
        }
    }

    /// The same for an error met while reading or writing an open file, where a number that speaks
    /// of names makes no sense.
    pub(crate) fn on_open_file(path: PathBuf, errno: Errno) -> Self {
        match errno {
            Errno::NOSPC
            | Errno::DQUOT
            | Errno::ROFS
            | Errno::FBIG
            | Errno::ACCESS
            | Errno::PERM => Self::new(path, errno),
            other => Self::Io { path, error: other.into() },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_cause_has_its_own_variant_and_names_the_path() {
        let error = |errno| StorageError::new("/data/file.bin".into(), errno);
        assert!(matches!(error(Errno::NOSPC), StorageError::Full { .. }));
        assert!(matches!(error(Errno::DQUOT), StorageError::Full { .. }));
        assert!(matches!(error(Errno::ROFS), StorageError::ReadOnly { .. }));
        assert!(matches!(error(Errno::ACCESS), StorageError::Permission { .. }));
        assert!(matches!(error(Errno::NOENT), StorageError::Missing { .. }));
        assert!(matches!(error(Errno::FBIG), StorageError::TooLarge { .. }));
        assert!(matches!(error(Errno::MFILE), StorageError::TooManyOpenFiles { .. }));
        assert!(matches!(error(Errno::NAMETOOLONG), StorageError::BadName { .. }));
        for errno in [Errno::NOSPC, Errno::ROFS, Errno::ACCESS, Errno::NOENT, Errno::IO] {
            assert!(error(errno).to_string().contains("/data/file.bin"), "{errno:?}");
        }
    }

    #[test]
    fn an_input_output_error_keeps_the_systems_words() {
        let error = StorageError::on_open_file("/data/a".into(), Errno::IO);
        let StorageError::Io { error, .. } = error else { panic!("{error}") };
        assert_eq!(error.raw_os_error(), Some(Errno::IO.raw_os_error()));
    }
}
