//! A finished image in the store.

use std::path::{Path, PathBuf};

use sanlab_plan::Arch;
use serde::{Deserialize, Serialize};

use crate::artefacts::{Laid, Layer};
use crate::error::ImageError;
use crate::manifest::lock_diff::LockedPackage;
use crate::store::held::Held;
use crate::store::{Kind, Store};

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
    /// What these provide besides, as their control data have it: `awk`, `libaio1 (= 0.3.113-4)`.
    pub provides: Vec<String>,
    /// How large things were and are.
    pub sizes: Sizes,
    /// What its modules say of the kernel that they are for; `None`: it has none.
    pub vermagic: Option<String>,
    /// Which of a kernel's modules guests need.
    pub wanted: Wanted,
    /// An erofs image with artefacts that is laid over the root.
    pub layer: Option<PathBuf>,
    /// What of the user's own is in that.
    pub artefacts: Vec<Laid>,
    /// The script that a guest runs before it is used, so that it takes these.
    pub setup: String,
    /// The digest of the image that its guests are like until they have run that script; `None`: they boot with the artefacts.
    pub base: Option<String>,
}

/// Which of a kernel's modules go into guests, as the manifest says it: names, and folders that end with `/`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wanted {
    /// Those that layers may use.
    pub modules: Vec<String>,
    /// Those that reach the root image.
    pub boot_modules: Vec<String>,
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
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Label {
    pub(crate) kernel_release: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) vermagic: Option<String>,
    pub(crate) packages: Vec<LockedPackage>,
    #[serde(default)]
    pub(crate) provides: Vec<String>,
    pub(crate) sizes: Sizes,
    #[serde(default)]
    pub(crate) wanted: Wanted,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) layer: Option<Layer>,
}

pub(crate) const KERNEL: &str = "vmlinux";
pub(crate) const INITRAMFS: &str = "initramfs";
pub(crate) const ROOT: &str = "root.erofs";
/// The kernel's modules, for nodes that boot this kernel with another root.
pub(crate) const MODULES: &str = "modules.cpio";
pub(crate) const LAYER: &str = "artefacts.erofs";

impl Image {
    /// What the entry holds.
    pub(crate) fn of(entry: &Held, arch: Arch) -> Result<Self, ImageError> {
        let folder = entry.path();
        let has_layer = folder.join(LAYER).is_file();
        Ok(Self::labelled(
            arch,
            entry.key(),
            folder,
            entry.label()?,
            has_layer,
        ))
    }

    /// The image of that digest in a store, which is not built if it is not there.
    pub fn in_store(store: &Store, digest: &str, arch: Arch) -> Result<Option<Self>, ImageError> {
        let held = store.hold(Kind::Image, digest)?;
        held.map(|held| Self::of(&held, arch)).transpose()
    }

    /// An image outside of any store: `label` is what [`Image::label`] says of it, `folder` is where its files are, or will be, by
    /// the names that they have in a store.
    pub fn described(
        arch: Arch,
        digest: &str,
        folder: &Path,
        label: serde_json::Value,
    ) -> Result<Self, ImageError> {
        let label: Label = serde_json::from_value(label).map_err(|error| ImageError::Label {
            path: folder.to_owned(),
            reason: error.to_string(),
        })?;
        let has_layer = label.layer.is_some();
        Ok(Self::labelled(arch, digest, folder, label, has_layer))
    }

    /// What else there is to say of an image that is in a store, without what is only said where another is made of it.
    pub fn label(&self) -> Result<serde_json::Value, ImageError> {
        let label = Label {
            kernel_release: self.kernel_release.clone(),
            sizes: self.sizes,
            layer: self.layer.is_some().then(|| Layer {
                artefacts: self.artefacts.clone(),
                setup: self.setup.clone(),
                base: self.base.clone(),
            }),
            ..Label::default()
        };
        Ok(serde_json::to_value(label).map_err(std::io::Error::from)?)
    }

    /// The files that guests run from.
    pub fn files(&self) -> impl Iterator<Item = &Path> {
        let files = [&self.kernel, &self.initramfs, &self.root].into_iter();
        files.chain(&self.layer).map(PathBuf::as_path)
    }

    fn labelled(arch: Arch, digest: &str, folder: &Path, label: Label, has_layer: bool) -> Self {
        let Layer {
            artefacts,
            setup,
            base,
        } = label.layer.unwrap_or_default();
        Self {
            arch,
            digest: digest.to_owned(),
            kernel: folder.join(KERNEL),
            initramfs: folder.join(INITRAMFS),
            root: folder.join(ROOT),
            kernel_release: label.kernel_release,
            packages: label.packages,
            provides: label.provides,
            sizes: label.sizes,
            vermagic: label.vermagic,
            wanted: label.wanted,
            layer: has_layer.then(|| folder.join(LAYER)),
            artefacts,
            setup,
            base,
        }
    }

    /// The digest of the image that a guest is like when it has booted; what comes after that takes no boot.
    pub fn boots_as(&self) -> &str {
        self.base.as_ref().unwrap_or(&self.digest)
    }

    /// Keeps the image in its store while machines run from it. `None` if it is in none, or not any more.
    pub fn hold(&self) -> Result<Option<Held>, ImageError> {
        // ROOT/images/KEY/vmlinux
        match self.kernel.ancestors().nth(3) {
            Some(root) => Store::in_folder(root).hold(Kind::Image, &self.digest),
            None => Ok(None),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_held_where_it_is_stored() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::at(folder.path()).unwrap();
        let claim = store.claim(Kind::Image, "manifest-x86", |_| ()).unwrap();
        let label = Label {
            kernel_release: "6.1".to_owned(),
            ..Label::default()
        };
        let entry = claim.workspace().unwrap();
        let entry = entry.publish_as("00ff", &label).unwrap();
        let image = Image::of(&entry, Arch::X86).unwrap();
        drop(entry);
        let held = image.hold().unwrap().unwrap();
        assert_eq!(
            (held.key(), held.path()),
            ("00ff", image.root.parent().unwrap())
        );
        assert_eq!(store.collect(0).unwrap().removed, []);
        drop(held);
        assert_eq!(store.collect(0).unwrap().removed.len(), 1);
        assert!(image.hold().unwrap().is_none());
        let of_no_store = Image {
            kernel: "vmlinux".into(),
            ..image
        };
        assert!(of_no_store.hold().unwrap().is_none());
    }
}
