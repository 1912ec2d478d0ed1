//! Code under test: the user's files, packages and modules on a small image of their own, which guests lay over their root.
//!
//! An image with artefacts is another entry of the store. Kernel and root are those of the image that it was made from, and
//! its key covers every byte that is laid over.

mod deb;
mod elf;
mod layer;
pub(crate) mod module;

use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use sanlab_plan::{Artefact, ArtefactKind};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::error::ImageError;
use crate::store::image::{INITRAMFS, Image, KERNEL, LAYER, Label, ROOT};
use crate::store::key::Fields;
use crate::store::{Kind, Store};

/// How a layer is made from the same artefacts: a digest of the sources that do it, made by this crate's build script.
const BUILDER: &str = env!("ARTEFACTS_BUILDER");

/// What an image has of the user's own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Laid {
    /// `file`, `deb` or `module`.
    pub kind: String,
    /// The path in the guest; of a package its name and version; of a module its name.
    pub name: String,
    /// SHA-256 of the bytes, in hex.
    pub sha256: String,
}

/// The layer of an image's artefacts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Layer {
    /// What is in it.
    pub(crate) artefacts: Vec<Laid>,
    /// What a guest does with it before anything else.
    pub(crate) setup: String,
}

/// An artefact that was read and fits its image.
#[derive(Debug)]
pub(crate) struct Part {
    laid: Laid,
    kind: PartKind,
    /// In the guest, without the leading `/`.
    place: PathBuf,
    mode: u32,
    bytes: Vec<u8>,
    /// Of a package what it says of itself.
    package: Option<deb::Package>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PartKind {
    File,
    Deb,
    Module,
}

impl Image {
    /// The same image with artefacts. It is another entry of the store, and found again as long as no byte differs. Blocks while
    /// they are read.
    ///
    /// Whatever shows before a guest has booted is an [`ImageError::Artefact`]: a file that is not there, one for another
    /// architecture, a module for another kernel, a package without what it depends on.
    pub fn with_artefacts<'a>(
        &self,
        artefacts: impl IntoIterator<Item = &'a Artefact>,
    ) -> Result<Self, ImageError> {
        let mut image = self.clone();
        let mut parts = Vec::new();
        let (kernels, others): (Vec<_>, Vec<_>) = artefacts
            .into_iter()
            .partition(|artefact| artefact.kind == ArtefactKind::Kernel);
        for kernel in kernels {
            image = image.with_kernel(&kernel.from)?;
        }
        for artefact in others {
            let part = image
                .read(artefact)
                .map_err(|reason| ImageError::Artefact {
                    artefact: artefact.to_string(),
                    reason,
                })?;
            parts.push(part);
        }
        if parts.is_empty() {
            return Ok(image);
        }
        deb::check_dependencies(&parts, &image)?;
        image.with_parts(&parts)
    }

    fn read(&self, artefact: &Artefact) -> Result<Part, String> {
        let from = &artefact.from;
        let (bytes, mode) = read_file(from)?;
        let laid = |name: String, bytes: &[u8]| Laid {
            kind: artefact.kind.as_str().to_owned(),
            name,
            sha256: hex::encode(Sha256::digest(bytes)),
        };
        match &artefact.kind {
            ArtefactKind::File { to } => {
                elf::check_program(&bytes, self.arch)?;
                Ok(Part {
                    laid: laid(to.to_string(), &bytes),
                    kind: PartKind::File,
                    place: layer::place(to.as_str()),
                    mode,
                    bytes,
                    package: None,
                })
            }
            ArtefactKind::Deb => {
                let package = deb::read(from, self.arch)?;
                let name = format!("{} {}", package.name, package.version);
                Ok(Part {
                    laid: laid(name, &bytes),
                    kind: PartKind::Deb,
                    place: deb::place(&package.name),
                    mode: 0o644,
                    bytes,
                    package: Some(package),
                })
            }
            ArtefactKind::Module => {
                let bytes = module::unpacked(bytes)?;
                let name = module::check(&bytes, from, self)?;
                Ok(Part {
                    laid: laid(name.clone(), &bytes),
                    kind: PartKind::Module,
                    place: module::place(&name, &self.kernel_release),
                    mode: 0o644,
                    bytes,
                    package: None,
                })
            }
            ArtefactKind::Kernel => Err("a kernel is not laid over a root".to_owned()),
        }
    }

    fn with_parts(&self, parts: &[Part]) -> Result<Self, ImageError> {
        let missing = || ImageError::Stored {
            digest: self.digest.clone(),
        };
        // Its files stay while they are linked.
        let base = self.hold()?.ok_or_else(missing)?;
        let root = self.kernel.ancestors().nth(3).ok_or_else(missing)?;
        let store = Store::in_folder(root);
        let key = key(&self.digest, parts);
        if let Some(held) = store.hold(Kind::Image, &key)? {
            return Self::of(&held, self.arch);
        }
        let claim = store.claim(Kind::Image, &key, |_| ())?;
        if let Some(held) = store.hold(Kind::Image, &key)? {
            return Self::of(&held, self.arch);
        }
        let entry = claim.workspace()?;
        for name in [ROOT, KERNEL] {
            fs_err::hard_link(base.path().join(name), entry.path().join(name))?;
        }
        let early = module::early(parts, &base.path().join(INITRAMFS))?;
        let initramfs = entry.path().join(INITRAMFS);
        if early.is_empty() {
            fs_err::hard_link(base.path().join(INITRAMFS), initramfs)?;
        } else {
            let mut bytes = fs_err::read(base.path().join(INITRAMFS))?;
            bytes.extend(early);
            fs_err::write(initramfs, bytes)?;
        }
        let tree = claim.workspace()?;
        layer::write(parts, tree.path(), &entry.path().join(LAYER))?;
        drop(tree);
        let label = Label {
            kernel_release: self.kernel_release.clone(),
            vermagic: self.vermagic.clone(),
            packages: self.packages.clone(),
            sizes: self.sizes,
            layer: Some(Layer {
                artefacts: parts.iter().map(|part| part.laid.clone()).collect(),
                setup: layer::setup(parts),
            }),
        };
        Self::of(&entry.publish(&label)?, self.arch)
    }
}

fn key(image: &str, parts: &[Part]) -> String {
    let mut fields = Fields::default();
    fields.add_all("artefacts", [BUILDER, image]);
    for part in parts {
        let Laid { kind, name, sha256 } = &part.laid;
        let mode = format!("{:o}", part.mode);
        fields.add_all("artefact", [kind, name, &mode, sha256]);
    }
    fields.hex()
}

/// A file's bytes and its mode.
fn read_file(path: &Path) -> Result<(Vec<u8>, u32), String> {
    let meta = match fs_err::metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            return Err("there is no such file".to_owned());
        }
        meta => meta.map_err(|error| error.to_string())?,
    };
    if !meta.is_file() {
        let what = if meta.is_dir() { "a folder" } else { "no file" };
        return Err(format!("it is {what}: give the path of a file"));
    }
    let bytes = fs_err::read(path).map_err(|error| error.to_string())?;
    Ok((bytes, meta.permissions().mode() & 0o777))
}
