//! Message stream encryption (MSE, "protocol encryption"): hides from who looks at packets what two
//! clients speak.
//!
//! It has no BEP. Both sides exchange Diffie-Hellman keys behind padding of random length, prove that
//! they know the torrent, and agree on how the payload goes: as it is, or through RC4. RC4 costs more
//! than all else a client does with a block, so plaintext is chosen whenever both sides allow it.
//!
//! [`Initiator`] and [`Responder`] are state machines over bytes. They take them cut anywhere, never
//! ask for a byte behind the handshake ([`Initiator::need`]), and hold no more than a handshake has.
//! Who connects sends the handshake of BEP 3 within (`initial`).

mod dh;
mod initiator;
mod keys;
mod rc4;
mod responder;
mod scan;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod vectors;

pub use dh::KEY_LENGTH;
pub use initiator::Initiator;
pub use keys::torrent_mark;
pub use rc4::Rc4;
pub use responder::Responder;

use metainfo::InfoHash;

/// Bytes of the longest padding.
pub const PAD_MAX: usize = 512;

/// The verification constant: whoever can encrypt it knows secret and torrent.
const VERIFICATION: [u8; 8] = [0; 8];

/// Why no agreement came of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MseError {
    /// 0, 1, p − 1, or not in the group.
    #[error("its public key gives the secret away")]
    WeakKey,
    /// The bytes that must follow the padding don't.
    #[error("nothing of MSE within {PAD_MAX} bytes behind its key")]
    NoMark,
    /// The torrent that it means is none of ours.
    #[error("it asked for a torrent that is not here")]
    UnknownTorrent,
    /// It names the torrent and can't encrypt for it.
    #[error("its verification is wrong")]
    Verification,
    /// More padding than allowed.
    #[error("it announced {0} bytes of padding, {PAD_MAX} are allowed")]
    Padding(u16),
    /// No way of ours is among those that it offers.
    #[error("it offers no way that we allow ({0:#x})")]
    NothingInCommon(u32),
    /// It chose something else than one of the ways that it was offered.
    #[error("it chose a way that it was not offered ({0:#x})")]
    Choice(u32),
}

/// How the payload goes behind the handshake.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// As it is.
    Plaintext,
    /// Through RC4.
    Rc4,
}

impl Method {
    fn bit(self) -> u32 {
        match self {
            Self::Plaintext => 1,
            Self::Rc4 => 2,
        }
    }
}

/// The ways that one side allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Methods(u32);

impl Methods {
    /// Either, plaintext rather.
    pub const BOTH: Self = Self(3);
    /// Plaintext alone.
    pub const PLAINTEXT: Self = Self(1);
    /// RC4 alone.
    pub const RC4: Self = Self(2);

    /// The cheapest way that is also among those that were offered.
    fn choose(self, offered: u32) -> Option<Method> {
        let has = |method: &Method| self.0 & offered & method.bit() != 0;
        [Method::Plaintext, Method::Rc4].into_iter().find(has)
    }

    /// The one way that was chosen, if it was offered.
    fn accept(self, chosen: u32) -> Option<Method> {
        self.choose(chosen).filter(|method| method.bit() == chosen)
    }
}

/// What both sides agreed on.
#[derive(Debug)]
pub struct Agreed {
    /// The torrent.
    pub info_hash: InfoHash,
    /// What all bytes behind the handshake go through; `None` is plaintext.
    pub ciphers: Option<Ciphers>,
    /// What the other side sent within the handshake, decrypted. Empty for who began.
    pub initial: Vec<u8>,
}

impl Agreed {
    /// How the payload goes.
    pub fn method(&self) -> Method {
        if self.ciphers.is_some() { Method::Rc4 } else { Method::Plaintext }
    }
}

/// The key streams of both directions.
#[derive(Debug, Clone)]
pub struct Ciphers {
    /// For what we send.
    pub send: Rc4,
    /// For what we get.
    pub receive: Rc4,
}

/// Random padding, as many bytes as `random` says first.
fn padding(random: &mut impl FnMut() -> u8) -> Vec<u8> {
    let length = padding_length(random);
    std::iter::repeat_with(random).take(length).collect()
}

fn padding_length(random: &mut impl FnMut() -> u8) -> usize {
    let number = usize::from(u16::from_be_bytes([random(), random()]));
    // One in 128 lengths is a little likelier than it should be; nobody can tell.
    number.checked_rem(PAD_MAX.saturating_add(1)).unwrap_or_default()
}

/// Moves what `pending` lacks of `length` bytes over from `bytes`. Returns how many those were.
fn fill(pending: &mut Vec<u8>, length: usize, bytes: &[u8]) -> usize {
    let lacks = length.saturating_sub(pending.len());
    let part = bytes.get(..lacks).unwrap_or(bytes);
    pending.extend_from_slice(part);
    part.len()
}
