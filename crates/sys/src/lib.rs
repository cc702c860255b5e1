//! What the system has and the standard library lacks, one safe type each.
//!
//! Beside `digest` this is the only room with `unsafe` code. It knows nothing of BitTorrent.

mod heap;
mod slab;
mod write_back;

pub use heap::trim;
pub use slab::{Part, SLAB_BYTES, slab};
pub use write_back::{begin_write_back, wait_for_write_back};
