//! The one question that the rest of the lab asks: give me this image.

use std::fs::Permissions;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Instant;

use sanlab_plan::Arch;

use crate::build;
use crate::claim::Claim;
use crate::error::ImageError;
use crate::host_tools::missing_host_tools;
use crate::image::Image;
use crate::key::key;
use crate::lock::{Lock, LockDiff, LockedPackage};
use crate::manifest::Manifest;
use crate::progress::{Phase, Progress};
use crate::store::{Kind, Store};

/// Returns the image for `arch`: at once when the store has it, else after a build that `progress` shows.
///
/// The packages must be those of the lock beside the manifest. With `update_lock` they are whatever the mirror has
/// now, and the lock says so afterwards. Blocks; several architectures may be asked for side by side.
pub fn ensure(
    store: &Store,
    manifest: &Manifest,
    arch: Arch,
    update_lock: bool,
    progress: &dyn Fn(Progress),
) -> Result<Image, ImageError> {
    if !manifest.arches.contains_key(&arch) {
        return Err(ImageError::Manifest {
            path: manifest.path.clone(),
            line: 1,
            column: 1,
            message: format!("there is no section `[arch.{arch}]`"),
        });
    }
    let request = Request {
        store,
        manifest,
        arch,
        progress,
    };
    if update_lock {
        request.build_and_lock()
    } else {
        request.find_or_build()
    }
    .map_err(|error| error.while_building(arch, store.root()))
}

struct Request<'a> {
    store: &'a Store,
    manifest: &'a Manifest,
    arch: Arch,
    progress: &'a dyn Fn(Progress),
}

impl Request<'_> {
    fn find_or_build(&self) -> Result<Image, ImageError> {
        let path = self.manifest.lock_path();
        let mut lock = Lock::load(&path)?;
        let Some(locked) = lock.arches.remove(&self.arch) else {
            return Err(ImageError::NotLocked {
                path,
                arch: self.arch,
            });
        };
        let key = key(self.manifest, self.arch, &locked)?;
        if let Some(image) = self.find(&key)? {
            return Ok(image);
        }
        let claim = self.claim(&key)?;
        if let Some(image) = self.find(&key)? {
            return Ok(image);
        }
        self.build(&claim, |installed| {
            match LockDiff::between(&locked, installed) {
                None => Ok(key.clone()),
                Some(diff) => Err(ImageError::LockMismatch {
                    path: path.clone(),
                    arch: self.arch,
                    diff,
                }),
            }
        })
    }

    fn build_and_lock(&self) -> Result<Image, ImageError> {
        let name = self
            .manifest
            .path
            .file_stem()
            .unwrap_or_default()
            .to_string_lossy();
        let claim = self.claim(&format!("{name}-{}", self.arch))?;
        self.build(&claim, |installed| {
            self.write_lock(&name, installed)?;
            key(self.manifest, self.arch, installed)
        })
    }

    /// Replaces this architecture's part of the lock file, whoever replaces another's at the same time.
    fn write_lock(&self, name: &str, installed: &[LockedPackage]) -> Result<(), ImageError> {
        let _held = self.store.lock(&format!("manifest-{name}"), |_| ())?;
        let path = self.manifest.lock_path();
        let mut lock = Lock::load(&path)?;
        lock.arches.insert(self.arch, installed.to_vec());
        let text = lock.render(
            &self
                .manifest
                .path
                .file_name()
                .unwrap_or_default()
                .to_string_lossy(),
        );
        let folder = path
            .parent()
            .filter(|parent| !parent.as_os_str().is_empty())
            .unwrap_or(Path::new("."));
        let mut file = tempfile::Builder::new()
            .permissions(Permissions::from_mode(0o644))
            .tempfile_in(folder)?;
        file.write_all(text.as_bytes())?;
        file.persist(&path).map_err(|error| error.error)?;
        Ok(())
    }

    fn find(&self, key: &str) -> Result<Option<Image>, ImageError> {
        let held = self.store.hold(Kind::Image, key)?;
        held.map(|held| Image::of(&held, self.arch)).transpose()
    }

    fn claim(&self, name: &str) -> Result<Claim, ImageError> {
        self.store.claim(Kind::Image, name, |builder| {
            (self.progress)(Progress::Waiting {
                arch: self.arch,
                builder,
            });
        })
    }

    /// `accept` judges the packages that went in and gives the key of the result.
    fn build(
        &self,
        claim: &Claim,
        accept: impl FnOnce(&[LockedPackage]) -> Result<String, ImageError>,
    ) -> Result<Image, ImageError> {
        let tools = missing_host_tools();
        if !tools.is_empty() {
            return Err(ImageError::MissingTools { tools });
        }
        let (arch, began) = (self.arch, Instant::now());
        let phase = |phase| (self.progress)(Progress::Phase { arch, phase });
        let out = claim.workspace()?;
        let userland = build::userland(self.manifest, arch, out.path(), phase)?;
        let key = accept(&userland.packages)?;
        phase(Phase::Initramfs);
        let entry = claim.workspace()?;
        let label = userland.finish(self.manifest, arch, entry.path())?;
        let image = Image::of(&entry.publish_as(&key, &label)?, arch)?;
        (self.progress)(Progress::Built {
            arch,
            seconds: began.elapsed().as_secs_f64(),
            sizes: label.sizes,
        });
        Ok(image)
    }
}
