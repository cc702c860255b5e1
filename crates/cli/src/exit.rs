//! Exit codes and failures: one table, and one place where every error becomes a sentence with
//! the next step.

use std::fmt;
use std::path::Path;

use engine::metainfo::TorrentError as BadTorrent;
use engine::storage::StorageError;
use engine::{AddError, FetchError, HandshakeFailure, MagnetFailure, StartError, TorrentError};

/// Why a command ends, as its exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Code {
    Failed = 1,
    Usage = 2,
    BadTorrent = 3,
    NoPeers = 4,
    Disk = 5,
    Verification = 6,
    WrongInfoHash = 10,
    ClosedEarly = 11,
    NotBitTorrent = 12,
    TimedOut = 13,
    CantConnect = 14,
    Interrupted = 130,
}

/// The table for `--help` and the manual.
pub(crate) const HELP: &str = "\
Exit codes:
    0  done
    1  failed for a reason not listed here
    2  the command line is wrong
    3  the .torrent file or magnet link is bad, or can't be read
    4  no peers
    5  disk error
    6  data failed verification
   10  handshake: wrong info hash        11  handshake: the peer closed early
   12  handshake: not BitTorrent         13  handshake: timed out
   14  handshake: can't connect
  130  interrupted; state is saved";

/// A command that did not do what it was asked: what happened, and what to do about it.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) code: Code,
    pub(crate) message: String,
    pub(crate) advice: Option<&'static str>,
    /// It was told when it happened.
    pub(crate) reported: bool,
}

impl Failure {
    pub(crate) fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), advice: None, reported: false }
    }

    pub(crate) fn advise(mut self, advice: &'static str) -> Self {
        self.advice = Some(advice);
        self
    }

    pub(crate) fn other(error: impl fmt::Display) -> Self {
        Self::new(Code::Failed, error.to_string())
    }

    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::new(Code::Usage, message)
    }

    pub(crate) fn interrupted() -> Self {
        Self::new(Code::Interrupted, "interrupted")
    }

    /// A file of the user's own (not of a torrent) can't be read or written.
    pub(crate) fn file(path: &Path, error: &std::io::Error) -> Self {
        Self::new(Code::Disk, format!("{}: {error}", path.display()))
    }

    pub(crate) fn torrent(path: &str, error: &BadTorrent) -> Self {
        Self::new(Code::BadTorrent, format!("{path}: {error}"))
            .advise("get the .torrent file again; this one can't be used")
    }
}

impl From<StorageError> for Failure {
    fn from(error: StorageError) -> Self {
        use StorageError as E;
        let failure = Self::new(Code::Disk, error.to_string());
        match &error {
            E::RootMissing { .. } => {
                failure.advise("mount the disk or bring the folder back, and run it again")
            }
            E::ReadOnly { .. } | E::Permission { .. } => {
                failure.advise("choose a folder that you may write to")
            }
            E::Longer { .. } | E::Stranger { .. } | E::HardLinked { .. } => {
                failure.advise("--overwrite allows it")
            }
            E::Exists { .. } => failure.advise("move that away, or choose another place or name"),
            E::SameFile { .. } => {
                failure.advise("a folder on another file system has room for both")
            }
            E::TooLarge { .. } => failure.advise("choose a folder on another file system"),
            _ => failure, // it says itself what to do, or nobody can tell
        }
    }
}

impl From<AddError> for Failure {
    fn from(error: AddError) -> Self {
        match error {
            AddError::Storage(error) => error.into(),
            AddError::StorageMissing { .. } => Self::new(Code::Disk, error.to_string())
                .advise("--recheck begins with what is there now"),
            AddError::PathInUse { .. } => Self::new(Code::Disk, error.to_string())
                .advise("get one of them into another folder, with -o"),
            AddError::NoSuchPiece { .. } => Self::usage(error.to_string()),
            other => Self::other(other), // in it already, or at its end: nothing a person does
        }
    }
}

impl From<MagnetFailure> for Failure {
    fn from(error: MagnetFailure) -> Self {
        match &error {
            MagnetFailure::Torrent(_) => Self::new(Code::BadTorrent, error.to_string())
                .advise("the link leads to a torrent that this version can't use"),
            _ => Self::other(error), // in it already, or at its end
        }
    }
}

impl From<TorrentError> for Failure {
    fn from(error: TorrentError) -> Self {
        match error {
            TorrentError::Storage(error) => error.into(),
            other => Self::other(other),
        }
    }
}

impl From<StartError> for Failure {
    fn from(error: StartError) -> Self {
        match &error {
            StartError::Proxy { .. } => Self::usage(error.to_string()),
            StartError::State { .. } => Self::new(Code::Disk, error.to_string())
                .advise("name another folder with --state-dir"),
            _ => Self::other(error), // the port, or the system: the message says what to do
        }
    }
}

impl From<FetchError> for Failure {
    fn from(error: FetchError) -> Self {
        Self::new(Code::BadTorrent, error.to_string()).advise("check the URL, or fetch it by hand")
    }
}

impl From<HandshakeFailure> for Failure {
    fn from(error: HandshakeFailure) -> Self {
        use HandshakeFailure as F;
        let (code, advice) = match &error {
            F::WrongInfoHash { .. } => {
                (Code::WrongInfoHash, "the peer serves another torrent on this address")
            }
            F::ClosedEarly { .. } => (
                Code::ClosedEarly,
                "most clients close like this on a torrent that they do not serve; some want encryption",
            ),
            F::Encryption(_) => (Code::NotBitTorrent, "the peer may not know encryption"),
            F::NotBitTorrent => {
                (Code::NotBitTorrent, "check the port: something else listens there")
            }
            F::Timeout { .. } => (
                Code::TimedOut,
                "the peer may want encryption (`--encryption prefer`), or be overloaded",
            ),
            F::ConnectTimeout { .. } => (Code::TimedOut, "check address, port and firewall"),
            F::NoWay { .. } => (
                Code::CantConnect,
                "the peer was not asked: see to the interface or proxy that the message names",
            ),
            F::Resolve(_) => {
                (Code::CantConnect, "check the name and your name server, or give the address")
            }
            F::Connect { .. } => {
                (Code::CantConnect, "check that the peer runs and listens on this address and port")
            }
            _ => (Code::Failed, "try again"),
        };
        Self::new(code, error.to_string()).advise(advice)
    }
}
