//! An image with a user's own kernel in the place of its package's.

use std::path::Path;

use sanlab_plan::Arch;
use sha2::{Digest as _, Sha256};

use crate::build::vmlinux;
use crate::error::ImageError;
use crate::store::image::{INITRAMFS, Image, KERNEL, Label, ROOT, Sizes};
use crate::store::{Kind, Store};

/// Where an ELF file says what machine it is for, and what it says; elf(5).
const MACHINE: std::ops::Range<usize> = 18..20;
const EM_386: u16 = 3;
const EM_X86_64: u16 = 62;

impl Image {
    /// The same image with another kernel: a `vmlinux`, or a `bzImage` packed by xz or gzip. It is another entry of the
    /// store, which has the root image and the initramfs of this one; a kernel with the same bytes is found again. Blocks for
    /// as long as it takes to read and unpack the kernel.
    ///
    /// The kernel has no modules of its own: it loads those of this image, in the initramfs to begin with. So it must call
    /// itself as this image's does (`uname -r`, [`Image::kernel_release`]), have virtio, erofs and overlayfs in it or as
    /// these modules, and be configured so that the modules fit; whether they do, only a boot tells. A kernel with modules
    /// of its own is a manifest's affair: `kernel = { vmlinux = "...", modules = "..." }`.
    ///
    /// [`ImageError::Kernel`] is a file that is no kernel, or one that does not fit; [`ImageError::Stored`] an image that
    /// is in no store, or not any more.
    pub fn with_kernel(&self, kernel: &Path) -> Result<Self, ImageError> {
        let wrong = |reason| ImageError::Kernel {
            path: kernel.to_owned(),
            reason,
        };
        let bytes = vmlinux::extract(fs_err::read(kernel)?, kernel)?;
        fits(&bytes, self.arch).map_err(wrong)?;
        let release = vmlinux::release(&bytes, kernel)?;
        if release != self.kernel_release {
            return Err(wrong(format!(
                "it calls itself {release}, and the image's modules are for {}\n  help: build it under that name \
                 (CONFIG_LOCALVERSION, without CONFIG_LOCALVERSION_AUTO), or write a manifest with \
                 `kernel = {{ vmlinux = \"...\", modules = \"...\" }}`",
                self.kernel_release
            )));
        }
        let missing = || ImageError::Stored {
            digest: self.digest.clone(),
        };
        // Its files stay while they are linked.
        let base = self.hold()?.ok_or_else(missing)?;
        let root = self.kernel.ancestors().nth(3).ok_or_else(missing)?;
        let store = Store::in_folder(root);
        let key = key(&self.digest, &bytes);
        if let Some(held) = store.hold(Kind::Image, &key)? {
            return Self::of(&held, self.arch);
        }
        let claim = store.claim(Kind::Image, &key, |_| ())?;
        if let Some(held) = store.hold(Kind::Image, &key)? {
            return Self::of(&held, self.arch);
        }
        let entry = claim.workspace()?;
        for name in [ROOT, INITRAMFS] {
            fs_err::hard_link(base.path().join(name), entry.path().join(name))?;
        }
        fs_err::write(entry.path().join(KERNEL), &bytes)?;
        let label = Label {
            kernel_release: release,
            vermagic: self.vermagic.clone(),
            packages: self.packages.clone(),
            sizes: Sizes {
                kernel: bytes.len() as u64,
                ..self.sizes
            },
            layer: None,
        };
        Self::of(&entry.publish(&label)?, self.arch)
    }
}

/// Hex SHA-256 over an image and a kernel.
fn key(image: &str, kernel: &[u8]) -> String {
    let mut digest = Sha256::new();
    digest.update("own kernel 1\n");
    digest.update(image);
    digest.update("\n");
    digest.update(Sha256::digest(kernel));
    hex::encode(digest.finalize())
}

fn fits(kernel: &[u8], arch: Arch) -> Result<(), String> {
    let machine = kernel
        .get(MACHINE)
        .map(|bytes| u16::from_le_bytes([bytes[0], bytes[1]]));
    let is_for = match machine {
        Some(EM_386) => Arch::X86,
        Some(EM_X86_64) => Arch::X86_64,
        _ => return Err("it is for a processor that no guest has".to_owned()),
    };
    if is_for == arch {
        Ok(())
    } else {
        Err(format!(
            "it is for {is_for} guests, and the image for {arch}"
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What passes for a kernel here.
    fn kernel(machine: u16, release: &str) -> Vec<u8> {
        let mut bytes = b"\x7fELF".to_vec();
        bytes.resize(MACHINE.start, 0);
        bytes.extend(machine.to_le_bytes());
        bytes.extend(format!("Linux version {release} (gcc)").into_bytes());
        bytes
    }

    fn image(store: &Store) -> Image {
        let claim = store.claim(Kind::Image, "00ff", |_| ()).unwrap();
        let entry = claim.workspace().unwrap();
        for (name, text) in [(ROOT, "root"), (INITRAMFS, "initramfs"), (KERNEL, "old")] {
            fs_err::write(entry.path().join(name), text).unwrap();
        }
        let label = Label {
            kernel_release: "6.1.0-50-amd64".to_owned(),
            sizes: Sizes {
                root: 4,
                kernel: 3,
                ..Sizes::default()
            },
            ..Label::default()
        };
        Image::of(&entry.publish(&label).unwrap(), Arch::X86_64).unwrap()
    }

    #[test]
    fn only_the_kernel_is_another() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::at(&folder.path().join("store")).unwrap();
        let image = image(&store);
        let path = folder.path().join("vmlinux");
        let bytes = kernel(EM_X86_64, "6.1.0-50-amd64");
        fs_err::write(&path, &bytes).unwrap();
        let own = image.with_kernel(&path).unwrap();
        assert_eq!(fs_err::read(&own.kernel).unwrap(), bytes);
        let text = |path: &Path| fs_err::read_to_string(path).unwrap();
        assert_eq!(
            (text(&own.root), text(&own.initramfs)),
            ("root".into(), "initramfs".into())
        );
        assert_eq!((own.sizes.root, own.sizes.kernel), (4, bytes.len() as u64));
        assert_eq!(own.kernel_release, image.kernel_release);
        assert_ne!(own.digest, image.digest);
        assert_eq!(text(&image.kernel), "old");
        // It is in the store, and stays there while machines run from it, though the image that it was made from goes.
        assert_eq!(image.with_kernel(&path).unwrap(), own);
        let held = own.hold().unwrap().unwrap();
        assert_eq!(held.key(), own.digest);
        assert!(store.discard(Kind::Image, &image.digest).unwrap());
        assert_eq!(text(&own.root), "root");
        // Other bytes are another kernel, and there is nothing any more to put it into.
        let mut other = bytes;
        other.push(b'!');
        assert_ne!(key(&image.digest, &other), own.digest);
        fs_err::write(&path, other).unwrap();
        let error = image.with_kernel(&path).unwrap_err();
        assert!(matches!(error, ImageError::Stored { .. }), "{error}");
    }

    #[test]
    fn says_why_a_kernel_does_not_fit() {
        let folder = tempfile::tempdir().unwrap();
        let image = image(&Store::at(&folder.path().join("store")).unwrap());
        let path = folder.path().join("vmlinux");
        let wrong = [
            kernel(EM_386, "6.1.0-50-amd64"),
            kernel(40, "6.1.0-50-amd64"),
            kernel(EM_X86_64, "6.1.0-50-amd64+"),
            b"\x7fELF".to_vec(),
            b"#!/bin/sh".to_vec(),
        ];
        let said = wrong.map(|bytes| {
            fs_err::write(&path, bytes).unwrap();
            let error = image.with_kernel(&path).unwrap_err().to_string();
            error.replace(&folder.path().display().to_string(), "")
        });
        insta::assert_snapshot!(said.join("\n"));
        let error = image.with_kernel(&folder.path().join("nowhere"));
        let error = error.unwrap_err().to_string();
        assert!(error.contains("nowhere"), "{error}");
    }
}
