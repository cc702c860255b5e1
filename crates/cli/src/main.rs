//! The `peerless` program.

fn main() {}
