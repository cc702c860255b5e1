//! Why a tracker gave no answer.

use std::io;
use std::time::Duration;

use tracker::udp::UdpError;
use tracker::{Failure, ReplyError, UrlError};

use crate::http::{AddressError, HttpError};

/// Why a tracker gave no answer. Messages name its host at most: passkeys live in the rest.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AnnounceError {
    /// The URL can't be a tracker's.
    #[error(transparent)]
    Url(#[from] UrlError),
    /// The URL is not one that a scrape can be made from (BEP 48).
    #[error(
        "this tracker offers no scrape: the last part of its url does not begin with `announce`"
    )]
    NoScrape,
    /// The tracker's host has no address for us.
    #[error(transparent)]
    Address(#[from] AddressError),
    /// The GET failed.
    #[error(transparent)]
    Http(#[from] HttpError),
    /// The answer is a refusal, or none that can be read.
    #[error(transparent)]
    Reply(#[from] ReplyError),
    /// The UDP exchange brought nothing, or a refusal.
    #[error(transparent)]
    Udp(#[from] UdpError),
    /// This machine does not reach the tracker's address.
    #[error("no route to {host}: {source}")]
    NoRoute {
        /// Which host.
        host: String,
        /// What the system said.
        source: io::Error,
    },
    /// The socket failed; a refused connection means that nobody listens on that port.
    #[error("can't reach {host}: {source}")]
    Socket {
        /// Which host.
        host: String,
        /// What the system said.
        source: io::Error,
    },
    /// It was not asked: those who did before were given no answer in all the time they had.
    #[error(
        "the tracker did not answer when it was asked for other torrents; it is asked again later"
    )]
    Silent,
    /// Time was up: while its name was looked up, or, over the second address family, well after
    /// the answer over the first.
    #[error("the tracker did not answer within {} s", .limit.as_secs_f32())]
    TimedOut {
        /// The time it had.
        limit: Duration,
    },
}

impl AnnounceError {
    /// Whether the tracker said something, if only no.
    pub(super) fn is_answer(&self) -> bool {
        matches!(self, Self::Reply(_) | Self::Udp(UdpError::Reply(_)))
    }

    /// Whether it only says that this machine and the tracker do not share an address family:
    /// no failure as long as they share the other.
    pub(super) fn is_other_family(&self) -> bool {
        match self {
            Self::NoRoute { .. } | Self::Http(HttpError::NoRoute { .. }) => true,
            Self::Address(error) | Self::Http(HttpError::Address(error)) => {
                matches!(error, AddressError::OtherFamily { .. })
            }
            _ => false,
        }
    }
}

impl From<&AnnounceError> for Failure {
    fn from(error: &AnnounceError) -> Self {
        match error {
            AnnounceError::Reply(reply) => reply.into(),
            AnnounceError::Udp(udp) => udp.into(),
            other => Self::new(other.to_string()),
        }
    }
}
