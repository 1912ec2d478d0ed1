//! Files that lie in memory: on a tmpfs, as `/tmp` is on many hosts.

use std::io;
use std::path::Path;

use rustix::fs::FsWord;

/// `f_type` of tmpfs and of ramfs, by statfs(2).
const IN_MEMORY: [FsWord; 2] = [0x0102_1994, 0x8584_58f6];

/// Whether files in this folder take memory.
pub(crate) fn is_in_memory(folder: &Path) -> io::Result<bool> {
    Ok(IN_MEMORY.contains(&rustix::fs::statfs(folder)?.f_type))
}

/// How much of so many bytes of files in this folder can be in memory: a tmpfs has a limit of its own.
pub(crate) fn bytes_in_memory(folder: &Path, bytes: u64) -> io::Result<u64> {
    if !is_in_memory(folder)? {
        return Ok(0);
    }
    let found = rustix::fs::statvfs(folder)?;
    // A ramfs has none, and says 0.
    let limit = found.f_blocks.saturating_mul(found.f_frsize);
    Ok(if limit == 0 { bytes } else { bytes.min(limit) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shared_memory_is_memory_and_proc_is_not() {
        let folder = Path::new("/proc");
        assert_eq!(bytes_in_memory(folder, 1).unwrap(), 0);
        let folder = Path::new("/dev/shm");
        assert!(is_in_memory(folder).unwrap());
        assert_eq!(bytes_in_memory(folder, 1).unwrap(), 1);
        assert!(bytes_in_memory(folder, u64::MAX).unwrap() < u64::MAX);
        assert!(is_in_memory(Path::new("/nowhere")).is_err());
    }
}
