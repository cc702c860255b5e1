//! What a person may give where a torrent is wanted: a file, a URL of one, or a magnet link.

use engine::Network;
use engine::metainfo::{InfoHashes, Magnet, Torrent};

use crate::exit::{Code, Failure};
use crate::interrupt::Interrupt;

/// A torrent, or the way to one.
pub(crate) enum Source {
    Torrent(Torrent),
    Magnet(Magnet),
}

/// Whether it says so itself.
pub(crate) fn is_magnet(text: &str) -> bool {
    text.split_at_checked(7).is_some_and(|(scheme, _)| scheme.eq_ignore_ascii_case("magnet:"))
}

fn is_web(text: &str) -> bool {
    let scheme = text.split_once("://").map(|(scheme, _)| scheme.to_ascii_lowercase());
    scheme.is_some_and(|scheme| scheme == "http" || scheme == "https")
}

impl Source {
    /// What `text` names: a file's path, `-` for standard input, a magnet link, or an http(s) URL of a
    /// .torrent file, which is fetched.
    pub(crate) async fn of(
        text: &str,
        network: &Network,
        interrupt: &Interrupt,
    ) -> Result<Self, Failure> {
        if is_web(text) {
            let bytes = tokio::select! {
                bytes = engine::fetch_torrent(text, network) => bytes?,
                () = interrupt.wait() => return Err(Failure::interrupted()),
            };
            let torrent = Torrent::parse(&bytes).map_err(|error| Failure::torrent(text, &error));
            return torrent.map(Self::Torrent);
        }
        if !is_magnet(text) {
            return super::read_torrent(text).map(Self::Torrent);
        }
        let magnet = text.parse().map_err(|error| {
            Failure::new(Code::BadTorrent, format!("bad magnet link: {error}"))
                .advise("copy the whole link, in quotes: a shell breaks it at `&`")
        });
        magnet.map(Self::Magnet)
    }

    /// All its hashes.
    pub(crate) fn hashes(&self) -> InfoHashes {
        match self {
            Self::Torrent(torrent) => torrent.info_hashes,
            Self::Magnet(magnet) => magnet.hashes,
        }
    }

    /// Whether it is certain that both are one torrent; a hybrid goes by either of its hashes.
    pub(crate) fn is_the_same_as(&self, other: &Self) -> bool {
        let (one, other) = (self.hashes(), other.hashes());
        let v1 = one.v1().is_some() && one.v1() == other.v1();
        v1 || one.v2().is_some() && one.v2() == other.v2()
    }
}
