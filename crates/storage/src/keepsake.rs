//! Small files beside the state database, for what is nice to remember and no loss to forget:
//! read whole, replaced whole.

use std::fs::{self, DirBuilder, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

/// What was kept under a name. `None` when there is nothing, or more than anybody here writes.
///
/// # Errors
/// What the system says.
pub fn load_keepsake(folder: &Path, name: &str, bytes_max: u64) -> io::Result<Option<Vec<u8>>> {
    let file = match File::open(folder.join(name)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        file => file?,
    };
    let mut bytes = Vec::new();
    file.take(bytes_max.saturating_add(1)).read_to_end(&mut bytes)?;
    Ok(Some(bytes).filter(|bytes| bytes.len() as u64 <= bytes_max))
}

/// Keeps bytes under a name instead of those before: whoever looks finds the old or the new ones.
///
/// # Errors
/// What the system says; the old ones are still there then.
pub fn save_keepsake(folder: &Path, name: &str, bytes: &[u8]) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    // Of this process alone, so that two never write into one file.
    let new = folder.join(format!("{name}.{}", std::process::id()));
    let written = File::create(&new)
        .and_then(|mut file| file.write_all(bytes))
        .and_then(|()| fs::rename(&new, folder.join(name)));
    if written.is_err() {
        let _ = fs::remove_file(&new); // as far as it got
    }
    written
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_replaced_whole_and_read_back() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path().join("state");
        assert_eq!(load_keepsake(&folder, "dht", 100).unwrap(), None);
        save_keepsake(&folder, "dht", b"a longer one").unwrap();
        save_keepsake(&folder, "dht", b"short").unwrap();
        assert_eq!(load_keepsake(&folder, "dht", 5).unwrap(), Some(b"short".to_vec()));
        assert_eq!(load_keepsake(&folder, "dht", 4).unwrap(), None, "nothing of ours");
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 1);
    }

    #[test]
    fn what_cannot_be_kept_leaves_nothing_behind() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("dht")).unwrap();
        assert!(save_keepsake(folder.path(), "dht", b"x").is_err());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
