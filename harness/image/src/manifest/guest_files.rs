//! The files of ours that go into a guest: a tree below `images/`, read in a fixed order.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use crate::error::ImageError;

/// One file, folder or link of a tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct GuestFile {
    /// Relative to the tree.
    pub(crate) path: PathBuf,
    pub(crate) kind: Kind,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Kind {
    Folder,
    Link { target: PathBuf },
    File { bytes: Vec<u8>, executable: bool },
}

/// Everything below `root`, sorted by path, so that folders come before what is in them.
pub(crate) fn read_tree(root: &Path) -> Result<Vec<GuestFile>, ImageError> {
    let mut files = Vec::new();
    read_folder(root, Path::new(""), &mut files)?;
    files.sort_unstable_by(|a, b| a.path.cmp(&b.path));
    Ok(files)
}

fn read_folder(root: &Path, below: &Path, files: &mut Vec<GuestFile>) -> Result<(), ImageError> {
    for entry in fs_err::read_dir(root.join(below))? {
        let entry = entry?;
        let path = below.join(entry.file_name());
        let file_type = entry.file_type()?;
        let kind = if file_type.is_dir() {
            read_folder(root, &path, files)?;
            Kind::Folder
        } else if file_type.is_symlink() {
            Kind::Link {
                target: fs_err::read_link(entry.path())?,
            }
        } else {
            let executable = entry.metadata()?.permissions().mode() & 0o100 != 0;
            Kind::File {
                bytes: fs_err::read(entry.path())?,
                executable,
            }
        };
        files.push(GuestFile { path, kind });
    }
    Ok(())
}
