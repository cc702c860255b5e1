//! An HTTP/1.1 client for what a torrent's strangers serve: tracker answers and .torrent files.
//!
//! One GET at a time, no pool and no cookies. What it adds to hyper is distrust: every address a
//! name leads to is judged before it is dialled ([`PrivatePolicy`]), at every redirect again;
//! bodies are bounded before and after inflating; one deadline covers the whole of it; TLS is
//! always verified, and nothing switches that off. Errors name the host and never the path or
//! query, where passkeys live.

mod address;
mod body;
mod client;
mod connect;
mod credentials;
mod error;
mod lines;
mod target;
mod tls;

#[cfg(test)]
pub(crate) mod scripted;
#[cfg(test)]
mod tests;

pub use address::AddressError;
pub(crate) use address::PrivatePolicy;
pub(crate) use address::{Lookup, family_of};
pub(crate) use body::exchange_error;
pub(crate) use client::{GetOptions, HttpClient, HttpReply, HttpSettings};
pub(crate) use connect::NO_ROUTE_KINDS;
pub(crate) use credentials::percent_decode;
pub use error::HttpError;
pub(crate) use lines::{Lines, Opened};
