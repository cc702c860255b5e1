//! New data of files on its way to the disk, before anybody waits for it.

use std::fs::File;
use std::io;

/// Has the system begin to write what is new in a file to its disk. It does not wait for the end of that,
/// but may for room in the disk's queue. Nothing is durable by it: that is for `File::sync_data`, which
/// finds less to do. Does nothing where the system has no such call.
///
/// # Errors
/// What went wrong within this call. With another than that there is no such call or no memory, what is new
/// in the file may be lost already, and a later `sync_data` need not say so again.
pub fn begin_write_back(file: &File) -> io::Result<()> {
    #[cfg(target_os = "linux")]
    return whole_range(file, libc::SYNC_FILE_RANGE_WRITE);
    #[cfg(not(target_os = "linux"))]
    {
        let _ = file;
        Ok(())
    }
}

/// Waits until what set out for the disk is there, or rather in the disk's own memory: of use once somebody
/// else had all of the disk synced, to hear whether a file's part of it went well.
///
/// # Errors
/// As of [`begin_write_back`], and what went wrong on the way since the file was opened. Where the system
/// has no such call, that.
pub fn wait_for_write_back(file: &File) -> io::Result<()> {
    #[cfg(target_os = "linux")]
    return whole_range(file, libc::SYNC_FILE_RANGE_WAIT_BEFORE);
    #[cfg(not(target_os = "linux"))]
    {
        let _ = file;
        Err(io::Error::from_raw_os_error(libc::ENOSYS))
    }
}

#[cfg(target_os = "linux")]
fn whole_range(file: &File, flags: libc::c_uint) -> io::Result<()> {
    use std::os::fd::AsRawFd;
    let to_the_end = 0;
    #[allow(unsafe_code, reason = "the standard library has no such call")]
    // SAFETY: the call takes numbers alone, and the descriptor is open as long as `file` is borrowed.
    let result = unsafe { libc::sync_file_range(file.as_raw_fd(), 0, to_the_end, flags) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn it_is_for_files_and_leaves_them_as_they_are() {
        let path = std::env::temp_dir().join(format!("peerless-write-back-{}", std::process::id()));
        let mut file = File::create_new(&path).unwrap();
        let data = [vec![7; 100_000], vec![8; 100_000]];
        for part in &data {
            file.write_all(part).unwrap();
            begin_write_back(&file).unwrap();
            wait_for_write_back(&file).unwrap();
        }
        let found = std::fs::read(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        assert!(found == data.concat());
    }

    #[test]
    fn what_the_system_refuses_is_an_error() {
        let (pipe, _other_end) = std::os::unix::net::UnixStream::pair().unwrap();
        let pipe = File::from(std::os::fd::OwnedFd::from(pipe));
        assert!(begin_write_back(&pipe).is_err());
        assert!(wait_for_write_back(&pipe).is_err());
    }
}
