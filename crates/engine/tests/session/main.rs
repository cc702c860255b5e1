//! Sessions over real sockets and files on loopback.

mod dht;
mod hostile_peers;
mod overload;
mod resume;
mod script;
mod support;
mod transfer;
