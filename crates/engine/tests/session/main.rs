//! Sessions over real sockets and files on loopback.

#![allow(clippy::disallowed_methods)] // tests play the other side, with sockets of their own

mod binding;
mod choosing;
mod dht;
mod encryption;
mod events;
mod exchange;
mod explain;
mod fallback;
mod handover;
mod hostile_peers;
mod ip_filter;
mod judging;
mod leaves;
mod limits;
mod listen_port;
mod magnets;
mod many;
mod moving;
mod named_peers;
mod overload;
mod private;
mod proxy_trouble;
mod reader;
mod resume;
mod reusing;
mod script;
mod seeding;
mod shelving;
mod support;
mod totals;
mod transfer;
mod two_names;
mod v2;
mod web;
mod web_seeds;
mod web_seeds_tls;
