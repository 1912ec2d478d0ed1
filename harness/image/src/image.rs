//! A finished image in the store.

use std::path::{Path, PathBuf};

use sanlab_plan::Arch;
use serde::{Deserialize, Serialize};

use crate::error::ImageError;
use crate::lock::LockedPackage;

/// Everything that a machine boots from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// Instruction set of kernel and user land.
    pub arch: Arch,
    /// The store key: hex SHA-256 over everything that went in.
    pub digest: String,
    /// Uncompressed ELF kernel with a PVH entry.
    pub kernel: PathBuf,
    /// Uncompressed cpio archive.
    pub initramfs: PathBuf,
    /// The read-only root, erofs.
    pub root: PathBuf,
    /// As `uname -r` says it in the guest.
    pub kernel_release: String,
    /// Every package that went in, sorted by name.
    pub packages: Vec<LockedPackage>,
    /// How large things were and are.
    pub sizes: Sizes,
}

/// Sizes in bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sizes {
    /// Installed packages with apt's leftovers, and all modules of the kernel package.
    pub untrimmed: u64,
    /// The same after trimming: what the root image holds.
    pub trimmed: u64,
    /// The kernel package's modules.
    pub modules_untrimmed: u64,
    /// The modules that stayed.
    pub modules: u64,
    /// The root image's file.
    pub root: u64,
    /// The kernel's file.
    pub kernel: u64,
    /// The initramfs's file.
    pub initramfs: u64,
}

/// `image.json`: what the files do not say themselves. Written last, so an entry that has it is whole.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Label {
    pub(crate) kernel_release: String,
    pub(crate) packages: Vec<LockedPackage>,
    pub(crate) sizes: Sizes,
}

pub(crate) const KERNEL: &str = "vmlinux";
pub(crate) const INITRAMFS: &str = "initramfs";
pub(crate) const ROOT: &str = "root.erofs";
pub(crate) const LABEL: &str = "image.json";

impl Image {
    /// Reads the entry in `folder`.
    pub(crate) fn open(folder: &Path, arch: Arch, digest: &str) -> Result<Self, ImageError> {
        let label: Label = serde_json::from_slice(&fs_err::read(folder.join(LABEL))?)
            .map_err(std::io::Error::from)?;
        Ok(Self {
            arch,
            digest: digest.to_owned(),
            kernel: folder.join(KERNEL),
            initramfs: folder.join(INITRAMFS),
            root: folder.join(ROOT),
            kernel_release: label.kernel_release,
            packages: label.packages,
            sizes: label.sizes,
        })
    }
}
