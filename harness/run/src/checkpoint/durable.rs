//! Files that are still there after the host has lost its power. What a folder holds comes to the disk before the file that says so.

use std::io::{self, Write as _};
use std::path::Path;

use fs_err as fs;

/// Brings all of a folder's files to the disk, and their names, and then writes one more, which is there whole or not at all.
pub(crate) fn seal(folder: &Path, name: &str, text: &[u8]) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_file() {
            fs::File::open(path)?.sync_all()?;
        }
    }
    sync_folder(folder)?;
    if let Some(parent) = folder.parent() {
        sync_folder(parent)?;
    }
    let half = folder.join(format!("{name}.half"));
    let mut file = fs::File::create(&half)?;
    file.write_all(text)?;
    // Before the rename: else the name may survive and the text not.
    file.sync_all()?;
    fs::rename(&half, folder.join(name))?;
    sync_folder(folder)
}

fn sync_folder(folder: &Path) -> io::Result<()> {
    let is_here = folder.as_os_str().is_empty();
    let folder = if is_here { Path::new(".") } else { folder };
    fs::File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_label_is_one_more_file() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("vix0.state"), "state").unwrap();
        seal(folder.path(), "saved.json", b"{}").unwrap();
        assert_eq!(fs::read(folder.path().join("saved.json")).unwrap(), b"{}");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
        assert!(seal(&folder.path().join("none"), "saved.json", b"{}").is_err());
    }
}
