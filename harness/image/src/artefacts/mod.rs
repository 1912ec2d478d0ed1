//! Code under test: the user's files, packages and modules on a small image of their own, which guests lay over their root.
//!
//! An image with artefacts is another entry of the store. Kernel and root are those of the image that it was made from, and
//! its key covers every byte that is laid over.

mod deb;
mod elf;
pub(crate) mod kernel;
mod layer;
pub(crate) mod module;

use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use sanlab_plan::{Artefact, ArtefactKind, GuestPath};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

pub use layer::ARTEFACTS_BYTES;

use crate::artefacts::kernel::Kernel;
use crate::error::ImageError;
use crate::store::image::{INITRAMFS, Image, KERNEL, LAYER, Label, ROOT, Sizes};
use crate::store::key::Fields;
use crate::store::{Kind, Store};

/// How a layer is made from the same artefacts: a digest of the sources that do it, made by this crate's build script.
const BUILDER: &str = env!("ARTEFACTS_BUILDER");

/// What an image has of the user's own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Laid {
    /// `file`, `deb`, `module` or `kernel`.
    pub kind: String,
    /// The path in the guest; of a package its name and version; of a module its name; of a kernel its release.
    pub name: String,
    /// SHA-256 of the bytes, in hex; of a kernel with modules, of these as well.
    pub sha256: String,
}

/// The layer of an image's artefacts.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Layer {
    /// What is in it.
    pub(crate) artefacts: Vec<Laid>,
    /// What a guest does with it before anything else.
    pub(crate) setup: String,
    /// The image that was booted before: nothing in the layer is needed for a boot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) base: Option<String>,
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
    /// The same image with artefacts, and with the kernel and modules of another image if one is given. It is another entry of
    /// the store, and found again as long as no byte differs. Blocks while they are read.
    ///
    /// Whatever shows before a guest has booted is an [`ImageError::Artefact`] or an [`ImageError::Kernel`]: a file that is not
    /// there, one for another architecture, a module for another kernel, a package without what it depends on.
    pub fn with_artefacts<'a>(
        &self,
        artefacts: impl IntoIterator<Item = &'a Artefact>,
        kernel_of: Option<&Self>,
    ) -> Result<Self, ImageError> {
        let mut image = self.clone();
        let mut kernel = match kernel_of {
            Some(other) if other.digest != self.digest => Some(other.kernel()?),
            _ => None,
        };
        let (kernels, others): (Vec<_>, Vec<_>) = artefacts
            .into_iter()
            .partition(|artefact| matches!(artefact.kind, ArtefactKind::Kernel { .. }));
        // One that is named is that of the other image.
        for artefact in kernels.into_iter().filter(|one| one.image().is_none()) {
            let read = Kernel::read(&artefact.from, self);
            kernel = Some(read.map_err(|reason| ImageError::Kernel {
                path: artefact.from.clone(),
                reason,
            })?);
        }
        if let Some(kernel) = &kernel {
            image.boots(kernel);
        }
        let mut parts = Vec::new();
        for artefact in others {
            let part = image
                .read(artefact)
                .map_err(|reason| ImageError::Artefact {
                    artefact: artefact.to_string(),
                    reason,
                })?;
            parts.push(part);
        }
        if kernel.is_none() && parts.is_empty() {
            return Ok(image);
        }
        deb::check_dependencies(&parts, &image)?;
        check_places(&parts)?;
        let same_release = image.kernel_release == self.kernel_release;
        image.with_parts(kernel.as_ref(), same_release, &parts)
    }

    /// The image's own kernel, with its modules.
    fn kernel(&self) -> Result<Kernel, ImageError> {
        let missing = || ImageError::Stored {
            digest: self.digest.clone(),
        };
        let held = self.hold()?.ok_or_else(missing)?;
        Kernel::of_image(held.path(), self).map_err(|reason| ImageError::Kernel {
            path: self.kernel.clone(),
            reason,
        })
    }

    /// Modules are to fit this kernel from now on.
    fn boots(&mut self, kernel: &Kernel) {
        self.kernel_release.clone_from(&kernel.release);
        if let Some(modules) = &kernel.modules {
            self.vermagic = modules.vermagic();
        }
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
                check_executable(to, from, mode)?;
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
            ArtefactKind::Kernel { .. } => Err("a kernel is not laid over a root".to_owned()),
        }
    }

    fn with_parts(
        &self,
        kernel: Option<&Kernel>,
        same_release: bool,
        parts: &[Part],
    ) -> Result<Self, ImageError> {
        let missing = || ImageError::Stored {
            digest: self.digest.clone(),
        };
        // Its files stay while they are linked.
        let base = self.hold()?.ok_or_else(missing)?;
        let root = self.kernel.ancestors().nth(3).ok_or_else(missing)?;
        let store = Store::in_folder(root);
        let kernel_laid = kernel.map(|kernel| Laid {
            kind: "kernel".to_owned(),
            name: kernel.release.clone(),
            sha256: kernel.sha256(),
        });
        let key = key(&self.digest, kernel_laid.as_ref(), parts);
        if let Some(held) = store.hold(Kind::Image, &key)? {
            return Self::of(&held, self.arch);
        }
        let claim = store.claim(Kind::Image, &key, |_| ())?;
        if let Some(held) = store.hold(Kind::Image, &key)? {
            return Self::of(&held, self.arch);
        }
        let entry = claim.workspace()?;
        let link = |name: &str| fs_err::hard_link(base.path().join(name), entry.path().join(name));
        link(ROOT)?;
        match kernel {
            Some(kernel) => fs_err::write(entry.path().join(KERNEL), &kernel.bytes)?,
            None => link(KERNEL)?,
        }
        let modules = kernel.and_then(|kernel| kernel.modules.as_ref());
        let early = module::early(modules, parts, &base.path().join(INITRAMFS))?;
        let is_used = |part: &Part| {
            part.kind == PartKind::Module && module::is_used_at_boot(&part.bytes, &part.laid.name)
        };
        let boots_alike = kernel.is_none() && early.is_empty() && !parts.iter().any(is_used);
        if early.is_empty() {
            link(INITRAMFS)?;
        } else {
            let mut bytes = fs_err::read(base.path().join(INITRAMFS))?;
            bytes.extend(early);
            fs_err::write(entry.path().join(INITRAMFS), bytes)?;
        }
        let files = layer::files(modules, &self.kernel_release, same_release, parts);
        if !files.is_empty() {
            let tree = claim.workspace()?;
            layer::write(&files, tree.path(), &entry.path().join(LAYER))?;
        }
        let label = Label {
            kernel_release: self.kernel_release.clone(),
            vermagic: self.vermagic.clone(),
            packages: self.packages.clone(),
            provides: self.provides.clone(),
            sizes: Sizes {
                kernel: kernel.map_or(self.sizes.kernel, |kernel| kernel.bytes.len() as u64),
                ..self.sizes
            },
            wanted: self.wanted.clone(),
            layer: Some(Layer {
                artefacts: kernel_laid
                    .into_iter()
                    .chain(parts.iter().map(|part| part.laid.clone()))
                    .collect(),
                setup: layer::setup(parts),
                base: boots_alike.then(|| self.digest.clone()),
            }),
        };
        Self::of(&entry.publish(&label)?, self.arch)
    }
}

/// Refuses artefacts of which one would hide the other.
fn check_places(parts: &[Part]) -> Result<(), ImageError> {
    for (number, part) in parts.iter().enumerate() {
        let hides = |other: &&Part| {
            part.place.starts_with(&other.place) || other.place.starts_with(&part.place)
        };
        if let Some(other) = parts[..number].iter().find(hides) {
            return Err(ImageError::Artefact {
                artefact: format!("{} {}", part.laid.kind, part.laid.name),
                reason: format!(
                    "it and {} {} cannot both be at /{}: give one of them",
                    other.laid.kind,
                    other.laid.name,
                    other.place.display()
                ),
            });
        }
        // A package's files are unpacked over the layer.
        let brings = |package: &deb::Package| {
            part.kind == PartKind::File && package.files.contains(&part.place)
        };
        let packages = parts.iter().filter_map(|other| other.package.as_ref());
        if let Some(package) = packages.into_iter().find(|package| brings(package)) {
            return Err(ImageError::Artefact {
                artefact: format!("{} {}", part.laid.kind, part.laid.name),
                reason: format!(
                    "the package {} brings that file as well: put it into the package, or leave the package out",
                    package.name
                ),
            });
        }
    }
    Ok(())
}

fn key(image: &str, kernel: Option<&Laid>, parts: &[Part]) -> String {
    let mut fields = Fields::default();
    fields.add_all("artefacts", [BUILDER, image]);
    fields.add_all("kernel", kernel.map(|laid| &laid.sha256));
    for part in parts {
        let Laid { kind, name, sha256 } = &part.laid;
        let mode = format!("{:o}", part.mode);
        fields.add_all("artefact", [kind, name, &mode, sha256]);
    }
    fields.hex()
}

/// Refuses what nobody could start in a folder of programs: a CI job's artefacts, for one, come back without their permissions.
fn check_executable(to: &GuestPath, from: &Path, mode: u32) -> Result<(), String> {
    let folder = Path::new(to.as_str()).parent().and_then(Path::file_name);
    if mode & 0o111 == 0 && folder.is_some_and(|name| name == "bin" || name == "sbin") {
        let from = from.display();
        return Err(format!(
            "it is not executable, and would not be in the guest: chmod +x {from}"
        ));
    }
    Ok(())
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

#[cfg(test)]
mod tests;
