//! What an archive says of itself before anything else.

use std::collections::BTreeMap;
use std::path::{Component, Path};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::error::PackError;
use super::sources::Sources;

/// The name of the manifest in the archive, of which it is the first file.
pub(crate) const MANIFEST: &str = "sanlab-fleet.json";
/// What an archive of this version says.
pub(crate) const FORMAT: u64 = 1;
/// The first word of a manifest.
const MAGIC: &str = "a fleet that sanlab has saved";
/// A manifest is shorter: it lists some dozen files.
pub(crate) const LONGEST: u64 = 64 << 20;

/// The manifest.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Manifest {
    magic: String,
    format: u64,
    /// Who made it.
    pub(crate) sanlab: String,
    /// What its plan follows from.
    pub(crate) sources: Sources,
    /// The label of the saved fleet.
    pub(crate) saved: Value,
    /// What there is to say of each image, by digest.
    pub(crate) images: BTreeMap<String, Value>,
    /// All other files, in the archive's order.
    pub(crate) files: Vec<Packed>,
}

/// A file of the archive.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Packed {
    /// Its path in there.
    pub(crate) name: String,
    /// Its length.
    pub(crate) bytes: u64,
    /// What of that is not zeros, by blocks: it takes as much on a disk.
    pub(crate) data_bytes: u64,
    /// Its SHA-256, in hexadecimal digits.
    pub(crate) sha256: String,
}

impl Manifest {
    pub(crate) fn new(
        sources: Sources,
        saved: Value,
        images: BTreeMap<String, Value>,
        files: Vec<Packed>,
    ) -> Self {
        Self {
            magic: MAGIC.to_owned(),
            format: FORMAT,
            sanlab: env!("CARGO_PKG_VERSION").to_owned(),
            sources,
            saved,
            images,
            files,
        }
    }

    /// The manifest of the archive at `path`, if this version reads it, and nothing in it leads out of a folder.
    pub(crate) fn parse(path: &Path, text: &[u8]) -> Result<Self, PackError> {
        let path = || path.to_owned();
        let damaged = |why: String| PackError::Damaged { path: path(), why };
        let value: Value = serde_json::from_slice(text)
            .map_err(|error| damaged(format!("its manifest cannot be read: {error}")))?;
        if value["magic"] != MAGIC {
            let why = "its manifest is not one of a fleet".to_owned();
            return Err(PackError::NoArchive { path: path(), why });
        }
        let format = value["format"].as_u64().unwrap_or_default();
        if format != FORMAT {
            let by = value["sanlab"].as_str().unwrap_or("of unknown version");
            return Err(PackError::OtherFormat {
                path: path(),
                format,
                by: by.to_owned(),
            });
        }
        let manifest: Self = serde_json::from_value(value)
            .map_err(|error| damaged(format!("its manifest cannot be read: {error}")))?;
        match manifest.files.iter().find(|file| !is_inside(&file.name)) {
            Some(file) => Err(damaged(format!("`{}` leads out of it", file.name))),
            None => Ok(manifest),
        }
    }

    /// What its files take on a disk.
    pub(crate) fn data_bytes(&self) -> u64 {
        let files = self.files.iter();
        files.fold(0, |sum, file| sum.saturating_add(file.data_bytes))
    }
}

/// Whether a name is a path that stays below where it begins.
fn is_inside(name: &str) -> bool {
    let path = Path::new(name);
    let mut parts = path.components();
    !name.is_empty() && name != MANIFEST && parts.all(|part| matches!(part, Component::Normal(_)))
}
