//! The `peerless` program by what a user sees: arguments in; text, JSON, files and exit codes out.
//!
//! Every test runs the built program with a home directory of its own and talks to loopback only.

mod check;
mod create;
mod edit;
mod explain;
mod handshake;
mod info;
mod peer;
mod process;
mod transfer;
mod usage;
mod whole;
mod world;
