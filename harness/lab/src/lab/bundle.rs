//! What the program brings along for those who have no checkout.

use sanlab_image::{Held, Store};

use crate::LabError;

const ARCHIVE: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/bundle.tar"));

/// The archive's digest.
const KEY: &str = env!("SANLAB_BUNDLE");

/// A folder with manifests of images, all that they refer to, and the plugin that counts instructions. It stays in the store while
/// the result lives.
pub(crate) fn unpacked() -> Result<Held, LabError> {
    Ok(Store::open_default()?.unpacked(KEY, ARCHIVE)?)
}
