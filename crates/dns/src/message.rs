//! One question for addresses, and what a server answers (RFC 1035, 4; RFC 3596).

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::name::Name;

/// What a name is another name for, so often at most: servers answer with far shorter chains.
pub const ALIASES_MAX: usize = 16;

/// A longer answer can't come: a message over TCP has two bytes of length.
pub const MESSAGE_BYTES_MAX: usize = 65_535;

/// Records of an answer that are looked at.
const RECORDS_MAX: usize = 256;

/// Jumps of one compressed name.
const JUMPS_MAX: usize = 32;

const HEADER_BYTES: usize = 12;
const CLASS_INTERNET: u16 = 1;
const TYPE_ALIAS: u16 = 5;

/// Which addresses to ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// IPv4 addresses, an A record.
    V4,
    /// IPv6 addresses, an AAAA record.
    V6,
}

impl Kind {
    fn number(self) -> u16 {
        match self {
            Self::V4 => 1,
            Self::V6 => 28,
        }
    }
}

/// What a server said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// The name's addresses, at least one.
    Addresses(Vec<IpAddr>),
    /// The name is another name for this one, of which the answer says nothing: ask for it.
    Alias(Name),
    /// The name has no such address, or there is no such name.
    Nothing,
    /// The answer did not fit: ask again over TCP.
    Truncated,
    /// The server can't or won't say: ask another. Its response code.
    Failed(u8),
}

/// Why a message is no answer to the question: it is ignored, as anybody can have sent it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AnswerError {
    /// It ends too soon, or a name in it does not end.
    Malformed,
    /// It answers something else.
    Unrelated,
}

impl fmt::Display for AnswerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Malformed => "the answer can't be read",
            Self::Unrelated => "the answer is to another question",
        })
    }
}

impl std::error::Error for AnswerError {}

/// The question. `id` must be hard to guess, and so must the port that it is sent from.
pub fn query(id: u16, name: &Name, kind: Kind) -> Vec<u8> {
    let mut out = Vec::with_capacity(64);
    out.extend_from_slice(&id.to_be_bytes());
    out.extend_from_slice(&[1, 0]); // recursion is desired
    out.extend_from_slice(&[0, 1, 0, 0, 0, 0, 0, 0]); // one question
    name.write(&mut out);
    out.extend_from_slice(&kind.number().to_be_bytes());
    out.extend_from_slice(&CLASS_INTERNET.to_be_bytes());
    out
}

/// Reads the answer to that question.
pub fn answer(message: &[u8], id: u16, name: &Name, kind: Kind) -> Result<Answer, AnswerError> {
    let mut reader = Reader { message, at: 0 };
    if reader.number()? != id {
        return Err(AnswerError::Unrelated);
    }
    let flags = reader.number()?;
    let (questions, records) = (reader.number()?, reader.number()?);
    reader.at = HEADER_BYTES;
    let (is_response, operation) = (flags >> 15 == 1, (flags >> 11) & 0xf);
    if !is_response || operation != 0 || questions != 1 {
        return Err(AnswerError::Unrelated);
    }
    let asked = (reader.name()?, reader.number()?, reader.number()?);
    if asked != (Some(name.clone()), kind.number(), CLASS_INTERNET) {
        return Err(AnswerError::Unrelated);
    }
    if flags & 0x200 != 0 {
        return Ok(Answer::Truncated);
    }
    match flags & 0xf {
        0 => {}
        3 => return Ok(Answer::Nothing), // the name, or what it is an alias of, does not exist
        code => return Ok(Answer::Failed(code as u8)),
    }
    let mut found = Vec::new();
    for _ in 0..usize::from(records).min(RECORDS_MAX) {
        found.extend(reader.record(kind)?);
    }
    Ok(follow(name, &found))
}

/// A record of use.
struct Record {
    owner: Name,
    data: Data,
}

enum Data {
    Address(IpAddr),
    Alias(Name),
}

/// From a name by its aliases to addresses.
fn follow(name: &Name, records: &[Record]) -> Answer {
    let mut name = name;
    for followed in 0..=ALIASES_MAX {
        let of_it = || records.iter().filter(|record| record.owner == *name);
        let addresses: Vec<IpAddr> = of_it()
            .filter_map(|record| match record.data {
                Data::Address(ip) => Some(ip),
                Data::Alias(_) => None,
            })
            .collect();
        if !addresses.is_empty() {
            return Answer::Addresses(addresses);
        }
        let alias = of_it().find_map(|record| match &record.data {
            Data::Alias(to) => Some(to),
            Data::Address(_) => None,
        });
        match alias {
            Some(to) => name = to,
            None if followed == 0 => return Answer::Nothing,
            None => return Answer::Alias(name.clone()),
        }
    }
    Answer::Nothing // they go round and round
}

struct Reader<'a> {
    message: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn bytes(&mut self, count: usize) -> Result<&'a [u8], AnswerError> {
        let end = self.at.checked_add(count).ok_or(AnswerError::Malformed)?;
        let bytes = self.message.get(self.at..end).ok_or(AnswerError::Malformed)?;
        self.at = end;
        Ok(bytes)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], AnswerError> {
        self.bytes(N)?.try_into().map_err(|_| AnswerError::Malformed)
    }

    fn number(&mut self) -> Result<u16, AnswerError> {
        self.array().map(u16::from_be_bytes)
    }

    /// A name, which may go on at an earlier place of the message. `None`: the root's, or one that no
    /// host has.
    fn name(&mut self) -> Result<Option<Name>, AnswerError> {
        let mut labels = Vec::new();
        let mut bytes = 0_usize;
        let mut jumps = 0_usize;
        let mut behind = None; // where what comes after the name begins
        loop {
            let [length] = self.array()?;
            match length >> 6 {
                0 if length == 0 => break,
                0 => {
                    let label = self.bytes(usize::from(length))?;
                    bytes = bytes.saturating_add(label.len()).saturating_add(1);
                    if bytes > 255 {
                        return Err(AnswerError::Malformed);
                    }
                    labels.push(label.to_vec());
                }
                3 => {
                    let here = self.at.saturating_sub(1);
                    let [low] = self.array()?;
                    let to = usize::from(u16::from_be_bytes([length & 0x3f, low]));
                    jumps = jumps.saturating_add(1);
                    if to >= here || jumps > JUMPS_MAX {
                        return Err(AnswerError::Malformed); // it would go round and round
                    }
                    behind.get_or_insert(self.at);
                    self.at = to;
                }
                _ => return Err(AnswerError::Malformed),
            }
        }
        self.at = behind.unwrap_or(self.at);
        Ok(Name::of(labels).ok())
    }

    /// The next record; `None` for one of no use.
    fn record(&mut self, kind: Kind) -> Result<Option<Record>, AnswerError> {
        let owner = self.name()?;
        let (number, class) = (self.number()?, self.number()?);
        self.bytes(4)?; // how long it may be kept
        let length = usize::from(self.number()?);
        let end = self.at.checked_add(length).ok_or(AnswerError::Malformed)?;
        let data = if class != CLASS_INTERNET {
            None
        } else if number == TYPE_ALIAS {
            self.name()?.map(Data::Alias)
        } else if number == kind.number() {
            let ip: IpAddr = match kind {
                Kind::V4 => Ipv4Addr::from(self.array::<4>()?).into(),
                Kind::V6 => Ipv6Addr::from(self.array::<16>()?).into(),
            };
            Some(Data::Address(ip))
        } else {
            self.bytes(length)?;
            None
        };
        if data.is_some() && self.at != end {
            return Err(AnswerError::Malformed);
        }
        self.at = end;
        Ok(owner.zip(data).map(|(owner, data)| Record { owner, data }))
    }
}

#[cfg(test)]
mod tests;
