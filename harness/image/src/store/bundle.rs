//! What an installed program brings along: manifests, files of images, sources of the guests' programs.

use serde_json::json;

use crate::error::ImageError;
use crate::store::held::Held;
use crate::store::{Kind, Store};

impl Store {
    /// A tar archive, unpacked. `key` is a digest of it, in hex.
    pub fn unpacked(&self, key: &str, archive: &[u8]) -> Result<Held, ImageError> {
        let kind = Kind::Bundle;
        if let Some(held) = self.hold(kind, key)? {
            return Ok(held);
        }
        let claim = self.claim(kind, key, |_| ())?;
        if let Some(held) = self.hold(kind, key)? {
            return Ok(held);
        }
        let entry = claim.workspace()?;
        tar::Archive::new(archive).unpack(entry.path())?;
        entry.publish(&json!({ "about": "files of an installed sanlab" }))
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn is_unpacked_once() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::at(folder.path()).unwrap();
        let mut archive = tar::Builder::new(Vec::new());
        let source = folder.path().join("source");
        fs_err::write(&source, "text").unwrap();
        archive
            .append_path_with_name(&source, "overlay/etc/file")
            .unwrap();
        let archive = archive.into_inner().unwrap();
        let held = store.unpacked("00aa", &archive).unwrap();
        let file = held.path().join("overlay/etc/file");
        assert_eq!(fs_err::read_to_string(file).unwrap(), "text");
        // A user can enter its folders.
        let mode = fs_err::metadata(held.path().join("overlay"))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o500, 0o500);
        // It is there.
        let again = store.unpacked("00aa", b"no archive").unwrap();
        assert_eq!(again.path(), held.path());
        assert!(store.unpacked("00bb", b"no archive").is_err());
        assert_eq!(store.entries().unwrap().len(), 1);
    }
}
