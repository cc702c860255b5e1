//! The HTTP and UDP tracker protocols, the announce schedule and a small tracker; pure.
//!
//! Nothing here opens a socket, reads a clock or draws its own randomness. The driver (the
//! engine's `announce` module) does what these say:
//!
//! ```text
//! while let Some(due) = schedule.next(now) {
//!     // may_contact(&due.url, ip, …), then by scheme:
//!     // http(s): GET http::announce_url(&due.url, &request), http::parse_announce(&body)
//!     // udp:     udp::Exchange: poll and handle until it gives an Outcome
//!     schedule.succeeded(now, due.tracker, &reply); // or failed(now, due.tracker, &failure)
//! }
//! sleep until schedule.next_timeout()
//! ```
//!
//! | BEP | where |
//! |---|---|
//! | 3, 7, 23, 24, 31, 48 (HTTP) | [`http`] |
//! | 15, 41 (UDP) | [`udp`] |
//! | 12, 31 (tiers, timing) | [`Schedule`] |
//! | 3, 7, 23, 48 (our side as a tracker) | [`server`] |

#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects
    )
)]

mod announce;
pub mod http;
mod schedule;
pub mod server;
mod text;
mod tracker_url;
pub mod udp;
mod url_policy;

pub use announce::{
    AnnounceReply, AnnounceRequest, Event, INTERVAL_DEFAULT, INTERVAL_MAX, INTERVAL_MIN,
    ReplyError, Retry, ScrapeCounts, ScrapeReply,
};
pub use schedule::{
    Due, Failure, NUMWANT, Policy, Prompt, Schedule, ScheduleConfig, TRACKERS_MAX, TrackerIndex,
    TrackerState, TrackerStatus,
};
pub use tracker_url::{UdpTarget, UrlError, udp_target};
pub use url_policy::{Forbidden, may_contact};
