//! The `peerless` program by what a user sees: arguments in; text, JSON, files and exit codes out.
//!
//! Every test runs the built program with a home directory of its own and talks to loopback only.

#![allow(clippy::disallowed_methods)] // tests play the other side, with sockets of their own

mod check;
mod choosing;
mod create;
mod edit;
mod explain;
mod handshake;
mod hybrid;
mod info;
mod ip_filter;
mod limits;
mod moving;
mod network;
mod peer;
mod piece;
mod process;
mod remarks;
mod reusing;
mod share;
mod sources;
mod stream;
mod totals;
mod transfer;
mod usage;
mod whole;
mod world;
