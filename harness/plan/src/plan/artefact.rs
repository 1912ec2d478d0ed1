//! Code under test: files, packages, modules and kernels of the user's own, in place of what an image has.

use std::fmt;
use std::path::{Path, PathBuf};

use crate::document::table::{choice, table};
use crate::document::value::Nodes;
use crate::plan::Arch;
use crate::values::names::{GuestPath, ImageName, NodeName};

table! {
    /// Something of the user's own that nodes get in place of what their image has, or beside it.
    ArtefactEntry, "an `[[artefact]]`", r#"{ module = "./ocfs2.ko" }"# {
        /// The nodes that get it. Default: all, or all of `arch`.
        on: Nodes, optional;
        /// Only the nodes of this architecture get it.
        arch: Arch, optional;
        /// What it is.
        kind: Written, one_of;
    }
}

choice! {
    /// What an artefact is.
    Written, "kind of artefact", "kinds of artefacts" {
        file => File(FileEntry),
        /// A Debian package, installed before the first layer: its path from the folder of this file.
        deb => Deb(String),
        /// A kernel module, used in place of the kernel's module of that name: its path from the folder of this file.
        module => Module(String),
        /// A kernel: the path of a vmlinux, a bzImage, a kernel's package or a built kernel tree, from the folder of this file; or
        /// the name of an image, such as `debian-trixie`, for the kernel and modules of that image.
        kernel => Kernel(String),
    }
}

table! {
    /// A file of the host's, with its mode.
    FileEntry, "`file`", r#"{ to = "/usr/bin/nbdkit", from = "build/nbdkit" }"# {
        /// Where it goes in the guest.
        to: GuestPath, required r#""/usr/bin/nbdkit""#;
        /// Where it is: its path from the folder of this file.
        from: String, required r#""build/nbdkit""#;
    }
}

/// Something of the user's own, and who gets it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Artefact {
    /// What it is.
    pub kind: ArtefactKind,
    /// Where it is on the host: a path that can be used from the current folder. Of a kernel also an image's name.
    pub from: PathBuf,
    /// The nodes that get it, in the order of their numbers; never empty.
    pub on: Vec<NodeName>,
}

/// What an artefact is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ArtefactKind {
    /// A file.
    File {
        /// Its path in the guest.
        to: GuestPath,
    },
    /// A Debian package.
    Deb,
    /// A kernel module.
    Module,
    /// A kernel.
    Kernel {
        /// The image whose kernel it is; `None`: it is at the path.
        image: Option<ImageName>,
    },
}

impl ArtefactKind {
    /// The word for it, in scenarios and settings.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::File { .. } => "file",
            Self::Deb => "deb",
            Self::Module => "module",
            Self::Kernel { .. } => "kernel",
        }
    }
}

impl Artefact {
    /// The image whose kernel it is.
    pub const fn image(&self) -> Option<&ImageName> {
        match &self.kind {
            ArtefactKind::Kernel { image } => image.as_ref(),
            _ => None,
        }
    }

    /// The name of a module by its file's name: `ocfs2` of `ocfs2.ko`. The kernel does not tell `-` from `_`.
    pub fn module_name(path: &Path) -> String {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let stem = name.split(".ko").next().unwrap_or_default();
        stem.replace('-', "_")
    }
}

impl fmt::Display for Artefact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let from = self.from.display();
        match &self.kind {
            ArtefactKind::File { to } => write!(f, "file {to} from {from}"),
            other => write!(f, "{} {from}", other.as_str()),
        }
    }
}
