//! Serving the torrent's own metadata to peers that came by a magnet link (BEP 9).

use wire::{METADATA_PIECE_LENGTH, Message, MetadataMessage};

use super::Torrent;
use crate::peer::Connection;

impl Torrent {
    /// Queues a piece of the metadata, or a rejection.
    pub(super) fn send_metadata(&self, connection: &Connection, id: u8, piece: u32) {
        let info = &self.shared.torrent.info_bytes;
        let begin = u64::from(piece) * u64::from(METADATA_PIECE_LENGTH);
        let rest = usize::try_from(begin).ok().and_then(|begin| info.get(begin..));
        let waits = connection.is_behind(); // one that asks and does not read costs no more
        let payload = match rest.filter(|rest| !rest.is_empty() && !waits) {
            Some(rest) => {
                let bytes = rest.get(..METADATA_PIECE_LENGTH as usize).unwrap_or(rest);
                let total_size = u32::try_from(info.len()).unwrap_or(u32::MAX);
                MetadataMessage::Data { piece, total_size, bytes }.encode()
            }
            None => MetadataMessage::Reject { piece }.encode(),
        };
        connection.push(&Message::Extended { id, payload: &payload });
    }
}
