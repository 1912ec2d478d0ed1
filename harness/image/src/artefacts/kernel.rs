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
use crate::build::{initramfs, vmlinux};
use crate::error::ImageError;
use crate::store::image::{Image, MODULES, Wanted};

/// Without these, as modules or built in, no guest comes up: what they are for, and how the configuration calls them.
const NEEDED: [(&str, &str); 6] = [
    ("virtio_pci", "CONFIG_VIRTIO_PCI"),
    ("virtio_blk", "CONFIG_VIRTIO_BLK"),
    ("virtio_net", "CONFIG_VIRTIO_NET"),
    ("virtio_console", "CONFIG_VIRTIO_CONSOLE"),
    ("erofs", "CONFIG_EROFS_FS"),
    ("overlay", "CONFIG_OVERLAY_FS"),
];

/// Without these in its configuration a kernel does not reach a guest's first program, or nothing is heard of it. They cannot be modules.
const BUILT_IN: [&str; 12] = [
    "CONFIG_BINFMT_ELF",
    "CONFIG_BINFMT_SCRIPT",
    "CONFIG_BLK_DEV_INITRD",
    "CONFIG_DEVTMPFS",
    "CONFIG_INET",
    "CONFIG_PCI",
    "CONFIG_PRINTK",
    "CONFIG_PROC_FS",
    "CONFIG_SERIAL_8250_CONSOLE",
    "CONFIG_SYSFS",
    "CONFIG_TMPFS",
    "CONFIG_UNIX",
];

/// Files beside the modules that depmod and modprobe read.
const LISTS: [&str; 3] = [ORDER, BUILTIN, "modules.builtin.modinfo"];
const ORDER: &str = "modules.order";
const BUILTIN: &str = "modules.builtin";

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
            // Without debug information where that is possible.
            ["arch/x86/boot/bzImage", "vmlinux"]
                .map(|name| folder.join(name))
                .to_vec()
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
        let mut tree = if is_tree {
            Tree::built(folder)
        } else {
            let roots =
                ["usr/lib/modules", "lib/modules"].map(|path| folder.join(path).join(&release));
            let root = roots.into_iter().find(|root| root.is_dir());
            Tree::installed(&root.ok_or(format!("it has no lib/modules/{release}"))?)
        }?;
        let configuration = if is_tree {
            folder.join(".config")
        } else {
            folder.join("boot").join(format!("config-{release}"))
        };
        // A kernel without one is tried as it is.
        if configuration.is_file() {
            let text = fs_err::read_to_string(configuration).map_err(|error| error.to_string())?;
            tree.not_built_in = not_built_in(&text);
        }
        let modules = tree.choose(&image.wanted)?;
        Ok(Self {
            release,
            bytes,
            modules: Some(modules),
        })
    }

    /// The kernel of an image whose entry is in that folder.
    pub(crate) fn of_image(entry: &Path, image: &Image) -> Result<Self, String> {
        let io = |error: std::io::Error| error.to_string();
        let archive = fs_err::read(entry.join(MODULES)).map_err(io)?;
        let files = initramfs::unpack_files(&archive).map_err(io)?;
        let tree = Tree::packed(files)?;
        Ok(Self {
            release: image.kernel_release.clone(),
            bytes: fs_err::read(&image.kernel).map_err(io)?,
            modules: Some(tree.choose(&image.wanted)?),
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
    let mut packed_only = None;
    let mut refused = None;
    for path in files.iter().filter(|path| path.is_file()) {
        let packed = fs_err::read(path).map_err(|error| error.to_string())?;
        let unpacked = match vmlinux::extract(packed.clone(), path) {
            Ok(unpacked) => unpacked,
            Err(error) => {
                refused = refused.or(Some(reason(error)));
                continue;
            }
        };
        match elf::arch(&unpacked)? {
            Some(other) if other == arch => {}
            Some(other) => return Err(elf::other(other, arch)),
            None => return Err("it is neither an ELF file nor a bzImage".to_owned()),
        }
        let release = vmlinux::release(&unpacked, path).map_err(reason)?;
        if vmlinux::has_pvh_entry(&unpacked) {
            return Ok((release, unpacked));
        }
        // QEMU starts an ELF file by that entry only; a bzImage unpacks itself.
        packed_only = packed_only.or(Some((release, packed)));
    }
    packed_only.ok_or_else(|| {
        refused.unwrap_or_else(|| "it has no kernel that could be booted".to_owned())
    })
}

/// Without the path, which whoever asked for the kernel names.
fn reason(error: ImageError) -> String {
    match error {
        ImageError::Kernel { reason, .. } => reason,
        other => other.to_string(),
    }
}

/// All modules that a kernel has.
struct Tree {
    source: Source,
    /// By name, path in the source, and below `lib/modules/RELEASE`.
    modules: BTreeMap<String, (PathBuf, PathBuf)>,
    builtin: BTreeSet<String>,
    /// Of [`BUILT_IN`], what its configuration does not have.
    not_built_in: Vec<&'static str>,
    lists: BTreeMap<PathBuf, Vec<u8>>,
}

/// Where they are read from.
enum Source {
    Folder(PathBuf),
    Files(BTreeMap<PathBuf, Vec<u8>>),
}

impl Source {
    fn has(&self, path: &Path) -> bool {
        match self {
            Self::Folder(folder) => folder.join(path).is_file(),
            Self::Files(files) => files.contains_key(path),
        }
    }

    fn read(&self, path: &Path) -> Result<Vec<u8>, String> {
        match self {
            Self::Folder(folder) => {
                fs_err::read(folder.join(path)).map_err(|error| error.to_string())
            }
            Self::Files(files) => {
                let bytes = files.get(path).cloned();
                bytes.ok_or_else(|| format!("it lacks {}", path.display()))
            }
        }
    }

    fn lines(&self, name: &str) -> Result<Vec<String>, String> {
        let bytes = self.read(Path::new(name)).map_err(|reason| {
            format!("{reason}\n  help: build the kernel with its modules: `make all`")
        })?;
        let text = String::from_utf8_lossy(&bytes);
        Ok(text.lines().map(str::to_owned).collect())
    }
}

impl Tree {
    /// A built tree: `modules.order` names the modules by their objects.
    fn built(root: &Path) -> Result<Self, String> {
        let source = Source::Folder(root.to_owned());
        let place = |line: &String| {
            let line = line.strip_prefix("kernel/").unwrap_or(line);
            let stem = line.strip_suffix(".o").or_else(|| line.strip_suffix(".ko"));
            let file = PathBuf::from(format!("{}.ko", stem.unwrap_or(line)));
            let inside = Path::new("kernel").join(&file);
            (file, inside)
        };
        let places: Vec<_> = source.lines(ORDER)?.iter().map(place).collect();
        // What `make modules_install` makes of it.
        let order = places
            .iter()
            .map(|(_, inside)| format!("{}\n", inside.display()));
        let order: String = order.collect();
        let mut tree = Self::of(source, places)?;
        tree.lists.insert(ORDER.into(), order.into_bytes());
        Ok(tree)
    }

    /// A folder like `/lib/modules/RELEASE`.
    fn installed(root: &Path) -> Result<Self, String> {
        let source = Source::Folder(root.to_owned());
        let place = |line: String| {
            let ends = ["", ".xz", ".gz", ".zst"].into_iter();
            let mut files = ends.map(|end| PathBuf::from(format!("{line}{end}")));
            let file = files.find(|path| source.has(path))?;
            Some((file, PathBuf::from(line)))
        };
        let places = source.lines(ORDER)?.into_iter().filter_map(place).collect();
        Self::of(source, places)
    }

    /// What [`all`] gave of one.
    fn packed(files: BTreeMap<PathBuf, Vec<u8>>) -> Result<Self, String> {
        let modules = files.keys().filter(|path| path.starts_with("kernel"));
        let places = modules.map(|path| (path.clone(), path.clone())).collect();
        Self::of(Source::Files(files), places)
    }

    fn of(source: Source, places: Vec<(PathBuf, PathBuf)>) -> Result<Self, String> {
        let by_name = places
            .into_iter()
            .map(|(file, inside)| (Artefact::module_name(&inside), (file, inside)));
        let mut lists = BTreeMap::new();
        for name in LISTS.map(PathBuf::from) {
            if source.has(&name) {
                let bytes = source.read(&name)?;
                lists.insert(name, bytes);
            }
        }
        let builtin = source.lines(BUILTIN)?;
        let builtin = builtin
            .iter()
            .map(|line| Artefact::module_name(Path::new(line)));
        Ok(Self {
            modules: by_name.collect(),
            builtin: builtin.collect(),
            not_built_in: Vec::new(),
            lists,
            source,
        })
    }

    /// The modules that guests may load, with all that they depend on.
    fn choose(&self, wanted: &Wanted) -> Result<Modules, String> {
        let lacking: Vec<&str> = NEEDED
            .iter()
            .filter(|(name, _)| !self.modules.contains_key(*name) && !self.builtin.contains(*name))
            .map(|(_, option)| *option)
            .collect();
        let mut without = Vec::new();
        if !self.not_built_in.is_empty() {
            without.push(format!("{} (y)", self.not_built_in.join(", ")));
        }
        if !lacking.is_empty() {
            without.push(format!("{} (y or m)", lacking.join(", ")));
        }
        if !without.is_empty() {
            return Err(format!(
                "guests need what it was built without: {}\n  help: set them and build it again",
                without.join("; ")
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
                let inside = self
                    .modules
                    .iter()
                    .filter(|(_, (_, path))| path.starts_with(&folder));
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
        let packed = self.source.read(file)?;
        let bytes =
            module::unpacked(packed).map_err(|reason| format!("{}: {reason}", file.display()))?;
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

/// All that [`Tree::packed`] needs of a folder like `/lib/modules/RELEASE`: modules, uncompressed, and lists.
pub(crate) fn all(root: &Path) -> Result<BTreeMap<PathBuf, Vec<u8>>, String> {
    let tree = Tree::installed(root)?;
    let mut files = tree.lists;
    for (file, inside) in tree.modules.values() {
        files.insert(inside.clone(), module::unpacked(tree.source.read(file)?)?);
    }
    Ok(files)
}

impl Modules {
    /// What all of them say of the kernel that they are for.
    pub(crate) fn vermagic(&self) -> Option<String> {
        self.files
            .values()
            .find_map(|bytes| module::vermagic(bytes))
    }
}

/// Which of [`BUILT_IN`] a configuration does not have.
fn not_built_in(configuration: &str) -> Vec<&'static str> {
    let set: BTreeSet<&str> = configuration
        .lines()
        .filter_map(|line| line.strip_suffix("=y"))
        .collect();
    let lacking = BUILT_IN.into_iter().filter(|option| !set.contains(option));
    lacking.collect()
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
