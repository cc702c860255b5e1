//! From verified blocks to files and back.
