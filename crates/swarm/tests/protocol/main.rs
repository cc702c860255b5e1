//! The protocol point by point: one brain, and peers that say exactly what a test tells them to.

mod candidates;
mod causes;
mod extensions;
mod greetings;
mod requests;
mod script;
mod serving;
mod timers;
mod verdicts;
