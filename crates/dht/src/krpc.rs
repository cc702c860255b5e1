//! The messages (BEP 5, 32, 33, 42, 43, 44, 51): reading what strangers send, and writing ours.
//!
//! Reading is bounded and takes what real clients send: keys in any order, bytes behind the
//! dictionary, records cut short, transaction ids of any length. What a query lacks is told with
//! its transaction id, so that it can be answered with an error; a reply that lacks something is
//! no reply.

use std::net::SocketAddr;

use metainfo::bencode::{self, Encoder, Node};

use crate::address::{Contact, Family, put_addr, read_addr, read_contacts};
use crate::bloom::Bloom;
use crate::id::Id;

/// Datagrams longer than this are not read. BEP 32 allows 1,024 bytes, items need 1,300.
pub const DATAGRAM_BYTES_MAX: usize = 2048;

/// A thousand bytes of item can hold five hundred values, nested as deep.
const LIMITS: bencode::Limits =
    bencode::Limits { depth: 520, tokens: 1200, bytes: DATAGRAM_BYTES_MAX };

/// Nodes taken from one reply. Eight is what there should be.
const CONTACTS_MAX: usize = 16;

/// Transaction ids up to here are echoed; nobody uses more than 20 bytes.
const TRANSACTION_BYTES_MAX: usize = 128;

/// Longest token we keep and send back; seen are 4 to 20 bytes.
const TOKEN_BYTES_MAX: usize = 64;

/// Error codes (BEP 5, 44).
pub mod code {
    /// Something of a kind of its own.
    pub const GENERIC: i64 = 201;
    /// The node has no room.
    pub const SERVER: i64 = 202;
    /// A malformed packet, an invalid argument or a bad token.
    pub const PROTOCOL: i64 = 203;
    /// No such query.
    pub const UNKNOWN_METHOD: i64 = 204;
    /// `v` is too long.
    pub const TOO_LONG: i64 = 205;
    /// The signature does not fit.
    pub const BAD_SIGNATURE: i64 = 206;
    /// `salt` is too long.
    pub const SALT_TOO_LONG: i64 = 207;
    /// `cas` is not the sequence number stored.
    pub const CAS_MISMATCH: i64 = 301;
    /// There is a newer one.
    pub const SEQ_TOO_LOW: i64 = 302;
}

/// One datagram.
#[derive(Debug)]
pub(crate) struct Message<'a> {
    /// Opaque; a reply has its query's.
    pub(crate) transaction: &'a [u8],
    /// The sender wants no queries (BEP 43).
    pub(crate) is_read_only: bool,
    /// Where the sender saw our packet come from (BEP 42).
    pub(crate) seen_as: Option<SocketAddr>,
    /// The sender's client, two letters and two bytes of version.
    pub(crate) client: Option<[u8; 4]>,
    pub(crate) body: Body<'a>,
}

#[derive(Debug)]
pub(crate) enum Body<'a> {
    /// `Err`: what is wrong with it; the sender is told.
    Query(Result<Query<'a>, Refusal>),
    Reply(Box<Reply<'a>>),
    Error {
        code: i64,
        text: String,
    },
}

/// An error to answer with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) code: i64,
    pub(crate) text: &'static str,
}

impl Refusal {
    pub(crate) fn new(code: i64, text: &'static str) -> Self {
        Self { code, text }
    }
}

#[derive(Debug)]
pub(crate) struct Query<'a> {
    pub(crate) id: Id,
    /// The families of nodes to answer with; `None`: the one it came over (BEP 32).
    pub(crate) want: Option<(bool, bool)>,
    pub(crate) ask: Ask<'a>,
}

#[derive(Debug)]
pub(crate) enum Ask<'a> {
    Ping,
    /// And whatever unknown query has a `target`.
    FindNode {
        target: Id,
    },
    GetPeers {
        info_hash: Id,
        no_seeds: bool,
        scrape: bool,
    },
    AnnouncePeer {
        info_hash: Id,
        /// `None`: the port it came from.
        port: Option<u16>,
        is_seed: bool,
        token: &'a [u8],
    },
    Get {
        target: Id,
        newer_than: Option<i64>,
    },
    Put {
        token: &'a [u8],
        value: &'a [u8],
        signed: Option<Signed<'a>>,
    },
    Sample {
        target: Id,
    },
}

/// What a mutable item comes with (BEP 44).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Signed<'a> {
    pub(crate) key: &'a [u8; 32],
    pub(crate) signature: &'a [u8; 64],
    pub(crate) seq: i64,
    pub(crate) salt: &'a [u8],
    pub(crate) cas: Option<i64>,
}

/// What any reply may have.
#[derive(Debug)]
pub(crate) struct Reply<'a> {
    pub(crate) id: Id,
    pub(crate) contacts: Vec<Contact>,
    pub(crate) values: Vec<SocketAddr>,
    pub(crate) token: Option<&'a [u8]>,
    pub(crate) seeds: Option<Bloom>,
    pub(crate) peers: Option<Bloom>,
    /// As it stands, bencoded.
    pub(crate) value: Option<&'a [u8]>,
    pub(crate) key: Option<&'a [u8; 32]>,
    pub(crate) signature: Option<&'a [u8; 64]>,
    pub(crate) seq: Option<i64>,
    pub(crate) samples: Option<Vec<Id>>,
    pub(crate) sampled_of: Option<i64>,
}

/// Reads a datagram; `None` for what is no message at all and gets no answer.
pub(crate) fn read(datagram: &[u8]) -> Option<Message<'_>> {
    if datagram.first() != Some(&b'd') || datagram.len() > DATAGRAM_BYTES_MAX {
        return None;
    }
    let (tape, _) = bencode::parse_prefix(datagram, LIMITS).ok()?;
    let root = tape.root();
    let transaction = root.get(b"t")?.as_bytes()?;
    if transaction.len() > TRANSACTION_BYTES_MAX {
        return None;
    }
    let body = match root.get(b"y")?.as_bytes()? {
        b"q" => Body::Query(query(&root)),
        b"r" => Body::Reply(Box::new(reply(&root.get(b"r")?)?)),
        b"e" => error(root.get(b"e")),
        _ => return None,
    };
    Some(Message {
        transaction,
        is_read_only: root.get(b"ro").and_then(|ro| ro.as_int()) == Some(1),
        seen_as: root.get(b"ip").and_then(|ip| ip.as_bytes()).and_then(read_addr),
        client: root.get(b"v").and_then(|v| v.as_bytes()?.try_into().ok()),
        body,
    })
}

fn query<'a>(root: &Node<'_, 'a>) -> Result<Query<'a>, Refusal> {
    let refuse = |text| Refusal::new(code::PROTOCOL, text);
    let name = root.get(b"q").and_then(|q| q.as_bytes()).ok_or(refuse("no query name"))?;
    let args = root.get(b"a").ok_or(refuse("no arguments"))?;
    let bytes = |key: &[u8]| args.get(key).and_then(|value| value.as_bytes());
    let int = |key: &[u8]| args.get(key).and_then(|value| value.as_int());
    let id_of = |key: &[u8]| bytes(key).and_then(Id::from_slice);
    let id = id_of(b"id").ok_or(refuse("no id of 20 bytes"))?;
    let target = || id_of(b"target").ok_or(refuse("no target of 20 bytes"));
    let info_hash = || id_of(b"info_hash").ok_or(refuse("no info_hash of 20 bytes"));
    let token = || bytes(b"token").ok_or(refuse("no token"));
    let ask = match name {
        b"ping" => Ask::Ping,
        b"find_node" => Ask::FindNode { target: target()? },
        b"get_peers" => Ask::GetPeers {
            info_hash: info_hash()?,
            no_seeds: int(b"noseed") == Some(1),
            scrape: int(b"scrape") == Some(1),
        },
        b"announce_peer" => {
            let implied = int(b"implied_port").is_some_and(|implied| implied != 0);
            let named = int(b"port").and_then(|port| u16::try_from(port).ok());
            let named = named.filter(|port| *port != 0);
            if !implied && named.is_none() {
                return Err(refuse("no port"));
            }
            Ask::AnnouncePeer {
                info_hash: info_hash()?,
                port: named.filter(|_| !implied),
                is_seed: int(b"seed") == Some(1),
                token: token()?,
            }
        }
        b"get" => Ask::Get { target: target()?, newer_than: int(b"seq") },
        b"put" => put(&args, token()?)?,
        b"sample_infohashes" => Ask::Sample { target: target()? },
        // Later extensions can count on nodes in the answer, as long as they name a target.
        _ => match id_of(b"target").or(id_of(b"info_hash")) {
            Some(target) => Ask::FindNode { target },
            None => return Err(Refusal::new(code::UNKNOWN_METHOD, "unknown query")),
        },
    };
    let want = args.get(b"want").and_then(|want| {
        let mut families = (false, false);
        for family in want.list()?.take(8) {
            families.0 |= family.as_bytes() == Some(b"n4");
            families.1 |= family.as_bytes() == Some(b"n6");
        }
        Some(families).filter(|(v4, v6)| *v4 || *v6)
    });
    Ok(Query { id, want, ask })
}

fn put<'a>(args: &Node<'_, 'a>, token: &'a [u8]) -> Result<Ask<'a>, Refusal> {
    let refuse = |text| Refusal::new(code::PROTOCOL, text);
    let bytes = |key: &[u8]| args.get(key).and_then(|value| value.as_bytes());
    let value = args.get(b"v").ok_or(refuse("no v"))?.raw();
    let signed = match bytes(b"k") {
        None => None,
        Some(key) => {
            let seq = args.get(b"seq").and_then(|seq| seq.as_int());
            let signature = bytes(b"sig").and_then(|sig| sig.try_into().ok());
            Some(Signed {
                key: key.try_into().map_err(|_| refuse("no k of 32 bytes"))?,
                signature: signature.ok_or(refuse("no sig of 64 bytes"))?,
                seq: seq.filter(|seq| *seq >= 0).ok_or(refuse("no seq"))?,
                salt: bytes(b"salt").unwrap_or_default(),
                cas: args.get(b"cas").and_then(|cas| cas.as_int()),
            })
        }
    };
    Ok(Ask::Put { token, value, signed })
}

fn reply<'a>(r: &Node<'_, 'a>) -> Option<Reply<'a>> {
    let bytes = |key: &[u8]| r.get(key).and_then(|value| value.as_bytes());
    let int = |key: &[u8]| r.get(key).and_then(|value| value.as_int());
    let nodes = |key: &[u8], family| {
        read_contacts(bytes(key).unwrap_or_default(), family).take(CONTACTS_MAX)
    };
    let values = r.get(b"values").and_then(|values| values.list());
    let samples = bytes(b"samples")
        .map(|samples| samples.as_chunks::<20>().0.iter().map(|id| Id(*id)).collect());
    Some(Reply {
        id: bytes(b"id").and_then(Id::from_slice)?,
        contacts: nodes(b"nodes", Family::V4).chain(nodes(b"nodes6", Family::V6)).collect(),
        values: values.into_iter().flatten().filter_map(|v| read_addr(v.as_bytes()?)).collect(),
        token: bytes(b"token").filter(|token| token.len() <= TOKEN_BYTES_MAX),
        seeds: bytes(b"BFsd").and_then(Bloom::from_slice),
        peers: bytes(b"BFpe").and_then(Bloom::from_slice),
        value: r.get(b"v").map(|value| value.raw()),
        key: bytes(b"k").and_then(|key| key.try_into().ok()),
        signature: bytes(b"sig").and_then(|sig| sig.try_into().ok()),
        seq: int(b"seq"),
        samples,
        sampled_of: int(b"num"),
    })
}

fn error<'a>(e: Option<Node<'_, 'a>>) -> Body<'a> {
    let mut parts = e.and_then(|e| e.list()).into_iter().flatten();
    let code = parts.next().and_then(|code| code.as_int()).unwrap_or(code::GENERIC);
    let text = parts.next().and_then(|text| text.as_bytes()).unwrap_or_default();
    let text = String::from_utf8_lossy(text);
    let text = text.chars().filter(|c| !c.is_control()).take(100).collect();
    Body::Error { code, text }
}

/// The inside of a dictionary, its keys in any order.
#[derive(Debug, Default, Clone)]
pub(crate) struct Fields(Vec<(&'static [u8], Vec<u8>)>);

impl Fields {
    pub(crate) fn bytes(mut self, key: &'static [u8], value: &[u8]) -> Self {
        self.0.push((key, Encoder::new().bytes(value).finish()));
        self
    }

    pub(crate) fn int(mut self, key: &'static [u8], value: i64) -> Self {
        self.0.push((key, Encoder::new().int(value).finish()));
        self
    }

    /// A value that is bencoded already.
    pub(crate) fn raw(mut self, key: &'static [u8], value: &[u8]) -> Self {
        self.0.push((key, value.to_vec()));
        self
    }

    pub(crate) fn list<T: AsRef<[u8]>>(self, key: &'static [u8], items: &[T]) -> Self {
        let mut list = Encoder::new();
        list.begin_list();
        for item in items {
            list.bytes(item.as_ref());
        }
        let list = list.end().finish();
        self.raw(key, &list)
    }

    pub(crate) fn dict(self, key: &'static [u8], fields: Self) -> Self {
        let dict = fields.finish();
        self.raw(key, &dict)
    }

    pub(crate) fn finish(mut self) -> Vec<u8> {
        self.0.sort_unstable_by_key(|(key, _)| *key);
        self.0.dedup_by_key(|(key, _)| *key);
        let mut dict = Encoder::new();
        dict.begin_dict();
        for (key, value) in &self.0 {
            dict.key(key).raw(value);
        }
        dict.end().finish()
    }
}

/// A query of ours.
pub(crate) fn write_query(
    transaction: &[u8],
    name: &str,
    args: Fields,
    is_read_only: bool,
    client: [u8; 4],
) -> Vec<u8> {
    let message = Fields::default()
        .dict(b"a", args)
        .bytes(b"q", name.as_bytes())
        .bytes(b"t", transaction)
        .bytes(b"v", &client)
        .bytes(b"y", b"q");
    if is_read_only { message.int(b"ro", 1) } else { message }.finish()
}

/// A reply of ours; `to` is told where we saw it (BEP 42).
pub(crate) fn write_reply(
    transaction: &[u8],
    reply: Fields,
    to: SocketAddr,
    client: [u8; 4],
) -> Vec<u8> {
    let mut ip = Vec::with_capacity(18);
    put_addr(&mut ip, to);
    Fields::default()
        .bytes(b"ip", &ip)
        .dict(b"r", reply)
        .bytes(b"t", transaction)
        .bytes(b"v", &client)
        .bytes(b"y", b"r")
        .finish()
}

/// An error of ours.
pub(crate) fn write_error(transaction: &[u8], refusal: Refusal, client: [u8; 4]) -> Vec<u8> {
    let mut error = Encoder::new();
    error.begin_list().int(refusal.code).bytes(refusal.text.as_bytes()).end();
    Fields::default()
        .raw(b"e", &error.finish())
        .bytes(b"t", transaction)
        .bytes(b"v", &client)
        .bytes(b"y", b"e")
        .finish()
}

#[cfg(test)]
#[path = "krpc/tests.rs"]
mod tests;
