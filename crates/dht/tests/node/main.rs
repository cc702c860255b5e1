//! Nodes among themselves, in a time of their own, and what strangers do to one.

mod answers;
mod hostile;
mod items;
mod lookups;
mod world;
