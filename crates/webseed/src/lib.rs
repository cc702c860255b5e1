//! Web seeds (BEP 17, 19): which URL and range a run of blocks becomes, what an answer is worth, and
//! when a server is asked again. Pure: the driver has the sockets and the clock.
//!
//! ```text
//! queue.ask(block) …                       // what the brain wants of the seed
//! let run = queue.take(idle, &geometry)    // for a connection that has nothing to do
//! for part in parts(&info, kind, start, end) {
//!     source.request(&info, &names, &part) // URL and range; pads need none
//!     judge(&head, &request.wanted)        // what of the body to skip and take
//! }
//! standing.failed(now, &failure, &mut rng) // or served(): who rests, and how long
//! ```

#![cfg_attr(
    not(test),
    deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)
)]

mod answer;
mod pace;
mod parts;
mod queue;
mod source;
mod standing;

pub use answer::{Body, Head, Wanted, judge};
pub use pace::Pace;
pub use parts::{Part, Place, parts};
pub use queue::{Queue, RUN_BYTES_MAX};
pub use source::{Kind, Names, Request, Source};
pub use standing::{Failure, Standing};
