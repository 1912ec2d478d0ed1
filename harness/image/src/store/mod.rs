//! The store: images, programs, templates, checkpoints and debug symbols under their keys, in one folder of the user.
//!
//! ```text
//! bundles/KEY/  programs/KEY/  images/KEY/  templates/KEY/  checkpoints/KEY/  symbols/KEY/  proofs/KEY/  archives/KEY/
//!                                                  entries, each with a label that was written last
//! building/                                        what is being built or removed
//! locks/                                           who builds and removes
//! ```

pub(crate) mod bundle;
pub(crate) mod claim;
pub(crate) mod collect;
pub(crate) mod ensure;
pub(crate) mod held;
pub(crate) mod image;
pub(crate) mod key;

use std::fmt;
use std::path::{Path, PathBuf};

use crate::error::ImageError;

/// The folder that holds all that is worth keeping between runs: `$SANLAB_CACHE`, or `~/.cache/sanlab`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Store {
    root: PathBuf,
}

/// What an entry of the store is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// Manifests and files of images, out of an installed program.
    Bundle,
    /// What was compiled for guests.
    Program,
    /// What a machine boots from.
    Image,
    /// A machine that has booted and has no identity yet.
    Template,
    /// A fleet that stands still.
    Checkpoint,
    /// Debug symbols of a kernel and its modules.
    Symbols,
    /// That what a plan writes was read back once, byte for byte: nothing but a label.
    Proof,
    /// A fleet that somebody has sent, unpacked, with the images that it runs on.
    Archive,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Bundle,
        Self::Program,
        Self::Image,
        Self::Template,
        Self::Checkpoint,
        Self::Symbols,
        Self::Proof,
        Self::Archive,
    ];

    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Bundle => "bundle",
            Self::Program => "program",
            Self::Image => "image",
            Self::Template => "template",
            Self::Checkpoint => "checkpoint",
            Self::Symbols => "symbol",
            Self::Proof => "proof",
            Self::Archive => "archive",
        }
    }

    /// The file that makes a folder an entry.
    pub(crate) const fn label(self) -> &'static str {
        match self {
            Self::Image => "image.json",
            _ => "label.json",
        }
    }

    /// Whether it is on the disk before it appears. What machines boot from is, for it is to last, with its symbols, and what was proved. The
    /// others are made while somebody waits, and can be made again.
    pub(crate) const fn is_synced(self) -> bool {
        matches!(
            self,
            Self::Program | Self::Image | Self::Symbols | Self::Proof
        )
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl Store {
    /// The user's store, made if need be.
    pub fn open_default() -> Result<Self, ImageError> {
        let set = |name| {
            std::env::var_os(name)
                .filter(|value| !value.is_empty())
                .map(PathBuf::from)
        };
        let root = set("SANLAB_CACHE").or_else(|| Some(set("HOME")?.join(".cache/sanlab")));
        Self::at(&root.ok_or(ImageError::NoStore)?)
    }

    /// The store in that folder, made if need be.
    pub fn at(root: &Path) -> Result<Self, ImageError> {
        fs_err::create_dir_all(root)?;
        let store = Self::in_folder(&fs_err::canonicalize(root)?);
        for kind in Kind::ALL {
            fs_err::create_dir_all(store.entries_of(kind))?;
        }
        fs_err::create_dir_all(store.building())?;
        fs_err::create_dir_all(store.locks())?;
        Ok(store)
    }

    /// The store that is in that folder already.
    pub(crate) fn in_folder(root: &Path) -> Self {
        Self {
            root: root.to_owned(),
        }
    }

    /// The folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    pub(crate) fn entry(&self, kind: Kind, key: &str) -> PathBuf {
        self.entries_of(kind).join(key)
    }

    pub(crate) fn entries_of(&self, kind: Kind) -> PathBuf {
        self.root.join(format!("{kind}s"))
    }

    pub(crate) fn building(&self) -> PathBuf {
        self.root.join("building")
    }

    pub(crate) fn locks(&self) -> PathBuf {
        self.root.join("locks")
    }
}
