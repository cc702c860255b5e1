//! Sessions over real sockets and files on loopback.

mod dht;
mod encryption;
mod exchange;
mod explain;
mod hostile_peers;
mod limits;
mod magnets;
mod overload;
mod resume;
mod script;
mod support;
mod transfer;
mod v2;
