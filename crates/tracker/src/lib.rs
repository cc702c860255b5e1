//! The HTTP and UDP tracker protocols and the announce schedule; pure.
