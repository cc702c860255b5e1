//! The protocol point by point: one brain, and peers that say exactly what a test tells them to.

mod candidates;
mod causes;
mod exchange;
mod extensions;
mod greetings;
mod holepunch;
mod ip_filter;
mod listening;
mod private;
mod requests;
mod script;
mod seeding;
mod serving;
mod throttle;
mod timers;
mod verdicts;
mod web_seeds;
mod wishes;
