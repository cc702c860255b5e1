//! The items we keep for others (BEP 44).

use std::collections::BTreeMap;
use std::time::Duration;

use crate::id::Id;
use crate::item::{self, SALT_BYTES_MAX, VALUE_BYTES_MAX};
use crate::krpc::{Refusal, Signed, code};

/// An item nobody puts again is dropped after this long (BEP 44).
const LIFETIME: Duration = Duration::from_hours(2);

#[derive(Debug)]
pub(crate) struct Stored {
    pub(crate) value: Vec<u8>,
    /// Key, signature and number of a mutable one.
    pub(crate) signed: Option<([u8; 32], [u8; 64], i64)>,
    expires: Duration,
}

#[derive(Debug)]
pub(crate) struct ItemStore {
    items: BTreeMap<Id, Stored>,
    items_max: usize,
}

impl ItemStore {
    pub(crate) fn new(items_max: usize) -> Self {
        Self { items: BTreeMap::new(), items_max }
    }

    pub(crate) fn len(&self) -> usize {
        self.items.len()
    }

    pub(crate) fn get(&self, now: Duration, target: Id) -> Option<&Stored> {
        self.items.get(&target).filter(|item| item.expires > now)
    }

    pub(crate) fn expire(&mut self, now: Duration) {
        self.items.retain(|_, item| item.expires > now);
    }

    /// Takes an item whose sender has shown a good token. `own`: when there is no room, what is
    /// furthest from our id goes, since that is where others look last.
    pub(crate) fn put(
        &mut self,
        now: Duration,
        own: Id,
        value: &[u8],
        signed: Option<Signed<'_>>,
    ) -> Result<(), Refusal> {
        if value.len() > VALUE_BYTES_MAX {
            return Err(Refusal::new(code::TOO_LONG, "v is longer than 1000 bytes"));
        }
        let target = match signed {
            None => item::immutable_target(value),
            Some(signed) => self.check_signed(now, value, &signed)?,
        };
        if !self.items.contains_key(&target) {
            self.make_room(now, own, target)?;
        }
        let signed = signed.map(|signed| (*signed.key, *signed.signature, signed.seq));
        let expires = now.saturating_add(LIFETIME);
        self.items.insert(target, Stored { value: value.to_vec(), signed, expires });
        Ok(())
    }

    fn check_signed(
        &self,
        now: Duration,
        value: &[u8],
        signed: &Signed<'_>,
    ) -> Result<Id, Refusal> {
        if signed.salt.len() > SALT_BYTES_MAX {
            return Err(Refusal::new(code::SALT_TOO_LONG, "salt is longer than 64 bytes"));
        }
        let target = item::mutable_target(signed.key, signed.salt);
        if let Some(stored) = self.get(now, target) {
            let seq = stored.signed.map_or(0, |(.., seq)| seq);
            if signed.cas.is_some_and(|cas| cas != seq) {
                return Err(Refusal::new(code::CAS_MISMATCH, "cas is not the current seq"));
            }
            if signed.seq < seq || (signed.seq == seq && stored.value != value) {
                return Err(Refusal::new(code::SEQ_TOO_LOW, "seq is not above the current one"));
            }
        }
        // Last, since it costs most.
        let (key, signature) = (signed.key, signed.signature);
        if !item::is_signed(key, signature, signed.salt, signed.seq, value) {
            return Err(Refusal::new(code::BAD_SIGNATURE, "invalid signature"));
        }
        Ok(target)
    }

    fn make_room(&mut self, now: Duration, own: Id, target: Id) -> Result<(), Refusal> {
        if self.items.len() < self.items_max {
            return Ok(());
        }
        self.expire(now);
        while self.items.len() >= self.items_max {
            let furthest = own.furthest_of(&self.items);
            match furthest {
                Some(id) if id.distance(own) > target.distance(own) => self.items.remove(&id),
                _ => return Err(Refusal::new(code::SERVER, "no room")),
            };
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::item::SecretKey;

    const OWN: Id = Id([0; 20]);

    fn put(store: &mut ItemStore, seq: i64, value: &[u8], cas: Option<i64>) -> Result<(), i64> {
        let signed = SecretKey::from_seed(&[1; 32]).sign(b"s", seq, value);
        let signed =
            Signed { key: &signed.key, signature: &signed.signature, seq, salt: b"s", cas };
        store.put(Duration::ZERO, OWN, value, Some(signed)).map_err(|refusal| refusal.code)
    }

    #[test]
    fn a_mutable_item_only_goes_forward() {
        let mut store = ItemStore::new(10);
        assert_eq!(put(&mut store, 5, b"1:a", Some(99)), Ok(()), "cas counts once there is one");
        assert_eq!(put(&mut store, 4, b"1:b", None), Err(code::SEQ_TOO_LOW));
        assert_eq!(put(&mut store, 5, b"1:b", None), Err(code::SEQ_TOO_LOW));
        assert_eq!(put(&mut store, 5, b"1:a", None), Ok(()), "the same again keeps it alive");
        assert_eq!(put(&mut store, 6, b"1:b", Some(4)), Err(code::CAS_MISMATCH));
        assert_eq!(put(&mut store, 6, b"1:b", Some(5)), Ok(()));
        assert_eq!(store.len(), 1);
    }

    #[test]
    fn forged_and_oversized_items_are_refused_with_their_codes() {
        let mut store = ItemStore::new(10);
        let good = SecretKey::from_seed(&[1; 32]).sign(b"", 1, b"1:a");
        let signed = |salt: &'static [u8]| Signed {
            key: &good.key,
            signature: &good.signature,
            seq: 1,
            salt,
            cas: None,
        };
        let mut code_of =
            |value: &[u8], signed| store.put(Duration::ZERO, OWN, value, signed).unwrap_err().code;
        assert_eq!(code_of(b"1:b", Some(signed(b""))), code::BAD_SIGNATURE);
        assert_eq!(code_of(b"1:a", Some(signed(&[0; 65]))), code::SALT_TOO_LONG);
        assert_eq!(code_of(&[b'x'; 1001], None), code::TOO_LONG);
        assert_eq!(store.len(), 0);
    }

    #[test]
    fn the_store_is_bounded_keeps_what_is_near_and_forgets_in_time() {
        let mut store = ItemStore::new(10);
        let mut targets = Vec::new();
        for n in 0..100 {
            let value = format!("i{n}e");
            targets.push(item::immutable_target(value.as_bytes()));
            let _ = store.put(Duration::ZERO, OWN, value.as_bytes(), None);
        }
        targets.sort();
        assert!(store.items.keys().eq(&targets[..10]), "the ten nearest");
        let later = Duration::from_hours(2);
        assert!(store.get(later, targets[0]).is_none());
        store.expire(later);
        assert_eq!(store.len(), 0);
    }
}
