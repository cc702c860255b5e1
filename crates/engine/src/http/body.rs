//! Reading a body that may be endless, and inflating one that may be a bomb.

use std::io::{self, Read};

use flate2::read::{DeflateDecoder, MultiGzDecoder, ZlibDecoder};
use http_body_util::BodyExt;
use hyper::body::{Body, Incoming};
use hyper::header::{CONTENT_ENCODING, HeaderMap};

use super::error::HttpError;

/// Reads `body` to its end, at most `body_max` bytes.
pub(super) async fn read(
    mut body: Incoming,
    body_max: usize,
    host: &str,
) -> Result<Vec<u8>, HttpError> {
    let too_long = || HttpError::BodyTooLong { host: host.to_owned(), body_max };
    if body.size_hint().lower() > body_max as u64 {
        return Err(too_long()); // it says so itself, in Content-Length
    }
    let mut bytes = Vec::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| exchange_error(error, host))?;
        let Some(data) = frame.data_ref() else {
            continue;
        };
        if data.len() > body_max - bytes.len() {
            return Err(too_long());
        }
        bytes.extend_from_slice(data);
    }
    Ok(bytes)
}

/// What a failed exchange is called.
pub(crate) fn exchange_error(error: hyper::Error, host: &str) -> HttpError {
    let host = host.to_owned();
    if error.is_incomplete_message() || is_early_end(&error) {
        HttpError::Truncated { host }
    } else {
        HttpError::Protocol { host, source: error }
    }
}

/// Whether the stream ended in the middle of a body.
fn is_early_end(error: &hyper::Error) -> bool {
    use std::error::Error;
    let mut cause = error.source();
    while let Some(inner) = cause {
        let io = inner.downcast_ref::<io::Error>();
        if io.is_some_and(|io| io.kind() == io::ErrorKind::UnexpectedEof) {
            return true;
        }
        cause = inner.source();
    }
    false
}

/// Undoes the `Content-Encoding` of `body`; at most `body_max` bytes come out.
pub(super) fn inflate(
    headers: &HeaderMap,
    body: Vec<u8>,
    body_max: usize,
    host: &str,
) -> Result<Vec<u8>, HttpError> {
    let encoding = headers.get(CONTENT_ENCODING).map_or(&b""[..], |value| value.as_bytes());
    let decoder: Box<dyn Read + '_> = match encoding.trim_ascii().to_ascii_lowercase().as_slice() {
        b"" | b"identity" => return Ok(body),
        _ if body.is_empty() => return Ok(body),
        b"gzip" | b"x-gzip" => Box::new(MultiGzDecoder::new(body.as_slice())),
        // The name means zlib, but servers that send raw deflate are as old as the name.
        b"deflate" if is_zlib(&body) => Box::new(ZlibDecoder::new(body.as_slice())),
        b"deflate" => Box::new(DeflateDecoder::new(body.as_slice())),
        _ => {
            let encoding = encoding.escape_ascii().take(40).map(char::from).collect();
            return Err(HttpError::Encoding { host: host.to_owned(), encoding });
        }
    };
    let mut inflated = Vec::new();
    // One byte more than allowed tells too long from just fitting.
    let read = decoder.take(body_max as u64 + 1).read_to_end(&mut inflated);
    read.map_err(|source| HttpError::Inflate { host: host.to_owned(), source })?;
    if inflated.len() > body_max {
        return Err(HttpError::BodyTooLong { host: host.to_owned(), body_max });
    }
    Ok(inflated)
}

/// Whether `bytes` begin with a zlib header (RFC 1950).
fn is_zlib(bytes: &[u8]) -> bool {
    bytes.first_chunk::<2>().is_some_and(|&[method, flags]| {
        method & 0x0f == 8 && u16::from_be_bytes([method, flags]) % 31 == 0
    })
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};

    use super::*;

    const TEXT: &[u8] = b"d8:intervali1800e5:peers0:e";

    fn run(encoding: &str, body: Vec<u8>, body_max: usize) -> Result<Vec<u8>, HttpError> {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_ENCODING, encoding.parse().unwrap());
        inflate(&headers, body, body_max, "host")
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn every_encoding_in_use_is_undone() {
        let mut zlib = ZlibEncoder::new(Vec::new(), Compression::default());
        zlib.write_all(TEXT).unwrap();
        let mut raw = DeflateEncoder::new(Vec::new(), Compression::default());
        raw.write_all(TEXT).unwrap();
        assert_eq!(run("deflate", zlib.finish().unwrap(), 100).unwrap(), TEXT);
        assert_eq!(run("deflate", raw.finish().unwrap(), 100).unwrap(), TEXT);
        for encoding in ["gzip", " GZIP ", "x-gzip"] {
            assert_eq!(run(encoding, gzip(TEXT), 100).unwrap(), TEXT);
        }
        assert_eq!(run("identity", TEXT.to_vec(), 100).unwrap(), TEXT);
        assert_eq!(run("gzip", Vec::new(), 100).unwrap(), b"");
        assert!(matches!(run("br", TEXT.to_vec(), 100), Err(HttpError::Encoding { .. })));
        assert!(matches!(run("gzip, gzip", gzip(TEXT), 9), Err(HttpError::Encoding { .. })));
    }

    #[test]
    fn the_limit_is_exact() {
        assert_eq!(run("gzip", gzip(TEXT), TEXT.len()).unwrap(), TEXT);
        let short = run("gzip", gzip(TEXT), TEXT.len() - 1);
        assert!(matches!(short, Err(HttpError::BodyTooLong { body_max: 26, .. })));
    }

    #[test]
    fn nothing_is_inflated_beyond_the_limit() {
        let mut bomb = gzip(&vec![0; 1_000_000]);
        let end = bomb.len();
        bomb[end - 8..].fill(0xff); // whoever inflates it all finds a wrong checksum
        assert!(matches!(run("gzip", bomb, 1000), Err(HttpError::BodyTooLong { .. })));
    }

    #[test]
    fn damage_is_an_error() {
        let mut cut = gzip(TEXT);
        cut.truncate(cut.len() - 4);
        assert!(matches!(run("gzip", cut, 100), Err(HttpError::Inflate { .. })));
        assert!(matches!(run("gzip", TEXT.to_vec(), 100), Err(HttpError::Inflate { .. })));
    }
}
