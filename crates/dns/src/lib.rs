//! What a stub resolver says and reads (RFC 1035, 3596): questions for addresses, answers, `hosts` and
//! `resolv.conf`; pure.
//!
//! A program that binds its sockets to an interface can't leave names to the system, whose packets go
//! wherever routes lead. It opens sockets itself, sends a [`query`], hands what comes back to [`answer`],
//! and does what the [`Answer`] says. Retransmission, and which server to ask, are its own affair.

#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects
    )
)]

mod files;
mod message;
mod name;

pub use files::{Server, ServersFile, addresses_in_hosts};
pub use message::{ALIASES_MAX, Answer, AnswerError, Kind, MESSAGE_BYTES_MAX, answer, query};
pub use name::{Name, NameError};
