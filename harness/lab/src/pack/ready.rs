//! A saved fleet with all that is needed to bring it up.

use std::collections::BTreeMap;
use std::path::Path;

use sanlab_fleet::{FleetError, Held, Store};
use sanlab_image::Image;
use sanlab_plan::{Arch, NodeName, Plan};
use sanlab_run::{SAVED, SAVED_LABEL, Saved, SavedImage};
use sanlab_vm::AcceleratorWish;

use super::archive::{self, IMAGES};
use super::error::PackError;
use super::manifest::Manifest;
use super::sources::Sources;
use super::unpack;
use crate::LabError;

/// How much of an image's digest is shown.
const SHOWN: usize = 12;

/// A saved fleet.
pub(crate) struct Ready {
    pub(crate) plan: Plan,
    pub(crate) sources: Sources,
    pub(crate) saved: Saved,
    pub(crate) images: BTreeMap<NodeName, Image>,
    /// Stays in the store while this lives.
    pub(crate) held: Option<Held>,
}

impl Ready {
    /// The one of a run's folder; the images are those of the store.
    pub(crate) fn of_folder(folder: &Path, store: &Store) -> Result<Self, LabError> {
        let saved = Saved::open(folder).map_err(|why| PackError::NotWhole {
            path: folder.to_owned(),
            why,
        })?;
        Self::new(Sources::read(folder)?, saved, |node, image, arch| {
            Image::in_store(store, &image.digest, arch)?.ok_or_else(|| {
                let shown = image.digest.get(..SHOWN).unwrap_or(&image.digest);
                let (node, image) = (node.to_string(), shown.to_owned());
                PackError::ImageGone { node, image }.into()
            })
        })
    }

    /// The one that an archive describes, whose files are in `folder`, or will be.
    pub(crate) fn described(
        path: &Path,
        manifest: &Manifest,
        folder: &Path,
    ) -> Result<Self, LabError> {
        let damaged = |why: String| PackError::Damaged {
            path: path.to_owned(),
            why,
        };
        let label = serde_json::to_vec(&manifest.saved).map_err(LabError::Record)?;
        let saved = Saved::parse(&folder.join(SAVED), &label).map_err(damaged)?;
        // Guests get nothing that has not been verified, and no path leads out of the archive.
        archive::is_as_saved(&manifest.files, &saved.files()).map_err(damaged)?;
        Self::new(manifest.sources.clone(), saved, |_, image, arch| {
            let digest = &image.digest;
            if !is_digest(digest) {
                let why = format!("`{digest}` is not the digest of an image");
                return Err(damaged(why).into());
            }
            let label = manifest.images.get(digest);
            let label =
                label.ok_or_else(|| damaged(format!("it does not describe image {digest}")))?;
            let folder = folder.join(IMAGES).join(digest);
            let image = Image::described(arch, digest, &folder, label.clone())?;
            for file in image.files() {
                let name = archive::name_of(digest, file);
                if manifest.files.iter().all(|listed| listed.name != name) {
                    return Err(damaged(format!("it lacks {name}")).into());
                }
            }
            Ok(image)
        })
    }

    /// The one of an archive, unpacked now unless the store has it. `check` hears of it before.
    pub(crate) async fn of_archive(
        path: &Path,
        check: impl AsyncFnOnce(&Self) -> Result<(), LabError>,
        unpack: impl AsyncFnOnce(unpack::Opened) -> Result<(unpack::Opened, Held), LabError>,
    ) -> Result<Self, LabError> {
        let opened = unpack::open(path)?;
        check(&Self::described(path, &opened.manifest, Path::new(""))?).await?;
        let (opened, held) = unpack(opened).await?;
        let ready = Self::described(path, &opened.manifest, held.path())?;
        Ok(Self {
            held: Some(held),
            ..ready
        })
    }

    fn new(
        sources: Sources,
        saved: Saved,
        image_of: impl Fn(&NodeName, &SavedImage, Arch) -> Result<Image, LabError>,
    ) -> Result<Self, LabError> {
        let plan = sources.plan()?;
        let mut images = BTreeMap::new();
        for node in &plan.nodes {
            let image = saved.images().get(node.name.as_str());
            let image = image.ok_or_else(|| PackError::NotWhole {
                path: saved.folder().to_owned(),
                why: format!("{SAVED_LABEL} names no image of node {}", node.name),
            })?;
            let found = image_of(&node.name, image, node.hardware.arch)?;
            images.insert(node.name.clone(), found);
        }
        Ok(Self {
            plan,
            sources,
            saved,
            images,
            held: None,
        })
    }

    /// What its guests must run on where nothing else is asked for.
    pub(crate) fn accelerator(&self) -> AcceleratorWish {
        let mut used = self.saved.circumstances().emulators.values();
        if used.any(|used| used.accelerator == "kvm") {
            AcceleratorWish::Kvm
        } else {
            AcceleratorWish::Tcg
        }
    }

    /// Sees that it goes on here. What is to be told of it nevertheless.
    pub(crate) async fn check(
        &self,
        store: &Store,
        accelerator: AcceleratorWish,
        qemu: Option<&Path>,
    ) -> Result<Vec<String>, LabError> {
        let Self {
            plan,
            saved,
            images,
            sources,
            ..
        } = self;
        let here = sanlab_run::circumstances_of(saved, plan, images, store, accelerator, qemu);
        let here = here.await.map_err(|error| match error {
            FleetError::NoAccelerator(why) => LabError::from(PackError::NeedsKvm(why.to_string())),
            error => error.into(),
        })?;
        if let Some(difference) = saved.circumstances().difference(&here, saved.nodes()) {
            let by = sources.sanlab.clone();
            return Err(PackError::Differs { by, difference }.into());
        }
        let mut told: Vec<String> = saved
            .left_out()
            .iter()
            .map(|(node, why)| format!("without {node}, which was not saved: {why}"))
            .collect();
        told.extend(saved.circumstances().clock_ratio(&here).map(|ratio| {
            format!(
                "the guests' clocks go {ratio:.2} times as fast as this host's: their time stamp counter has its rate"
            )
        }));
        Ok(told)
    }
}

/// Whether it is a SHA-256 in hexadecimal digits.
fn is_digest(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}
