//! The side that connects.

use metainfo::InfoHash;

use super::dh::{KEY_LENGTH, PrivateKey};
use super::scan::Scan;
use super::{
    Agreed, Ciphers, Method, Methods, MseError, PAD_MAX, VERIFICATION, fill, keys, padding,
    padding_length,
};
use crate::HANDSHAKE_LENGTH;

/// The choice, and how long the padding behind it is.
const CHOICE_LENGTH: usize = 4 + 2;

/// What is expected next.
enum Stage {
    Key,
    Mark(Scan<{ VERIFICATION.len() }>),
    Choice,
    Padding(usize),
    Done,
}

/// Speaks first, and sends the handshake of BEP 3 within.
pub struct Initiator {
    info_hash: InfoHash,
    offer: Methods,
    private: PrivateKey,
    initial: [u8; HANDSHAKE_LENGTH],
    /// Bytes of the padding in front of `initial`.
    padding: usize,
    stage: Stage,
    /// What came of the stage's bytes.
    pending: Vec<u8>,
    out: Vec<u8>,
    ciphers: Option<Ciphers>,
    method: Option<Method>,
}

impl Initiator {
    /// For one torrent, offering these ways. Draws all its randomness now.
    pub fn new(
        info_hash: InfoHash,
        offer: Methods,
        initial: [u8; HANDSHAKE_LENGTH],
        mut random: impl FnMut() -> u8,
    ) -> Self {
        let private = PrivateKey::generate(&mut random);
        let mut out = private.public().to_vec();
        out.append(&mut padding(&mut random));
        Self {
            info_hash,
            offer,
            private,
            initial,
            padding: padding_length(&mut random),
            stage: Stage::Key,
            pending: Vec::new(),
            out,
            ciphers: None,
            method: None,
        }
    }

    /// What has to be sent now.
    pub fn take_output(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.out)
    }

    /// Bytes that are part of the handshake for certain: who reads no more at a time reads nothing of
    /// what comes behind it. 0 when it is done.
    pub fn need(&self) -> usize {
        match &self.stage {
            Stage::Key => KEY_LENGTH.saturating_sub(self.pending.len()),
            Stage::Mark(scan) => scan.need().saturating_add(CHOICE_LENGTH),
            Stage::Choice => CHOICE_LENGTH.saturating_sub(self.pending.len()),
            Stage::Padding(length) => length.saturating_sub(self.pending.len()),
            Stage::Done => 0,
        }
    }

    /// Takes what came. Returns how many bytes of it the handshake had.
    ///
    /// # Errors
    /// [`MseError`], after which nothing may be sent any more.
    pub fn receive(&mut self, bytes: &[u8]) -> Result<usize, MseError> {
        let mut rest = bytes;
        loop {
            let length = match &mut self.stage {
                Stage::Done => break,
                Stage::Mark(scan) => {
                    let Some((byte, behind)) = rest.split_first() else { break };
                    rest = behind;
                    if scan.push(*byte)? {
                        self.stage = Stage::Choice;
                    }
                    continue;
                }
                Stage::Key => KEY_LENGTH,
                Stage::Choice => CHOICE_LENGTH,
                Stage::Padding(length) => *length,
            };
            let taken = fill(&mut self.pending, length, rest);
            rest = rest.get(taken..).unwrap_or_default();
            if self.pending.len() < length {
                break;
            }
            self.advance()?;
        }
        Ok(bytes.len().saturating_sub(rest.len()))
    }

    /// What came of it, once there is no more need.
    pub fn finish(self) -> Option<Agreed> {
        let (Stage::Done, Some(method)) = (&self.stage, self.method) else { return None };
        let ciphers = self.ciphers.filter(|_| method == Method::Rc4);
        Some(Agreed { info_hash: self.info_hash, ciphers, initial: Vec::new() })
    }

    /// The stage has all its bytes.
    fn advance(&mut self) -> Result<(), MseError> {
        let mut bytes = std::mem::take(&mut self.pending);
        self.stage = match self.stage {
            Stage::Key => self.answer(&bytes)?,
            Stage::Choice => {
                self.decrypt(&mut bytes);
                let (chosen, rest) = bytes.split_first_chunk().unwrap_or((&[0; 4], &[]));
                let length = rest.first_chunk().map_or(0, |length| u16::from_be_bytes(*length));
                let chosen = u32::from_be_bytes(*chosen);
                self.method = Some(self.offer.accept(chosen).ok_or(MseError::Choice(chosen))?);
                if usize::from(length) > PAD_MAX {
                    return Err(MseError::Padding(length));
                }
                Stage::Padding(length.into())
            }
            _ => {
                self.decrypt(&mut bytes);
                Stage::Done
            }
        };
        Ok(())
    }

    /// The other side's key is here: proves that we know the torrent, and says the rest.
    fn answer(&mut self, public: &[u8]) -> Result<Stage, MseError> {
        let public = public.first_chunk().ok_or(MseError::WeakKey)?;
        let secret = self.private.agree(public)?;
        let mut ciphers = keys::ciphers(&secret, &self.info_hash);
        self.out.extend_from_slice(&keys::first_mark(&secret));
        self.out.extend_from_slice(&keys::hide(keys::torrent_mark(&self.info_hash), &secret));
        let mut said = VERIFICATION.to_vec();
        said.extend_from_slice(&self.offer.0.to_be_bytes());
        said.extend_from_slice(&(self.padding as u16).to_be_bytes());
        said.resize(said.len().saturating_add(self.padding), 0);
        said.extend_from_slice(&(HANDSHAKE_LENGTH as u16).to_be_bytes());
        said.extend_from_slice(&self.initial);
        ciphers.send.apply(&mut said);
        self.out.append(&mut said);
        let mut mark = VERIFICATION;
        ciphers.receive.apply(&mut mark);
        self.ciphers = Some(ciphers);
        Ok(Stage::Mark(Scan::new(mark)))
    }

    fn decrypt(&mut self, bytes: &mut [u8]) {
        if let Some(ciphers) = &mut self.ciphers {
            ciphers.receive.apply(bytes);
        }
    }
}
