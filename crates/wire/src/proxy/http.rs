//! The CONNECT method (RFC 9110, 9.3.6), with basic authentication (RFC 7617).

use super::{Credentials, ProxyTarget};

/// Bytes of the head of an answer.
const HEAD_BYTES_MAX: usize = 16 * 1024;
/// Bytes of the reason that an error repeats.
const REASON_BYTES_MAX: usize = 100;

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// One CONNECT.
#[derive(Debug, Default)]
pub struct HttpConnect {
    head: Vec<u8>,
}

/// Why a proxy is of no use.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HttpProxyError {
    /// What answers speaks something else.
    #[error("it does not speak HTTP; check the address and the kind of proxy")]
    NotHttp,
    /// Its answer has no end.
    #[error("its answer is longer than {HEAD_BYTES_MAX} bytes")]
    TooLong,
    /// It wants a user and a password, or others than these.
    #[error("it refused the user or the password; check them in its URL")]
    Login,
    /// Any other status than a success.
    #[error("it answered with status {status}{reason}{}", advice(*.status))]
    Refused {
        /// Of three digits.
        status: u16,
        /// In its words, printable ones only, behind a blank.
        reason: String,
    },
}

fn advice(status: u16) -> &'static str {
    match status {
        403 | 405 => "; its rules don't allow CONNECT to that port: ask who runs it",
        _ => "",
    }
}

impl HttpProxyError {
    /// Whether it is the target that can't be reached, and not the proxy that is of no use.
    pub fn is_about_target(&self) -> bool {
        matches!(self, Self::Refused { status: 500..=599, .. })
    }
}

impl HttpConnect {
    /// What is to be sent.
    pub fn request(target: &ProxyTarget, credentials: Option<&Credentials>) -> Vec<u8> {
        let mut request = format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n");
        if let Some(Credentials { user, password }) = credentials {
            let pair = [user, &b":"[..], password].concat();
            request.extend(["Proxy-Authorization: Basic ", &base64(&pair), "\r\n"]);
        }
        request.push_str("\r\n");
        request.into_bytes()
    }

    /// Takes one more byte of the answer; true with the last one of a success. What follows it is the
    /// target's.
    ///
    /// # Errors
    /// [`HttpProxyError`]: the connection is of no use.
    pub fn input(&mut self, byte: u8) -> Result<bool, HttpProxyError> {
        self.head.push(byte);
        let begin = b"HTTP/1.";
        let seen = self.head.len().min(begin.len());
        if self.head.get(..seen) != begin.get(..seen) {
            return Err(HttpProxyError::NotHttp);
        }
        if self.head.ends_with(b"\r\n\r\n") || self.head.ends_with(b"\n\n") {
            return self.judge().map(|()| true);
        }
        if self.head.len() >= HEAD_BYTES_MAX {
            return Err(HttpProxyError::TooLong);
        }
        Ok(false)
    }

    fn judge(&self) -> Result<(), HttpProxyError> {
        let line = self.head.split(|byte| *byte == b'\n').next().unwrap_or_default();
        let line = String::from_utf8_lossy(line);
        let mut words = line.trim_end().splitn(3, ' ');
        let status = words.nth(1).filter(|status| status.len() == 3);
        let status = status.and_then(|status| status.parse().ok());
        match status.ok_or(HttpProxyError::NotHttp)? {
            200..=299 => Ok(()),
            // tinyproxy says 401, which is for servers.
            401 | 407 => Err(HttpProxyError::Login),
            status => {
                let printable = |letter: &char| letter.is_ascii_graphic() || *letter == ' ';
                let said = words.next().unwrap_or_default().chars().filter(printable);
                let said: String = said.take(REASON_BYTES_MAX).collect();
                let reason = if said.is_empty() { said } else { format!(" ({said})") };
                Err(HttpProxyError::Refused { status, reason })
            }
        }
    }
}

/// RFC 4648 base64, padded.
fn base64(bytes: &[u8]) -> String {
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let at = |index: usize| u32::from(chunk.get(index).copied().unwrap_or(0));
        let bits = at(0) << 16 | at(1) << 8 | at(2);
        for (position, shift) in [18, 12, 6, 0].into_iter().enumerate() {
            let sextet = (bits >> shift) & 63;
            let letter = ALPHABET.get(sextet as usize).filter(|_| position <= chunk.len());
            text.push(letter.map_or('=', |letter| char::from(*letter)));
        }
    }
    text
}
