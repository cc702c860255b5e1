//! One torrent's brain; pure.
