//! Write tokens: who stores something with us has received a packet at his address (BEP 5).

use std::net::IpAddr;
use std::time::Duration;

use sha1::{Digest as _, Sha1};

use crate::secrets::Secrets;

/// The secret changes this often; a token is good for one to two of these (BEP 5).
const ROTATION: Duration = Duration::from_mins(5);

/// A token's length: nobody guesses one of these within ten minutes.
const BYTES: usize = 8;

#[derive(Debug)]
pub(crate) struct Tokens {
    current: [u8; 20],
    previous: [u8; 20],
    since: Duration,
}

impl Tokens {
    pub(crate) fn new(now: Duration, secrets: &mut Secrets) -> Self {
        Self { current: secrets.draw(), previous: secrets.draw(), since: now }
    }

    /// Changes the secret when it is time to. After a long sleep both are new.
    pub(crate) fn rotate(&mut self, now: Duration, secrets: &mut Secrets) {
        let age = now.saturating_sub(self.since);
        if age < ROTATION {
            return;
        }
        let outdated = age >= ROTATION.saturating_mul(2);
        self.previous = if outdated { secrets.draw() } else { self.current };
        self.current = secrets.draw();
        self.since = now;
    }

    /// The token of an address.
    pub(crate) fn of(&self, ip: IpAddr) -> [u8; BYTES] {
        Self::under(&self.current, ip)
    }

    /// Whether the token was given to this address, and lately.
    pub(crate) fn is_good(&self, ip: IpAddr, token: &[u8]) -> bool {
        [&self.current, &self.previous].iter().any(|secret| Self::under(secret, ip) == token)
    }

    fn under(secret: &[u8; 20], ip: IpAddr) -> [u8; BYTES] {
        let hash = Sha1::new().chain_update(secret);
        let hash: [u8; 20] = match ip {
            IpAddr::V4(ip) => hash.chain_update(ip.octets()).finalize().into(),
            IpAddr::V6(ip) => hash.chain_update(ip.octets()).finalize().into(),
        };
        hash.first_chunk().copied().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_mins(1);

    /// features.md 69: bound to the address, secret every five minutes, the previous accepted.
    #[test]
    fn a_token_is_bound_to_its_address_and_lasts_five_to_ten_minutes() {
        let mut secrets = Secrets::new([1; 32]);
        let mut tokens = Tokens::new(Duration::ZERO, &mut secrets);
        let (ours, other) = (IpAddr::from([1, 2, 3, 4]), IpAddr::from([1, 2, 3, 5]));
        let token = tokens.of(ours);
        assert!(tokens.is_good(ours, &token) && !tokens.is_good(other, &token));
        assert!(!tokens.is_good(ours, &token[..7]) && !tokens.is_good(ours, b""));
        tokens.rotate(5 * MINUTE, &mut secrets);
        assert!(tokens.is_good(ours, &token), "the previous secret");
        assert_ne!(tokens.of(ours), token);
        tokens.rotate(10 * MINUTE, &mut secrets);
        assert!(!tokens.is_good(ours, &token), "and no older one");
    }

    #[test]
    fn no_token_survives_a_long_sleep() {
        let mut secrets = Secrets::new([1; 32]);
        let mut tokens = Tokens::new(Duration::ZERO, &mut secrets);
        let token = tokens.of(IpAddr::from([1, 2, 3, 4]));
        tokens.rotate(60 * MINUTE, &mut secrets);
        assert!(!tokens.is_good(IpAddr::from([1, 2, 3, 4]), &token));
    }
}
