//! The side that is connected to.

use metainfo::InfoHash;

use super::dh::{KEY_LENGTH, PrivateKey, Secret};
use super::keys::MARK_LENGTH;
use super::scan::Scan;
use super::{
    Agreed, Ciphers, Method, Methods, MseError, PAD_MAX, VERIFICATION, fill, keys, padding,
    padding_length,
};

/// Verification, what is offered, and how long the padding behind it is.
const OFFER_LENGTH: usize = VERIFICATION.len() + 4 + 2;
/// How long what was sent within is.
const INITIAL_LENGTH: usize = 2;

/// What is expected next.
enum Stage {
    Key,
    Mark(Scan<MARK_LENGTH>),
    Torrent,
    Offer,
    /// And behind it how long what was sent within is.
    Padding(usize),
    Initial(usize),
    Done,
}

/// Answers who connects, for whichever of our torrents it means.
pub struct Responder {
    allowed: Methods,
    private: PrivateKey,
    /// What follows our key.
    padding: Vec<u8>,
    /// Bytes of the padding behind our choice.
    last_padding: usize,
    stage: Stage,
    /// What came of the stage's bytes.
    pending: Vec<u8>,
    out: Vec<u8>,
    secret: Option<Box<Secret>>,
    torrent: Option<InfoHash>,
    ciphers: Option<Ciphers>,
    method: Option<Method>,
    initial: Vec<u8>,
}

impl Responder {
    /// Allowing these ways. Draws all its randomness now, and computes nothing before the other side's
    /// key is here.
    pub fn new(allowed: Methods, mut random: impl FnMut() -> u8) -> Self {
        Self {
            allowed,
            private: PrivateKey::generate(&mut random),
            padding: padding(&mut random),
            last_padding: padding_length(&mut random),
            stage: Stage::Key,
            pending: Vec::new(),
            out: Vec::new(),
            secret: None,
            torrent: None,
            ciphers: None,
            method: None,
            initial: Vec::new(),
        }
    }

    /// What has to be sent now.
    pub fn take_output(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.out)
    }

    /// Bytes that are part of the handshake for certain: who reads no more at a time reads nothing of
    /// what comes behind it. 0 when it is done.
    pub fn need(&self) -> usize {
        let lacks = |length: usize| length.saturating_sub(self.pending.len());
        match &self.stage {
            Stage::Key => lacks(KEY_LENGTH),
            Stage::Mark(scan) => {
                scan.need().saturating_add(MARK_LENGTH + OFFER_LENGTH + INITIAL_LENGTH)
            }
            Stage::Torrent => lacks(MARK_LENGTH + OFFER_LENGTH + INITIAL_LENGTH),
            Stage::Offer => lacks(OFFER_LENGTH + INITIAL_LENGTH),
            Stage::Padding(length) => lacks(length.saturating_add(INITIAL_LENGTH)),
            Stage::Initial(length) => lacks(*length),
            Stage::Done => 0,
        }
    }

    /// Takes what came; `find` knows our torrents by their [`super::torrent_mark`]. Returns how many
    /// bytes of it the handshake had.
    ///
    /// # Errors
    /// [`MseError`], after which nothing may be sent any more.
    pub fn receive(
        &mut self,
        bytes: &[u8],
        find: impl Fn(&[u8; MARK_LENGTH]) -> Option<InfoHash>,
    ) -> Result<usize, MseError> {
        let mut rest = bytes;
        loop {
            let length = match &mut self.stage {
                Stage::Done => break,
                Stage::Mark(scan) => {
                    let Some((byte, behind)) = rest.split_first() else { break };
                    rest = behind;
                    if scan.push(*byte)? {
                        self.stage = Stage::Torrent;
                    }
                    continue;
                }
                Stage::Key => KEY_LENGTH,
                Stage::Torrent => MARK_LENGTH,
                Stage::Offer => OFFER_LENGTH,
                Stage::Padding(length) => length.saturating_add(INITIAL_LENGTH),
                Stage::Initial(length) => *length,
            };
            let taken = fill(&mut self.pending, length, rest);
            rest = rest.get(taken..).unwrap_or_default();
            if self.pending.len() < length {
                break;
            }
            self.advance(&find)?;
        }
        Ok(bytes.len().saturating_sub(rest.len()))
    }

    /// What came of it, once there is no more need.
    pub fn finish(self) -> Option<Agreed> {
        let (Stage::Done, Some(method)) = (&self.stage, self.method) else { return None };
        let ciphers = self.ciphers.filter(|_| method == Method::Rc4);
        Some(Agreed { info_hash: self.torrent?, ciphers, initial: self.initial })
    }

    /// The stage has all its bytes.
    fn advance(
        &mut self,
        find: impl Fn(&[u8; MARK_LENGTH]) -> Option<InfoHash>,
    ) -> Result<(), MseError> {
        let mut bytes = std::mem::take(&mut self.pending);
        if let Some(ciphers) = &mut self.ciphers {
            ciphers.receive.apply(&mut bytes);
        }
        self.stage = match self.stage {
            Stage::Key => self.answer(&bytes)?,
            Stage::Torrent => {
                self.meet(&bytes, find)?;
                Stage::Offer
            }
            Stage::Offer => self.choose(&bytes)?,
            Stage::Padding(_) => {
                let length = bytes.last_chunk().map_or(0, |length| u16::from_be_bytes(*length));
                Stage::Initial(length.into())
            }
            _ => {
                self.initial = bytes;
                self.agree();
                Stage::Done
            }
        };
        Ok(())
    }

    /// The other side's key is here: it gets ours.
    fn answer(&mut self, public: &[u8]) -> Result<Stage, MseError> {
        let public = public.first_chunk().ok_or(MseError::WeakKey)?;
        let secret = self.private.agree(public)?;
        self.out.extend_from_slice(&self.private.public());
        self.out.append(&mut self.padding);
        let mark = keys::first_mark(&secret);
        self.secret = Some(Box::new(secret));
        Ok(Stage::Mark(Scan::new(mark)))
    }

    /// It names the torrent.
    fn meet(
        &mut self,
        hidden: &[u8],
        find: impl Fn(&[u8; MARK_LENGTH]) -> Option<InfoHash>,
    ) -> Result<(), MseError> {
        let (Some(secret), Some(hidden)) = (&self.secret, hidden.first_chunk()) else {
            return Err(MseError::NoMark);
        };
        let torrent = find(&keys::hide(*hidden, secret)).ok_or(MseError::UnknownTorrent)?;
        let Ciphers { send, receive } = keys::ciphers(secret, &torrent);
        // Those are the streams of who began.
        self.ciphers = Some(Ciphers { send: receive, receive: send });
        self.torrent = Some(torrent);
        Ok(())
    }

    /// It says what it can do.
    fn choose(&mut self, bytes: &[u8]) -> Result<Stage, MseError> {
        let rest = bytes.strip_prefix(&VERIFICATION).ok_or(MseError::Verification)?;
        let (offered, rest) = rest.split_first_chunk().unwrap_or((&[0; 4], &[]));
        let length = rest.first_chunk().map_or(0, |length| u16::from_be_bytes(*length));
        let offered = u32::from_be_bytes(*offered);
        let method = self.allowed.choose(offered).ok_or(MseError::NothingInCommon(offered))?;
        self.method = Some(method);
        if usize::from(length) > PAD_MAX {
            return Err(MseError::Padding(length));
        }
        Ok(Stage::Padding(length.into()))
    }

    /// All of it is here: our choice goes back.
    fn agree(&mut self) {
        let (Some(ciphers), Some(method)) = (&mut self.ciphers, self.method) else { return };
        let mut said = VERIFICATION.to_vec();
        said.extend_from_slice(&method.bit().to_be_bytes());
        said.extend_from_slice(&(self.last_padding as u16).to_be_bytes());
        said.resize(said.len().saturating_add(self.last_padding), 0);
        ciphers.send.apply(&mut said);
        self.out.append(&mut said);
    }
}
