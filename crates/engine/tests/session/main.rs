//! Sessions over real sockets and files on loopback.

mod choosing;
mod dht;
mod encryption;
mod exchange;
mod explain;
mod hostile_peers;
mod limits;
mod magnets;
mod moving;
mod overload;
mod resume;
mod script;
mod support;
mod transfer;
