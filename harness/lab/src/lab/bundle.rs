//! What the program brings along for those who have no checkout.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use sanlab_image::{Held, Store};

use crate::LabError;

const ARCHIVE: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/bundle.tar"));

/// The archive's digest.
const KEY: &str = env!("SANLAB_BUNDLE");

/// A folder in the store with manifests of images, all that they refer to, and the plugin that counts instructions. It is
/// unpacked when it is first asked for, and stays as long as the process.
pub(crate) fn folder() -> Result<&'static Path, LabError> {
    static HELD: OnceLock<Held> = OnceLock::new();
    if let Some(held) = HELD.get() {
        return Ok(held.path());
    }
    let held = Store::open_default()?.unpacked(KEY, ARCHIVE)?;
    Ok(HELD.get_or_init(|| held).path())
}

/// Has guests' instructions counted by the plugin in it, where cargo has made none.
pub(crate) fn offer_counter() {
    sanlab_vm::offer_counter_plugin(|| {
        let folder = folder().map_err(|error| error.to_string())?;
        Ok(PathBuf::from(folder))
    });
}

#[cfg(test)]
mod tests {
    use sanlab_image::Manifest;

    use super::*;
    use crate::lab::manifests_in;

    #[test]
    fn an_image_s_files_are_those_of_the_checkout() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::at(folder.path()).unwrap();
        let held = store.unpacked(KEY, ARCHIVE).unwrap();
        let images = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../images");
        let names = manifests_in(held.path());
        assert_eq!(names, manifests_in(&images));
        for name in names {
            Manifest::load(&held.path().join(format!("{name}.toml"))).unwrap();
        }
        let link = fs_err::read_link(held.path().join("overlay/etc/mtab"));
        assert_eq!(link.unwrap(), Path::new("/proc/self/mounts"));
        assert!(held.path().join("libsanlab_counter.so").is_file());
    }
}
