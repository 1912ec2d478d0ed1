//! Builds an image: from manifest to a finished entry in a temporary folder.

pub(crate) mod child;
pub(crate) mod compiler;
pub(crate) mod diagnose;
pub(crate) mod headers;
pub(crate) mod host_tools;
pub(crate) mod initramfs;
pub(crate) mod mmdebstrap;
pub(crate) mod programs;
pub(crate) mod progress;
pub(crate) mod sparse;
pub(crate) mod uncompress;
pub(crate) mod userland;
pub(crate) mod vmlinux;

use std::path::Path;

use sanlab_plan::Arch;

use crate::artefacts::{kernel, module};
use crate::build::initramfs::Contents;
use crate::build::mmdebstrap::Isolation;
use crate::build::progress::Phase;
use crate::error::{ImageError, Product};
use crate::manifest::guest_files::read_tree;
use crate::manifest::lock;
use crate::manifest::lock_diff::LockedPackage;
use crate::manifest::{KernelSource, Manifest};
use crate::store::held::Held;
use crate::store::image::{INITRAMFS, KERNEL, Label, MODULES, ROOT, Sizes, Wanted};

/// What mmdebstrap and the hook print when a phase begins.
const MARKS: [(&str, Phase); 4] = [
    ("I: running apt-get update", Phase::Download),
    ("I: extracting archives", Phase::Install),
    ("sanlab-phase: kernel", Phase::Kernel),
    ("sanlab-phase: root", Phase::Root),
];

/// Packages, root image and modules as mmdebstrap left them in `folder`.
#[derive(Debug)]
pub(crate) struct Userland<'a> {
    folder: &'a Path,
    pub(crate) packages: Vec<LockedPackage>,
}

/// Installs the packages and writes the root image into `folder`, which is empty.
pub(crate) fn userland<'a>(
    manifest: &Manifest,
    arch: Arch,
    programs: Option<&Held>,
    folder: &'a Path,
    on_phase: impl Fn(Phase),
) -> Result<Userland<'a>, ImageError> {
    let mirror = manifest.mirror();
    let isolation = Isolation::of_this_process();
    let argv = userland::argv(
        manifest,
        arch,
        mirror.as_deref(),
        isolation,
        programs.map(Held::path),
        folder,
    );
    mmdebstrap::run(
        &argv,
        userland::environment(manifest, arch),
        isolation,
        folder,
        (manifest, Product::Image(arch)),
        &MARKS,
        on_phase,
    )?;
    let packages = lock::from_apt(&fs_err::read_to_string(folder.join("packages"))?);
    Ok(Userland { folder, packages })
}

impl Userland<'_> {
    /// Takes kernel, initramfs and root image to `entry`, and says how it is to be labelled.
    pub(crate) fn finish(
        self,
        manifest: &Manifest,
        arch: Arch,
        entry: &Path,
    ) -> Result<Label, ImageError> {
        let kernel_file = match &manifest.arches[&arch].kernel {
            KernelSource::Package(_) => self.folder.join("vmlinuz"),
            KernelSource::Files { vmlinux, .. } => vmlinux.clone(),
        };
        let packed = fs_err::read(&kernel_file)?;
        let unpacked = vmlinux::extract(packed.clone(), &kernel_file)?;
        let kernel_release = vmlinux::release(&unpacked, &kernel_file)?;
        // One that QEMU cannot start unpacks itself.
        let kernel = if vmlinux::has_pvh_entry(&unpacked) {
            unpacked
        } else {
            packed
        };
        let order = fs_err::read_to_string(self.folder.join("order"))?;
        let modules = order
            .lines()
            .map(|name| {
                Ok((
                    name.to_owned(),
                    fs_err::read(self.folder.join("modules").join(name))?,
                ))
            })
            .collect::<Result<Vec<_>, ImageError>>()?;
        let vermagic = modules.first().and_then(|(_, bytes)| {
            let bytes = module::unpacked(bytes.clone()).ok()?;
            module::vermagic(&bytes)
        });
        let busybox = fs_err::read(self.folder.join("busybox"))?;
        let initramfs = initramfs::pack(Contents {
            busybox,
            modules,
            files: read_tree(&manifest.initramfs)?,
        })?;

        fs_err::rename(self.folder.join(ROOT), entry.join(ROOT))?;
        fs_err::write(entry.join(KERNEL), &kernel)?;
        fs_err::write(entry.join(INITRAMFS), &initramfs)?;
        let tree = self.folder.join("tree");
        if tree.is_dir() {
            let modules = kernel::all(&tree).map_err(|reason| ImageError::Kernel {
                path: kernel_file,
                reason,
            })?;
            fs_err::write(entry.join(MODULES), initramfs::pack_files(&modules)?)?;
        }
        let provides = fs_err::read_to_string(self.folder.join("provides"))?;
        let provides = provides.split([',', '\n']).map(str::trim);
        let provides = provides.filter(|name| !name.is_empty());
        let provides = provides.map(str::to_owned).collect();
        let facts = fs_err::read_to_string(self.folder.join("facts"))?;
        let sizes = Sizes {
            untrimmed: fact(&facts, "untrimmed"),
            trimmed: fact(&facts, "trimmed"),
            modules_untrimmed: fact(&facts, "modules_untrimmed"),
            modules: fact(&facts, "modules"),
            root: fs_err::metadata(entry.join(ROOT))?.len(),
            kernel: kernel.len() as u64,
            initramfs: initramfs.len() as u64,
        };
        Ok(Label {
            kernel_release,
            vermagic,
            packages: self.packages,
            provides,
            sizes,
            wanted: Wanted {
                modules: manifest.modules.clone(),
                boot_modules: manifest.boot_modules.clone(),
            },
            layer: None,
        })
    }
}

fn fact(facts: &str, name: &str) -> u64 {
    let value = facts
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    value
        .and_then(|value| value.parse().ok())
        .unwrap_or_default()
}
