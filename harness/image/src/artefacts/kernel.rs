//! A kernel of the user's own: where it lies, which modules it has, and what of them guests need.
//!
//! It is a `vmlinux` or `bzImage` alone, which then loads the modules of the image; a built kernel tree; a folder or a Debian
//! package with `boot/vmlinuz-RELEASE` and `lib/modules/RELEASE`; or the kernel of another image.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;

use sanlab_plan::{Arch, Artefact};
use sha2::{Digest as _, Sha256};

use super::{elf, module};
use crate::build::vmlinux;
use crate::store::image::{Image, Wanted};

/// Without these, as modules or built in, no guest comes up: what they are for, and how the configuration calls them.
const NEEDED: [(&str, &str); 6] = [
    ("virtio_pci", "CONFIG_VIRTIO_PCI"),
    ("virtio_blk", "CONFIG_VIRTIO_BLK"),
    ("virtio_net", "CONFIG_VIRTIO_NET"),
    ("virtio_console", "CONFIG_VIRTIO_CONSOLE"),
    ("erofs", "CONFIG_EROFS_FS"),
    ("overlay", "CONFIG_OVERLAY_FS"),
];

/// Files beside the modules that depmod and modprobe read.
const LISTS: [&str; 3] = ["modules.order", "modules.builtin", "modules.builtin.modinfo"];

/// A kernel, read and found fit for an image's guests.
#[derive(Debug)]
pub(crate) struct Kernel {
    pub(crate) release: String,
    /// What QEMU boots.
    pub(crate) bytes: Vec<u8>,
    /// `None`: it loads those of the image.
    pub(crate) modules: Option<Modules>,
}

/// The modules that guests may load.
#[derive(Debug, Default)]
pub(crate) struct Modules {
    /// By path below `lib/modules/RELEASE`, uncompressed; and lists.
    pub(crate) files: BTreeMap<PathBuf, Vec<u8>>,
    /// Those that reach a guest's root, each after what it depends on: name of the file, and bytes.
    pub(crate) boot: Vec<(String, Vec<u8>)>,
}

impl Kernel {
    /// Reads it, or says why it is of no use.
    pub(crate) fn read(from: &Path, image: &Image) -> Result<Self, String> {
        let io = |error: std::io::Error| error.to_string();
        if from.extension() == Some(OsStr::new("deb")) {
            let folder = tempfile::tempdir().map_err(io)?;
            unpack(from, folder.path())?;
            return Self::of_folder(folder.path(), image);
        }
        if from.is_dir() {
            return Self::of_folder(from, image);
        }
        if !from.exists() {
            return Err("there is no such file".to_owned());
        }
        let (release, bytes) = bootable(&[from.to_owned()], image.arch)?;
        if release != image.kernel_release {
            return Err(format!(
                "it calls itself {release}, and the image's modules are for {}\n  help: give the built kernel tree, so that its \
                 modules come along, or build it under that name (CONFIG_LOCALVERSION, without CONFIG_LOCALVERSION_AUTO)",
                image.kernel_release
            ));
        }
        Ok(Self {
            release,
            bytes,
            modules: None,
        })
    }

    fn of_folder(folder: &Path, image: &Image) -> Result<Self, String> {
        let is_tree = folder.join("vmlinux").is_file();
        let files = if is_tree {
            ["vmlinux", "arch/x86/boot/bzImage"].map(|name| folder.join(name)).to_vec()
        } else {
            let packed = only(&folder.join("boot"), "vmlinuz-");
            packed.into_iter().collect()
        };
        if files.is_empty() {
            return Err(
                "it is no kernel: a built tree has `vmlinux`, an installed kernel `boot/vmlinuz-RELEASE` and \
                 `lib/modules/RELEASE`"
                    .to_owned(),
            );
        }
        let (release, bytes) = bootable(&files, image.arch)?;
        let tree = if is_tree {
            Tree::built(folder)
        } else {
            let roots = ["usr/lib/modules", "lib/modules"].map(|path| folder.join(path).join(&release));
            let root = roots.into_iter().find(|root| root.is_dir());
            Tree::installed(&root.ok_or(format!("it has no lib/modules/{release}"))?)
        }?;
        let modules = tree.choose(&image.wanted)?;
        Ok(Self {
            release,
            bytes,
            modules: Some(modules),
        })
    }

    /// What of it goes into a key.
    pub(crate) fn sha256(&self) -> String {
        let mut digest = Sha256::new();
        digest.update(Sha256::digest(&self.bytes));
        let modules = self.modules.iter();
        for (path, bytes) in modules.flat_map(|modules| &modules.files) {
            digest.update(path.as_os_str().as_encoded_bytes());
            digest.update(Sha256::digest(bytes));
        }
        hex::encode(digest.finalize())
    }
}

/// The first of the files from which QEMU can boot, uncompressed where that is so, and its release.
fn bootable(files: &[PathBuf], arch: Arch) -> Result<(String, Vec<u8>), String> {
    let mut found = None;
    for path in files.iter().filter(|path| path.is_file()) {
        let packed = fs_err::read(path).map_err(|error| error.to_string())?;
        let unpacked = vmlinux::extract(packed.clone(), path).map_err(|error| error.to_string())?;
        match elf::arch(&unpacked)? {
            Some(other) if other == arch => {}
            Some(other) => return Err(elf::other(other, arch)),
            None => return Err("it is neither an ELF file nor a bzImage".to_owned()),
        }
        let release = vmlinux::release(&unpacked, path).map_err(|error| error.to_string())?;
        if vmlinux::has_pvh_entry(&unpacked) {
            return Ok((release, unpacked));
        }
        // QEMU starts an ELF file by that entry only; a bzImage unpacks itself.
        found = Some((release, packed));
    }
    found.ok_or_else(|| "it has no kernel that could be booted".to_owned())
}

/// Where the modules of a kernel lie.
struct Tree {
    root: PathBuf,
    /// By name, path below the root, and below `lib/modules/RELEASE`.
    modules: BTreeMap<String, (PathBuf, PathBuf)>,
    builtin: BTreeSet<String>,
    lists: BTreeMap<PathBuf, Vec<u8>>,
}

impl Tree {
    /// A built tree: `modules.order` names the modules by their objects.
    fn built(root: &Path) -> Result<Self, String> {
        let order = text(&root.join("modules.order"))?;
        let paths = order.lines().map(|line| {
            let line = line.strip_prefix("kernel/").unwrap_or(line);
            let stem = line.strip_suffix(".o").or_else(|| line.strip_suffix(".ko"));
            let file = PathBuf::from(format!("{}.ko", stem.unwrap_or(line)));
            let inside = Path::new("kernel").join(&file);
            (file, inside)
        });
        let mut tree = Self::of(root, paths.collect())?;
        // What `make modules_install` makes of it.
        let order: String = tree.modules.values().map(|(_, inside)| format!("{}\n", inside.display())).collect();
        tree.lists.insert("modules.order".into(), order.into_bytes());
        Ok(tree)
    }

    /// A folder like `/lib/modules/RELEASE`.
    fn installed(root: &Path) -> Result<Self, String> {
        let order = text(&root.join("modules.order"))?;
        let paths = order.lines().map(|line| {
            let packed = ["", ".xz", ".gz", ".zst"].map(|end| PathBuf::from(format!("{line}{end}")));
            let file = packed.into_iter().find(|path| root.join(path).is_file());
            (file.unwrap_or_else(|| PathBuf::from(line)), PathBuf::from(line))
        });
        Self::of(root, paths.collect())
    }

    fn of(root: &Path, paths: Vec<(PathBuf, PathBuf)>) -> Result<Self, String> {
        let by_name = paths.into_iter().map(|(file, inside)| (Artefact::module_name(&inside), (file, inside)));
        let mut lists = BTreeMap::new();
        for name in LISTS {
            let path = root.join(name);
            if path.is_file() {
                let bytes = fs_err::read(&path).map_err(|error| error.to_string())?;
                lists.insert(PathBuf::from(name), bytes);
            }
        }
        let builtin = text(&root.join("modules.builtin"))?;
        let builtin = builtin.lines().map(|line| Artefact::module_name(Path::new(line)));
        Ok(Self {
            root: root.to_owned(),
            modules: by_name.collect(),
            builtin: builtin.collect(),
            lists,
        })
    }

    /// The modules that guests may load, with all that they depend on.
    fn choose(&self, wanted: &Wanted) -> Result<Modules, String> {
        let lacking: Vec<&str> = NEEDED
            .iter()
            .filter(|(name, _)| !self.modules.contains_key(*name) && !self.builtin.contains(*name))
            .map(|(_, option)| *option)
            .collect();
        if !lacking.is_empty() {
            return Err(format!(
                "guests need what it was built without: {}\n  help: set them to y or m and build it again",
                lacking.join(", ")
            ));
        }
        let mut loaded = Loaded::default();
        for name in &wanted.boot_modules {
            self.load(name, &mut loaded)?;
        }
        let boot = loaded.order.clone();
        for name in &wanted.modules {
            if let Some(folder) = name.strip_suffix('/') {
                let folder = Path::new("kernel").join(folder);
                let inside = self.modules.iter().filter(|(_, (_, path))| path.starts_with(&folder));
                for (name, _) in inside {
                    self.load(name, &mut loaded)?;
                }
            } else {
                self.load(name, &mut loaded)?;
            }
        }
        let named = |name: &String| {
            let bytes = loaded.bytes.get(name)?;
            Some((format!("{name}.ko"), bytes.clone()))
        };
        let boot = boot.iter().filter_map(named).collect();
        let mut files = self.lists.clone();
        for (name, bytes) in loaded.bytes {
            if let Some((_, inside)) = self.modules.get(&name) {
                files.insert(inside.clone(), bytes);
            }
        }
        Ok(Modules { files, boot })
    }

    /// Takes a module after those that it depends on. One that is built in, or that this kernel has not, is none to take.
    fn load(&self, name: &str, loaded: &mut Loaded) -> Result<(), String> {
        let name = name.replace('-', "_");
        let Some((file, _)) = self.modules.get(&name) else {
            return Ok(());
        };
        if !loaded.seen.insert(name.clone()) {
            return Ok(());
        }
        let path = self.root.join(file);
        let packed = fs_err::read(&path).map_err(|error| error.to_string())?;
        let bytes = module::unpacked(packed).map_err(|reason| format!("{}: {reason}", path.display()))?;
        for other in module::depends(&bytes) {
            self.load(&other, loaded)?;
        }
        loaded.order.push(name.clone());
        loaded.bytes.insert(name, bytes);
        Ok(())
    }
}

#[derive(Default)]
struct Loaded {
    seen: BTreeSet<String>,
    order: Vec<String>,
    bytes: BTreeMap<String, Vec<u8>>,
}

fn text(path: &Path) -> Result<String, String> {
    fs_err::read_to_string(path).map_err(|error| {
        format!("{error}\n  help: build the kernel with its modules: `make all`")
    })
}

/// The one file of a folder whose name begins so.
fn only(folder: &Path, start: &str) -> Option<PathBuf> {
    let entries = fs_err::read_dir(folder).ok()?.flatten();
    let mut found = entries.filter(|entry| entry.file_name().to_string_lossy().starts_with(start));
    found.next().map(|entry| entry.path())
}

fn unpack(package: &Path, folder: &Path) -> Result<(), String> {
    let output = Command::new("dpkg-deb")
        .arg("--extract")
        .args([package, folder])
        .output()
        .map_err(|error| format!("dpkg-deb cannot be started: {error}"))?;
    if output.status.success() {
        Ok(())
    } else {
        let said = String::from_utf8_lossy(&output.stderr);
        Err(format!("it is no Debian package: {}", said.trim()))
    }
}
