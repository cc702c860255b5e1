//! The key exchange of MSE: Diffie-Hellman in the group of a 768-bit prime, generator 2.
//!
//! The group is far too small for secrets by now. It hides the protocol from who looks at packets,
//! no more, and powers still take the same time whatever the exponent.

use crypto_bigint::modular::{FixedMontyForm, FixedMontyParams};
use crypto_bigint::{Odd, U192, U768};

use super::MseError;

/// Bytes of a public key and of the shared secret, leading zeros and all.
pub const KEY_LENGTH: usize = 96;

/// Bits of a private key: what MSE asks for.
const PRIVATE_BITS: u32 = 160;
const PRIVATE_BYTES: usize = 20;

const PRIME: Odd<U768> = Odd::<U768>::from_be_hex(concat!(
    "ffffffffffffffffc90fdaa22168c234c4c6628b80dc1cd1",
    "29024e088a67cc74020bbea63b139b22514a08798e3404dd",
    "ef9519b3cd3a431b302b0a6df25f14374fe1356d6d51c245",
    "e485b576625e7ec6f44c42e9a63a36210000000000090563"
));
const GROUP: FixedMontyParams<{ U768::LIMBS }> = FixedMontyParams::new_vartime(PRIME);
const GENERATOR: U768 = U768::from_u8(2);

/// What both sides can compute and nobody else.
pub(super) type Secret = [u8; KEY_LENGTH];

/// One side's exponent.
pub(super) struct PrivateKey(U192);

impl PrivateKey {
    /// From as many random bytes as it takes.
    pub(super) fn generate(mut random: impl FnMut() -> u8) -> Self {
        Self::from_bytes(std::array::from_fn(|_| random()))
    }

    fn from_bytes(bytes: [u8; PRIVATE_BYTES]) -> Self {
        let mut padded = [0; U192::BYTES];
        padded.iter_mut().rev().zip(bytes.iter().rev()).for_each(|(to, from)| *to = *from);
        Self(U192::from_be_slice(&padded))
    }

    /// What the other side gets.
    pub(super) fn public(&self) -> [u8; KEY_LENGTH] {
        self.raise(&GENERATOR)
    }

    /// The secret shared with whoever sent `public`.
    ///
    /// # Errors
    /// [`MseError::WeakKey`] for 0, 1 and p − 1, whose powers everybody knows, and for numbers
    /// outside of the group.
    pub(super) fn agree(&self, public: &[u8; KEY_LENGTH]) -> Result<Secret, MseError> {
        let theirs = U768::from_be_slice(public);
        let last = PRIME.wrapping_sub(&U768::ONE);
        if theirs <= U768::ONE || theirs >= last {
            return Err(MseError::WeakKey);
        }
        Ok(self.raise(&theirs))
    }

    fn raise(&self, base: &U768) -> [u8; KEY_LENGTH] {
        let power = FixedMontyForm::new(base, &GROUP).pow_bounded_exp(&self.0, PRIVATE_BITS);
        let bytes = power.retrieve().to_be_bytes();
        let mut key = [0; KEY_LENGTH];
        key.iter_mut().zip(bytes.as_ref()).for_each(|(to, from)| *to = *from);
        key
    }
}

#[cfg(test)]
mod tests {
    use super::super::vectors;
    use super::*;

    #[test]
    fn both_sides_reach_the_secret_of_the_vectors() {
        let (ours, theirs) =
            (PrivateKey::from_bytes(vectors::XA), PrivateKey::from_bytes(vectors::XB));
        assert_eq!(ours.public(), vectors::YA);
        assert_eq!(theirs.public(), vectors::YB);
        assert_eq!(ours.agree(&vectors::YB), Ok(vectors::S));
        assert_eq!(theirs.agree(&vectors::YA), Ok(vectors::S));
    }

    #[test]
    fn a_small_number_keeps_its_leading_zeros() {
        let mut one = [0; PRIVATE_BYTES];
        one[PRIVATE_BYTES - 1] = 1;
        let mut two = [0; KEY_LENGTH];
        two[KEY_LENGTH - 1] = 2;
        assert_eq!(PrivateKey::from_bytes(one).public(), two);
    }

    #[test]
    fn keys_that_give_the_secret_away_are_refused() {
        let key = PrivateKey::from_bytes(vectors::XA);
        let bytes = |number: U768| {
            let mut bytes = [0; KEY_LENGTH];
            bytes.copy_from_slice(number.to_be_bytes().as_ref());
            bytes
        };
        let prime = *PRIME.as_ref();
        let (one, two) = (U768::ONE, U768::from_u8(2));
        for weak in [
            U768::ZERO,
            one,
            prime.wrapping_sub(&one),
            prime,
            prime.wrapping_add(&one),
            prime.wrapping_add(&two),
            U768::MAX,
        ] {
            assert_eq!(key.agree(&bytes(weak)), Err(MseError::WeakKey), "{weak:x}");
        }
        assert!(key.agree(&bytes(two)).is_ok());
        assert!(key.agree(&bytes(prime.wrapping_sub(&two))).is_ok());
    }
}
