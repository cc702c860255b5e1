//! Items that anybody can keep in the DHT (BEP 44): immutable ones, named by their own hash, and
//! mutable ones, named by a public key and signed.

use ed25519_dalek::hazmat::{ExpandedSecretKey, raw_sign};
use ed25519_dalek::{Signature, VerifyingKey};
use metainfo::bencode;
use sha1::{Digest as _, Sha1};
use sha2::Sha512;

use crate::id::Id;

/// Bytes of a bencoded value that every node takes.
pub const VALUE_BYTES_MAX: usize = 1000;

/// Bytes of a salt.
pub const SALT_BYTES_MAX: usize = 64;

/// Why an item cannot be put.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ItemError {
    /// Nodes refuse it.
    #[error("{bytes} bytes; an item has at most {VALUE_BYTES_MAX}")]
    TooLong {
        /// How long it is, bencoded.
        bytes: usize,
    },
    /// Nodes refuse it.
    #[error("a salt of {bytes} bytes; at most {SALT_BYTES_MAX} are allowed")]
    SaltTooLong {
        /// How long it is.
        bytes: usize,
    },
    /// It is not one bencoded value.
    #[error("the value is not bencode: {0}")]
    NotBencode(#[from] bencode::Error),
    /// Beyond what every node can count.
    #[error("a sequence number is not negative")]
    NegativeSeq,
}

/// What is found in the DHT: verified, by hash or by signature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// Bencoded.
    pub value: Vec<u8>,
    /// What a mutable one comes with.
    pub signed: Option<ItemSignature>,
}

/// Who wrote an item, and which version it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ItemSignature {
    /// The writer's public key.
    pub key: [u8; 32],
    /// Over salt, number and value.
    pub signature: [u8; 64],
    /// The version; the highest is the item.
    pub seq: i64,
}

/// Checks a value that is to be put.
pub(crate) fn check_value(value: &[u8]) -> Result<(), ItemError> {
    if value.len() > VALUE_BYTES_MAX {
        return Err(ItemError::TooLong { bytes: value.len() });
    }
    bencode::parse(value, bencode::Limits::network())?;
    Ok(())
}

/// Where an immutable item is kept.
pub fn immutable_target(value: &[u8]) -> Id {
    Id(Sha1::digest(value).into())
}

/// Where a mutable item is kept; an empty salt is none.
pub fn mutable_target(key: &[u8; 32], salt: &[u8]) -> Id {
    Id(Sha1::new().chain_update(key).chain_update(salt).finalize().into())
}

/// What is signed. Built of parts, so that no part can pass for another.
fn signed_bytes(salt: &[u8], seq: i64, value: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    if !salt.is_empty() {
        bytes.extend(format!("4:salt{}:", salt.len()).into_bytes());
        bytes.extend(salt);
    }
    bytes.extend(format!("3:seqi{seq}e1:v").into_bytes());
    bytes.extend(value);
    bytes
}

/// Whether `key` signed this.
pub(crate) fn is_signed(
    key: &[u8; 32],
    signature: &[u8; 64],
    salt: &[u8],
    seq: i64,
    value: &[u8],
) -> bool {
    let Ok(key) = VerifyingKey::from_bytes(key) else { return false };
    let signature = Signature::from_bytes(signature);
    key.verify_strict(&signed_bytes(salt, seq, value), &signature).is_ok()
}

/// A writer's key pair.
#[derive(Clone)]
pub struct SecretKey {
    expanded: [u8; 64],
    public: [u8; 32],
}

impl SecretKey {
    /// The pair that follows from 32 secret random bytes, as most ed25519 tools keep them.
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        Self::from_expanded(Sha512::digest(seed).into())
    }

    /// From the 64 bytes that a seed is hashed to: the form that BEP 44 shows and libtorrent keeps.
    pub fn from_expanded(mut expanded: [u8; 64]) -> Self {
        if let Some([first, .., last]) = expanded.first_chunk_mut::<32>() {
            *first &= 0xf8; // as the signature scheme wants every key; nothing for a good one
            *last = (*last & 0x7f) | 0x40;
        }
        let public = VerifyingKey::from(&ExpandedSecretKey::from_bytes(&expanded)).to_bytes();
        Self { expanded, public }
    }

    /// The public half: what readers need.
    pub fn public(&self) -> [u8; 32] {
        self.public
    }

    pub(crate) fn sign(&self, salt: &[u8], seq: i64, value: &[u8]) -> ItemSignature {
        let expanded = ExpandedSecretKey::from_bytes(&self.expanded);
        let public = VerifyingKey::from(&expanded);
        let bytes = signed_bytes(salt, seq, value);
        let signature = raw_sign::<Sha512>(&expanded, &bytes, &public).to_bytes();
        ItemSignature { key: self.public, signature, seq }
    }
}

impl std::fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SecretKey")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex<const N: usize>(text: &str) -> [u8; N] {
        let digits: Vec<u8> =
            text.chars().filter_map(|c| c.to_digit(16)).map(|digit| digit as u8).collect();
        let bytes: Vec<u8> = digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect();
        bytes.try_into().unwrap()
    }

    const VALUE: &[u8] = b"12:Hello World!";
    const PUBLIC: &str = "77ff84905a91936367c01360803104f92432fcd904a43511876df5cdf3e7e548";

    fn key() -> SecretKey {
        SecretKey::from_expanded(hex(
            "e06d3183d14159228433ed599221b80bd0a5ce8352e4bdf0262f76786ef1c74d
             b7e7a9fea2c0eb269d61e3b38e450a22e754941ac78479d6c54e1faf6037881d",
        ))
    }

    /// BEP 44, test 1.
    #[test]
    fn the_published_mutable_item() {
        assert_eq!(key().public(), hex(PUBLIC));
        assert_eq!(signed_bytes(b"", 1, VALUE), b"3:seqi1e1:v12:Hello World!");
        let target = mutable_target(&key().public(), b"");
        assert_eq!(target.to_string(), "4a533d47ec9c7d95b1ad75f576cffc641853b750");
        let signature = key().sign(b"", 1, VALUE).signature;
        let published = "305ac8aeb6c9c151fa120f120ea2cfb923564e11552d06a5d856091e5e853cff
             1260d3f39e4999684aa92eb73ffd136e6f4f3ecbfda0ce53a1608ecd7ae21f01";
        assert_eq!(signature, hex(published));
        assert!(is_signed(&key().public(), &signature, b"", 1, VALUE));
    }

    /// BEP 44, test 2.
    #[test]
    fn the_published_mutable_item_with_a_salt() {
        let buffer = b"4:salt6:foobar3:seqi1e1:v12:Hello World!";
        assert_eq!(signed_bytes(b"foobar", 1, VALUE), buffer);
        let target = mutable_target(&key().public(), b"foobar");
        assert_eq!(target.to_string(), "411eba73b6f087ca51a3795d9c8c938d365e32c1");
        let signature = key().sign(b"foobar", 1, VALUE).signature;
        let published = "6834284b6b24c3204eb2fea824d82f88883a3d95e8b4a21b8c0ded553d17d17d
             df9a8a7104b1258f30bed3787e6cb896fca78c58f8e03b5f18f14951a87d9a08";
        assert_eq!(signature, hex(published));
        assert!(is_signed(&key().public(), &signature, b"foobar", 1, VALUE));
    }

    /// BEP 44, test 3.
    #[test]
    fn the_published_immutable_item() {
        let target = immutable_target(VALUE);
        assert_eq!(target.to_string(), "e5f96f6f38320f0f33959cb4d3d656452117aadb");
    }

    #[test]
    fn nothing_but_what_was_signed_passes() {
        let key = SecretKey::from_seed(&[9; 32]);
        let good = key.sign(b"salt", 7, VALUE);
        let check = |salt: &[u8], seq, value: &[u8]| {
            is_signed(&good.key, &good.signature, salt, seq, value)
        };
        assert!(check(b"salt", 7, VALUE));
        assert!(!check(b"", 7, VALUE) && !check(b"salt", 8, VALUE) && !check(b"salt", 7, b"0:"));
        assert!(!is_signed(&[0; 32], &good.signature, b"salt", 7, VALUE), "no key at all");
    }

    #[test]
    fn values_are_one_short_bencoded_value() {
        let of_length = |bytes: usize| format!("{}:{}", bytes - 4, "x".repeat(bytes - 4));
        assert_eq!(check_value(of_length(1000).as_bytes()), Ok(()));
        let long = check_value(of_length(1001).as_bytes());
        assert_eq!(long, Err(ItemError::TooLong { bytes: 1001 }));
        assert!(matches!(check_value(b"hello"), Err(ItemError::NotBencode(_))));
        assert!(matches!(check_value(b"i1ei2e"), Err(ItemError::NotBencode(_))));
    }
}
