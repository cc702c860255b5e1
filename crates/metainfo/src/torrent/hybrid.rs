//! Torrents that are v1 and v2 at once (BEP 52): both must describe the same files.

use super::{FileEntry, Node, TorrentError, tree};

/// Gives the files of the v1 description the roots of the v2 one. Padding is in the first alone;
/// all else must be the same, in the same order.
pub(super) fn join(
    files: &mut [FileEntry],
    info: Node<'_, '_>,
    name: &[u8],
    single_file: bool,
    piece_length: u32,
) -> Result<(), TorrentError> {
    let (mut tree, _, _) = tree::read(info, name, Some(single_file), piece_length)?;
    let mut others = tree.drain(..);
    for file in files.iter_mut().filter(|file| !file.attributes.pad) {
        let other = others.next().filter(|other| {
            (&other.path, other.length) == (&file.path, file.length)
                && other.attributes.symlink == file.attributes.symlink
                && other.symlink_target == file.symlink_target
        });
        let Some(other) = other else {
            return Err(TorrentError::InconsistentHybrid(file.path.display()));
        };
        let within = file.offset.checked_rem(u64::from(piece_length)).unwrap_or(0);
        if file.length > 0 && within != 0 {
            return Err(TorrentError::Unaligned(file.path.display()));
        }
        file.root = other.root;
    }
    match others.next() {
        Some(other) => Err(TorrentError::InconsistentHybrid(other.path.display())),
        None => Ok(()),
    }
}
