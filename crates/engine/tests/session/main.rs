//! Sessions over real sockets and files on loopback.

mod encryption;
mod exchange;
mod hostile_peers;
mod overload;
mod resume;
mod script;
mod support;
mod transfer;
