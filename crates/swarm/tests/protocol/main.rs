//! The protocol point by point: one brain, and peers that say exactly what a test tells them to.

mod candidates;
mod causes;
mod crowds;
mod exchange;
mod extensions;
mod greetings;
mod holepunch;
mod ip_filter;
mod late_blocks;
mod listening;
mod named_peers;
mod private;
mod requests;
mod rest;
mod script;
mod seeding;
mod serving;
mod throttle;
mod timers;
mod verdicts;
mod web_seeds;
mod wishes;
