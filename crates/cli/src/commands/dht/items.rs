//! Items in the DHT (BEP 44): text under its own hash, or editions under a key.

use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use engine::dht_core::{Id, Item, SecretKey};
use engine::metainfo::bencode::{self, Encoder};
use engine::{DhtError, DhtHandle};
use serde_json::json;

use crate::exit::{Code, Failure};
use crate::format::{hex, untrusted};
use crate::output::Output;

/// Look for an item.
#[derive(Debug, clap::Args)]
pub(super) struct Get {
    /// Its target: the hash of an immutable item, 40 hexadecimal digits.
    #[arg(required_unless_present = "key", conflicts_with = "key")]
    target: Option<Id>,
    /// The public key of a mutable item, 64 hexadecimal digits.
    #[arg(long, value_name = "HEX")]
    key: Option<String>,
    /// Which of the key's items.
    #[arg(long, value_name = "TEXT", default_value = "", requires = "key")]
    salt: String,
}

/// Put an item.
#[derive(Debug, clap::Args)]
pub(super) struct Put {
    /// What to put: text, at most about 990 bytes.
    value: String,
    /// VALUE is bencode, not text.
    #[arg(long)]
    bencoded: bool,
    /// Make it the next edition of this key's item. FILE has 64 hexadecimal digits, which must stay
    /// secret; a file that is not there is made.
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    /// Which of the key's items.
    #[arg(long, value_name = "TEXT", default_value = "", requires = "key")]
    salt: String,
    /// The edition's number; default: one more than the newest.
    #[arg(long, value_name = "N", requires = "key")]
    seq: Option<i64>,
    /// Only where this is the newest number.
    #[arg(long, value_name = "N", requires = "key")]
    cas: Option<i64>,
}

fn from_hex(text: &str) -> Option<[u8; 32]> {
    let digits: Option<Vec<u32>> = text.trim().chars().map(|c| c.to_digit(16)).collect();
    let bytes: Vec<u8> = digits?
        .chunks(2)
        .map(|pair| match *pair {
            [high, low] => (high << 4 | low) as u8,
            _ => 0, // an odd one: the length is wrong then
        })
        .collect();
    bytes.try_into().ok().filter(|_| text.trim().len() == 64)
}

impl Get {
    /// Complains of a bad key before anybody is asked.
    pub(super) fn check(&self) -> Result<(), Failure> {
        self.public_key().map(drop)
    }

    fn public_key(&self) -> Result<Option<[u8; 32]>, Failure> {
        let Some(key) = &self.key else { return Ok(None) };
        let wrong = || Failure::usage("--key must be 64 hexadecimal digits");
        from_hex(key).map(Some).ok_or_else(wrong)
    }

    pub(super) async fn run(&self, dht: &DhtHandle, output: Output) -> Result<(), Failure> {
        let item = match (self.public_key()?, self.target) {
            (Some(key), _) => dht.mutable_item(key, self.salt.clone().into_bytes()).await,
            (None, Some(target)) => dht.item(target).await,
            (None, None) => Ok(None), // the command line has one of them
        };
        let Some(item) = item.map_err(Failure::other)? else {
            return Err(Failure::new(Code::NoPeers, "no node has this item")
                .advise("items are forgotten after two hours unless they are put again"));
        };
        show(&item, output);
        Ok(())
    }
}

fn show(item: &Item, output: Output) {
    let tape = bencode::parse(&item.value, bencode::Limits::network());
    let text = tape.ok().and_then(|tape| tape.root().as_str().map(str::to_owned));
    match &text {
        Some(text) => output.line(untrusted(text)),
        None => output.line(item.value.escape_ascii()),
    }
    if let Some(signed) = &item.signed {
        output.note(format_args!("edition {}", signed.seq));
    }
    let signed = item.signed.as_ref();
    output.value(&json!({
        "value": hex(&item.value), "text": text, "seq": signed.map(|signed| signed.seq),
        "key": signed.map(|signed| hex(&signed.key)),
        "signature": signed.map(|signed| hex(&signed.signature)),
    }));
}

/// A put whose arguments are good.
pub(super) struct Ready<'a> {
    put: &'a Put,
    value: Vec<u8>,
    key: Option<SecretKey>,
}

impl Put {
    pub(super) fn prepare(&self) -> Result<Ready<'_>, Failure> {
        let value = if self.bencoded {
            self.value.clone().into_bytes()
        } else {
            Encoder::new().bytes(self.value.as_bytes()).finish()
        };
        let key = self.key.as_deref().map(secret_key).transpose()?;
        Ok(Ready { put: self, value, key })
    }
}

/// The key in a file, which is made if it is not there.
fn secret_key(path: &Path) -> Result<SecretKey, Failure> {
    let wrong = || {
        let message = format!("{}: a key is 64 hexadecimal digits", path.display());
        Failure::usage(message).advise("name another file; one that is not there is made")
    };
    match std::fs::read_to_string(path) {
        Ok(text) => from_hex(&text).map(|seed| SecretKey::from_seed(&seed)).ok_or_else(wrong),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let seed = engine::random_seed().map_err(Failure::other)?;
            let mut options = OpenOptions::new();
            options.write(true).create_new(true).mode(0o600);
            let written = options.open(path).and_then(|mut file| writeln!(file, "{}", hex(&seed)));
            written.map_err(|error| Failure::file(path, &error))?;
            Ok(SecretKey::from_seed(&seed))
        }
        Err(error) => Err(Failure::file(path, &error)),
    }
}

impl Ready<'_> {
    pub(super) async fn run(self, dht: &DhtHandle, output: Output) -> Result<(), Failure> {
        let (put, public) = (self.put, self.key.as_ref().map(|key| hex(&key.public())));
        let stored = match self.key {
            None => dht.put(self.value).await,
            Some(key) => {
                let salt = put.salt.clone().into_bytes();
                dht.put_mutable(key, salt, self.value, put.seq, put.cas).await
            }
        };
        let stored = stored.map_err(|error| match error {
            DhtError::Item(error) => Failure::usage(error.to_string()),
            error => Failure::other(error),
        })?;
        output.line(stored.target);
        if let Some(public) = &public {
            output.line(format_args!("key {public}"));
        }
        output.note(format_args!("{} nodes have it", stored.count));
        let refused: Vec<_> =
            stored.refused.iter().map(|(code, why)| json!({ "code": code, "why": why })).collect();
        output.value(&json!({
            "target": stored.target.to_string(), "key": public, "nodes": stored.count,
            "refused": refused,
        }));
        if stored.count > 0 {
            return Ok(());
        }
        let why = stored.refused.first().map_or("nobody answered", |(_, why)| why.as_str());
        Err(Failure::new(Code::NoPeers, format!("no node took it: {}", untrusted(why)))
            .advise("look at the newest edition with `peerless dht get`, and try again"))
    }
}
