//! A v2 file's piece layer from its own bytes (BEP 52): the file's root vouches for it, so whoever has the
//! whole file needs nobody to tell which of its pieces are good.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicBool, Ordering};

use metainfo::Info;
use metainfo::merkle::{self, MerkleHash};

use crate::pools::leaves_of;
use crate::record::Observed;
use crate::store::FileStore;

/// Bytes hashed at once, unless a piece is longer: enough to fill the lanes of the hash kernels.
const STEP_BYTES: u64 = 1024 * 1024;

/// The hash over each piece of a file that has the length and the root of the torrent's `file`. `None` for
/// any other, and when cancelled. `progress` is given the bytes hashed.
pub(crate) fn layer_of(
    info: &Info,
    file: usize,
    source: &File,
    cancel: &AtomicBool,
    progress: &dyn Fn(u64),
) -> io::Result<Option<Vec<MerkleHash>>> {
    let entry = info.files().get(file).filter(|entry| entry.length > 0);
    let Some((entry, root)) = entry.and_then(|entry| Some((entry, entry.root?))) else {
        return Ok(None);
    };
    if source.metadata()?.len() != entry.length {
        return Ok(None);
    }
    let piece_length = info.geometry().piece_length();
    let top =
        merkle::piece_layer(piece_length).min(merkle::height(merkle::leaf_count(entry.length)));
    let step = STEP_BYTES.max(u64::from(piece_length)).min(entry.length);
    let mut buffer = vec![0; step as usize];
    let mut layer = Vec::with_capacity(info.pieces_of_file(file).len());
    let mut at = 0;
    while at < entry.length {
        if cancel.load(Ordering::Relaxed) {
            return Ok(None);
        }
        let bytes = buffer.get_mut(..step.min(entry.length - at) as usize).unwrap_or_default();
        source.read_exact_at(bytes, at)?;
        layer.extend(leaves_of(bytes).chunks(1 << top).map(|leaves| merkle::root(leaves, 0, top)));
        at += bytes.len() as u64;
        progress(at);
    }
    let whole = match &*layer {
        [only] => *only,
        layer => merkle::root_of_piece_layer(layer, piece_length),
    };
    Ok((whole == root).then_some(layer))
}

impl FileStore {
    /// Makes the piece layers that are not there of files that are whole on the disk, and true when it made
    /// one. `progress` is given the bytes that were hashed and that there are to hash.
    pub fn find_layers(
        &self,
        observed: &Observed,
        cancel: &AtomicBool,
        progress: &dyn Fn(u64, u64),
    ) -> bool {
        let (info, known) = (self.info(), self.layers());
        let length = |file: &usize| info.files().get(*file).map(|entry| entry.length);
        let is_whole = |file: &usize| {
            let seen = observed.files.get(*file).copied().flatten();
            seen.is_some_and(|seen| Some(seen.length) == length(file))
        };
        let whole: Vec<usize> = known.missing(info).filter(is_whole).collect();
        let total = whole.iter().filter_map(length).sum();
        let (mut done, mut any) = (0, false);
        for file in whole {
            let Some(root) = info.files().get(file).and_then(|entry| entry.root) else { continue };
            let layer = self.readable(file).map_err(io::Error::other).and_then(|source| {
                layer_of(info, file, &source, cancel, &|bytes| progress(done + bytes, total))
            });
            match layer {
                Ok(Some(layer)) => {
                    self.add_layer(root, &layer);
                    any = true;
                }
                Ok(None) => {} // damaged: its layer has to come from peers
                Err(error) => {
                    let path = self.file_path(file);
                    tracing::warn!(path = %path.display(), %error, "can't be hashed");
                }
            }
            done += length(&file).unwrap_or(0);
        }
        any
    }

    /// Pieces among `pieces` that nothing is known to compare with yet: those of v2 files whose layer is not
    /// there.
    pub fn unjudged(&self, pieces: impl Iterator<Item = metainfo::PieceIndex>) -> wire::Bitfield {
        let info = self.info();
        let mut unjudged = wire::Bitfield::new(info.geometry().piece_count());
        for piece in pieces.filter(|piece| !self.can_judge(*piece)) {
            unjudged.insert(piece);
        }
        unjudged
    }

    pub(crate) fn can_judge(&self, piece: metainfo::PieceIndex) -> bool {
        self.info().has_v1() || self.piece_tree(piece).is_some()
    }
}

#[cfg(test)]
mod tests {
    use crate::store::testing_v2::SampleV2;

    const KIB: usize = 1024;

    /// Makes the layers of files in `dir`, of which the torrent has none.
    fn found(sample: &SampleV2, dir: &std::path::Path, cancel: bool) -> Vec<usize> {
        let store = sample.open(dir);
        store.set_layers(std::sync::Arc::default());
        let made = store.find_layers(&store.observe(), &cancel.into(), &|done, total| {
            assert!(done <= total);
        });
        let (layers, info) = (store.layers(), store.info());
        let files = (0..info.files().len()).filter(|file| {
            let layer = layers.of_file(info, *file);
            layer.is_some_and(|layer| {
                Some(layer) == sample.torrent.piece_layers.of_file(info, *file)
            })
        });
        let files: Vec<usize> = files.filter(|file| info.pieces_of_file(*file).len() > 1).collect();
        assert_eq!(made, !files.is_empty());
        files
    }

    #[test]
    fn a_whole_file_proves_its_own_layer_and_no_other_does() {
        let lengths = [100 * KIB, 32 * KIB, 33 * KIB + 1, 5, 3 * 1024 * KIB + 7];
        for piece_length in [16 * KIB, 32 * KIB] {
            let sample = SampleV2::new(&lengths, piece_length, false);
            let dir = tempfile::tempdir().unwrap();
            let folder = dir.path().join("t");
            std::fs::create_dir(&folder).unwrap();
            for file in 0..lengths.len() {
                let pieces = sample.torrent.info.pieces_of_file(file);
                let bytes: Vec<u8> =
                    pieces.flat_map(|piece| sample.piece(piece).to_vec()).collect();
                std::fs::write(folder.join(file.to_string()), bytes).unwrap();
            }
            let several = if piece_length == 16 * KIB { vec![0, 1, 2, 4] } else { vec![0, 2, 4] };
            assert_eq!(found(&sample, dir.path(), false), several);
            assert_eq!(found(&sample, dir.path(), true), [0_usize; 0], "cancelled");
            // One is damaged at its end, one is too long.
            let mut bytes = std::fs::read(folder.join("4")).unwrap();
            *bytes.last_mut().unwrap() ^= 1;
            std::fs::write(folder.join("4"), &bytes).unwrap();
            let longer = std::fs::File::options().write(true).open(folder.join("2")).unwrap();
            longer.set_len(40 * 1024).unwrap();
            let left: Vec<usize> = several.into_iter().filter(|file| *file < 2).collect();
            assert_eq!(found(&sample, dir.path(), false), left);
        }
    }
}
