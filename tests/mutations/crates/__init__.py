"""What is broken, a file for each crate that it is broken in."""
