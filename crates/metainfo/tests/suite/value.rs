//! Bencoded values that tests build and change.

use std::collections::BTreeMap;

use metainfo::bencode::{Encoder, Node};
use metainfo::{Info, Torrent, TorrentError};

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Value {
    Int(i64),
    Bytes(Vec<u8>),
    List(Vec<Value>),
    Dict(BTreeMap<Vec<u8>, Value>),
}

pub(crate) fn int(value: i64) -> Value {
    Value::Int(value)
}

pub(crate) fn bytes(value: impl AsRef<[u8]>) -> Value {
    Value::Bytes(value.as_ref().to_vec())
}

pub(crate) fn list(values: impl IntoIterator<Item = Value>) -> Value {
    Value::List(values.into_iter().collect())
}

pub(crate) fn strings<S: AsRef<[u8]>>(values: impl IntoIterator<Item = S>) -> Value {
    list(values.into_iter().map(bytes))
}

pub(crate) fn dict<const N: usize>(pairs: [(&str, Value); N]) -> Value {
    Value::Dict(pairs.map(|(key, value)| (key.as_bytes().to_vec(), value)).into())
}

impl Value {
    pub(crate) fn with(mut self, key: &str, value: Value) -> Self {
        let Self::Dict(pairs) = &mut self else { panic!("not a dictionary") };
        pairs.insert(key.as_bytes().to_vec(), value);
        self
    }

    pub(crate) fn without(mut self, key: &str) -> Self {
        let Self::Dict(pairs) = &mut self else { panic!("not a dictionary") };
        pairs.remove(key.as_bytes()).expect("a key that is there");
        self
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut encoder = Encoder::new();
        self.write(&mut encoder);
        encoder.finish()
    }

    fn write(&self, out: &mut Encoder) {
        match self {
            Self::Int(value) => out.int(*value),
            Self::Bytes(value) => out.bytes(value),
            Self::List(values) => {
                out.begin_list();
                for value in values {
                    value.write(out);
                }
                out.end()
            }
            Self::Dict(pairs) => {
                out.begin_dict();
                for (key, value) in pairs {
                    value.write(out.key(key));
                }
                out.end()
            }
        };
    }

    pub(crate) fn read(node: Node<'_, '_>) -> Self {
        if let Some(value) = node.as_int() {
            return int(value);
        }
        if let Some(value) = node.as_bytes() {
            return bytes(value);
        }
        if let Some(values) = node.list() {
            return list(values.map(Self::read));
        }
        let pairs = node.dict().expect("one of four kinds");
        Self::Dict(pairs.map(|(key, value)| (key.to_vec(), Self::read(value))).collect())
    }
}

pub(crate) const PIECE: u64 = 16 * 1024;

/// An `info` of one file.
pub(crate) fn single(length: u64) -> Value {
    dict([
        ("length", int(length.cast_signed())),
        ("name", bytes("t")),
        ("piece length", int(PIECE.cast_signed())),
        ("pieces", bytes(vec![7; length.div_ceil(PIECE) as usize * 20])),
    ])
}

/// An entry of `files`; names are split at slashes.
pub(crate) fn file(path: &str, length: u64) -> Value {
    dict([("length", int(length.cast_signed())), ("path", strings(path.split('/')))])
}

/// An `info` of a folder `t`, with pieces for `total` bytes.
pub(crate) fn folder(total: u64, files: impl IntoIterator<Item = Value>) -> Value {
    single(total).without("length").with("files", list(files))
}

pub(crate) fn torrent(info: Value) -> Value {
    dict([("info", info)])
}

pub(crate) fn parse(torrent: &Value) -> Result<Torrent, TorrentError> {
    Torrent::parse(&torrent.encode())
}

pub(crate) fn info(info: Value) -> Result<Info, TorrentError> {
    parse(&torrent(info)).map(|torrent| (*torrent.info).clone())
}

pub(crate) fn paths(info: &Info) -> Vec<String> {
    info.files().iter().map(|file| file.path.display()).collect()
}
