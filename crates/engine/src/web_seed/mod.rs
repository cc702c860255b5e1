//! Web seeds (BEP 17, 19) to the world: what `webseed` plans, fetched over `http`. Which blocks are
//! asked for, and what becomes of them, is the torrent's (`torrent/web_seeds.rs`).

mod fetch;
mod filler;
mod status;

#[cfg(test)]
mod tests;

pub(crate) use fetch::{Fetcher, Unfetched};
pub(crate) use filler::Filler;
pub use status::{WebSeedState, WebSeedStatus};

use webseed::{Kind, Source};

use crate::http::PrivatePolicy;

/// How far a web seed's URL is trusted. One that a torrent names may be on a private network where it
/// is only a path: whoever has a web seed at home has one like that, and orders to a router need a
/// query, as a script (BEP 17) always gets. Redirects from it to another host may not lead there.
pub(crate) fn policy(source: &Source, allow_private: bool) -> PrivatePolicy {
    if allow_private {
        PrivatePolicy::Allow
    } else if source.kind == Kind::Pieces || source.url.contains('?') {
        PrivatePolicy::Refuse
    } else {
        PrivatePolicy::AllowAsWritten
    }
}
