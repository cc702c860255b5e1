//! What the crate promises, seen from outside: the checklist of what clients get wrong, what must
//! be refused, what holds for every input, and that what is created is what is read.

mod create;
mod edit;
mod features;
mod hints;
mod hostile;
mod properties;
mod v2;
mod value;
