//! Files that are there whole or not at all, also after a crash of the host.

use std::io::{self, Write as _};
use std::path::Path;

use fs_err as fs;

/// Writes the file in place of what may be there. It is on the disk when this returns.
pub fn write(path: &Path, text: &str) -> io::Result<()> {
    let mut half = path.as_os_str().to_owned();
    half.push(".half");
    let mut file = fs::File::create(&half)?;
    file.write_all(text.as_bytes())?;
    // Before the rename: else the name may survive a crash and the text not.
    file.sync_all()?;
    fs::rename(&half, path)?;
    match path.parent() {
        Some(folder) if folder != Path::new("") => fs::File::open(folder)?.sync_all(),
        _ => fs::File::open(".")?.sync_all(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_there_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("record.json");
        for text in ["one", "another"] {
            write(&path, text).unwrap();
            assert_eq!(fs::read_to_string(&path).unwrap(), text);
        }
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        assert!(write(&folder.path().join("none/record.json"), "").is_err());
    }
}
