//! The one question that the rest of the lab asks: give me this image.

use std::fs::Permissions;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Instant;

use sanlab_plan::Arch;

use crate::build;
use crate::build::host_tools::missing_host_tools;
use crate::build::programs::Wanted;
use crate::build::progress::{Phase, Progress};
use crate::error::{ImageError, Product};
use crate::manifest::Manifest;
use crate::manifest::lock::Lock;
use crate::manifest::lock_diff::{LockDiff, LockedPackage};
use crate::store::claim::{Claim, MOMENT};
use crate::store::held::Held;
use crate::store::image::Image;
use crate::store::key::key;
use crate::store::{Kind, Store};

/// Returns the image for `arch`: at once when the store has it, else after a build that `progress` shows.
///
/// The packages must be those of the lock beside the manifest. With `update_lock` they are whatever the mirror has
/// now, and the lock says so afterwards; the compiler's only if there is something to compile. Blocks; several architectures may be asked for side by side.
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
            message: format!(
                "there is no section `[arch.{arch}]`\n  help: give {arch} nodes an image that is there for them: \
                 `node.NAME.image`"
            ),
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
    .map_err(|error| error.while_building(Product::Image(arch), store.root()))
}

struct Request<'a> {
    store: &'a Store,
    manifest: &'a Manifest,
    arch: Arch,
    progress: &'a dyn Fn(Progress),
}

impl Request<'_> {
    fn find_or_build(&self) -> Result<Image, ImageError> {
        let mut lock = Lock::load(&self.manifest.lock_path())?;
        let mut locked = |product| {
            lock.products.remove(&product).ok_or(ImageError::NotLocked {
                path: self.manifest.lock_path(),
                product,
            })
        };
        let product = Product::Image(self.arch);
        let packages = locked(product)?;
        let wanted = match Wanted::of(self.manifest)? {
            None => None,
            Some(wanted) => Some((wanted, locked(Product::Programs)?)),
        };
        let programs_key = wanted.as_ref().map(|(wanted, locked)| wanted.key(locked));
        let key = key(self.manifest, self.arch, &packages, programs_key.as_deref())?;
        if let Some(image) = self.find(&key)? {
            return Ok(image);
        }
        let claim = self.claim(Kind::Image, &key)?;
        if let Some(image) = self.find(&key)? {
            return Ok(image);
        }
        let began = Instant::now();
        let programs = wanted
            .map(|(wanted, locked)| self.find_or_compile(&wanted, &locked))
            .transpose()?;
        self.build(&claim, began, programs.as_ref(), |installed| {
            self.compare(product, &packages, installed)?;
            Ok(key)
        })
    }

    fn build_and_lock(&self) -> Result<Image, ImageError> {
        let product = Product::Image(self.arch);
        let claim = self.claim(Kind::Image, &format!("{}-{}", self.name(), self.arch))?;
        let began = Instant::now();
        let programs = Wanted::of(self.manifest)?
            .map(|wanted| self.compile_and_lock(&wanted))
            .transpose()?;
        self.build(&claim, began, programs.as_ref(), |installed| {
            self.write_lock(product, installed)?;
            let programs = programs.as_ref().map(Held::key);
            key(self.manifest, self.arch, installed, programs)
        })
    }

    fn find_or_compile(
        &self,
        wanted: &Wanted,
        locked: &[LockedPackage],
    ) -> Result<Held, ImageError> {
        let key = wanted.key(locked);
        if let Some(held) = self.store.hold(Kind::Program, &key)? {
            return Ok(held);
        }
        let claim = self.claim(Kind::Program, &key)?;
        if let Some(held) = self.store.hold(Kind::Program, &key)? {
            return Ok(held);
        }
        self.compile(wanted, &claim, |installed| {
            self.compare(Product::Programs, locked, installed)?;
            Ok(key)
        })
    }

    /// Programs that are there already were compiled by what the lock says, and stay.
    fn compile_and_lock(&self, wanted: &Wanted) -> Result<Held, ImageError> {
        let claim = self.claim(Kind::Program, &self.name())?;
        // Another architecture's build may have brought both while this one waited.
        let lock = Lock::load(&self.manifest.lock_path())?;
        if let Some(locked) = lock.products.get(&Product::Programs)
            && let Some(held) = self.store.hold(Kind::Program, &wanted.key(locked))?
        {
            return Ok(held);
        }
        self.compile(wanted, &claim, |installed| {
            self.write_lock(Product::Programs, installed)?;
            Ok(wanted.key(installed))
        })
    }

    fn compare(
        &self,
        product: Product,
        locked: &[LockedPackage],
        installed: &[LockedPackage],
    ) -> Result<(), ImageError> {
        match LockDiff::between(locked, installed) {
            None => Ok(()),
            Some(diff) => Err(ImageError::LockMismatch {
                path: self.manifest.lock_path(),
                product,
                diff,
            }),
        }
    }

    /// Replaces one part of the lock file, whoever replaces another at the same time.
    fn write_lock(&self, product: Product, installed: &[LockedPackage]) -> Result<(), ImageError> {
        let name = format!("manifest-{}", self.name());
        let _held = self.store.lock(&name, MOMENT, |_| ())?;
        let path = self.manifest.lock_path();
        let mut lock = Lock::load(&path)?;
        lock.products.insert(product, installed.to_vec());
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

    fn name(&self) -> String {
        let stem = self.manifest.path.file_stem().unwrap_or_default();
        stem.to_string_lossy().into_owned()
    }

    fn find(&self, key: &str) -> Result<Option<Image>, ImageError> {
        let held = self.store.hold(Kind::Image, key)?;
        held.map(|held| Image::of(&held, self.arch)).transpose()
    }

    fn claim(&self, kind: Kind, name: &str) -> Result<Claim, ImageError> {
        self.store.claim(kind, name, |builder| {
            // That this process builds for another architecture as well is no news.
            if builder != Some(std::process::id()) {
                let arch = self.arch;
                (self.progress)(Progress::Waiting { arch, builder });
            }
        })
    }

    fn phase(&self, phase: Phase) {
        let arch = self.arch;
        (self.progress)(Progress::Phase { arch, phase });
    }

    /// `accept` judges the packages of the compiler and gives the key of the result.
    fn compile(
        &self,
        wanted: &Wanted,
        claim: &Claim,
        accept: impl FnOnce(&[LockedPackage]) -> Result<String, ImageError>,
    ) -> Result<Held, ImageError> {
        require_tools()?;
        wanted
            .compile(claim, |phase| self.phase(phase), accept)
            .map_err(|error| error.while_building(Product::Programs, self.store.root()))
    }

    /// `accept` judges the packages that went in and gives the key of the result.
    fn build(
        &self,
        claim: &Claim,
        began: Instant,
        programs: Option<&Held>,
        accept: impl FnOnce(&[LockedPackage]) -> Result<String, ImageError>,
    ) -> Result<Image, ImageError> {
        require_tools()?;
        let arch = self.arch;
        let out = claim.workspace()?;
        let on_phase = |phase| self.phase(phase);
        let userland = build::userland(self.manifest, arch, programs, out.path(), on_phase)?;
        let key = accept(&userland.packages)?;
        self.phase(Phase::Initramfs);
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

fn require_tools() -> Result<(), ImageError> {
    let tools = missing_host_tools();
    if tools.is_empty() {
        Ok(())
    } else {
        Err(ImageError::MissingTools { tools })
    }
}
