//! Whether connections to peers are encrypted (MSE), and in which order ways to open one are tried.

/// What is done about message stream encryption. It hides from networks that peers speak BitTorrent;
/// nobody is kept from reading along. Once hands are shaken the payload goes in plaintext, unless the
/// peer insists on RC4.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Encryption {
    /// Nothing: it is neither offered nor taken.
    Off,
    /// Peers that come encrypted are let in. Peers are dialled without it, and again with it when they
    /// hang up on that.
    #[default]
    Allow,
    /// Peers are dialled with it, and again without it when they can't.
    Prefer,
    /// Without it there is no connection.
    Require,
}

/// A way to open a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Opening {
    Plain,
    Encrypted,
}

impl Encryption {
    /// Whether who comes in the open is let in.
    pub(crate) fn takes_plain(self) -> bool {
        self != Self::Require
    }

    /// Whether who comes encrypted is let in.
    pub(crate) fn takes_encrypted(self) -> bool {
        self != Self::Off
    }

    /// What to try with a peer, and what then. `worked` did last time.
    pub(crate) fn openings(self, worked: Option<Opening>) -> (Opening, Option<Opening>) {
        use Opening::{Encrypted, Plain};
        match (self, worked) {
            (Self::Off, _) => (Plain, None),
            (Self::Require, _) => (Encrypted, None),
            (Self::Allow, Some(Encrypted)) | (Self::Prefer, Some(Encrypted) | None) => {
                (Encrypted, Some(Plain))
            }
            (Self::Allow, Some(Plain) | None) | (Self::Prefer, Some(Plain)) => {
                (Plain, Some(Encrypted))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_worked_is_tried_first_but_never_what_is_not_allowed() {
        use Opening::{Encrypted, Plain};
        let orders = |mode: Encryption| {
            [None, Some(Plain), Some(Encrypted)].map(|worked| mode.openings(worked))
        };
        let (plain_first, encrypted_first) = ((Plain, Some(Encrypted)), (Encrypted, Some(Plain)));
        assert_eq!(orders(Encryption::Off), [(Plain, None); 3]);
        assert_eq!(orders(Encryption::Allow), [plain_first, plain_first, encrypted_first]);
        assert_eq!(orders(Encryption::Prefer), [encrypted_first, plain_first, encrypted_first]);
        assert_eq!(orders(Encryption::Require), [(Encrypted, None); 3]);
    }
}
