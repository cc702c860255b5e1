//! Files that were there before and hold something else than the torrent's data.

use std::fs::File;
use std::os::fd::AsFd;

use rustix::fs::{Mode, OFlags};
use wire::Bitfield;

use super::{FileStore, intact};
use crate::beneath;
use crate::error::StorageError;
use crate::record::Observed;

impl FileStore {
    /// Refuses a file in which the check found no good piece at all: more likely somebody's own of
    /// the same name than a download. Call it after a check; `have` is what is good, `observed` the
    /// look before the check, at those files that nothing was ever written to.
    ///
    /// # Errors
    /// [`StorageError::Stranger`], unless overwriting was allowed.
    pub fn refuse_strangers(
        &self,
        have: &Bitfield,
        observed: &Observed,
    ) -> Result<(), StorageError> {
        if self.options.overwrite {
            return Ok(());
        }
        let seen = observed.files.iter().enumerate();
        for (file, _) in seen.filter(|(_, seen)| seen.is_some_and(|seen| seen.length > 0)) {
            let path = self.file_path(file);
            if self.holds_data(file) && self.can_be_judged(file) {
                let mut pieces = self.info.pieces_of_file(file);
                if !pieces.any(|piece| have.has(piece)) {
                    return Err(StorageError::Stranger { path });
                }
            }
        }
        Ok(())
    }

    /// Whether something was ever written to a file that is there.
    pub fn holds_data(&self, file: usize) -> bool {
        let Ok(path) = self.safe_path(file) else { return false };
        let opened = self.root_folder(false).ok().and_then(|root| {
            beneath::open(root.as_fd(), &path, OFlags::RDONLY, Mode::empty()).ok()
        });
        // Nobody can tell of what can't be read.
        let Some(opened) = opened.map(File::from) else { return true };
        opened.metadata().map_or(true, |found| intact::holds_data(&opened, &found))
    }

    /// A piece that a file shares with others may be bad through no fault of its own, and of one whose hash
    /// is not known yet nothing can be said.
    fn can_be_judged(&self, file: usize) -> bool {
        let whole = |piece| {
            let neighbours = self.info.files_of_piece(piece).filter(|other| *other != file);
            neighbours
                .filter_map(|other| self.info.files().get(other))
                .all(|other| other.length == 0)
        };
        let mut pieces = self.info.pieces_of_file(file);
        pieces.clone().all(|piece| self.can_judge(piece)) && pieces.any(whole)
    }
}
