//! The manifest: which suite, packages, kernel and modules an image has.

pub(crate) mod guest_files;
pub(crate) mod lock;
pub(crate) mod lock_diff;
pub(crate) mod sources;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use sanlab_plan::Arch;
use serde::Deserialize;

use crate::error::ImageError;

/// A checked manifest. Paths in it are resolved against the manifest's folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    pub(crate) path: PathBuf,
    pub(crate) suite: String,
    pub(crate) components: Vec<String>,
    pub(crate) mirror: Option<String>,
    pub(crate) overlay: PathBuf,
    pub(crate) initramfs: PathBuf,
    pub(crate) exclude: Vec<String>,
    /// What packages need only while they are set up.
    pub(crate) remove: Vec<String>,
    pub(crate) modules: Vec<String>,
    pub(crate) boot_modules: Vec<String>,
    /// Files of ours that are not in the overlay, each with the guest's folder that it goes to.
    pub(crate) files: Vec<(PathBuf, PathBuf)>,
    pub(crate) programs: Option<Programs>,
    pub(crate) arches: BTreeMap<Arch, ArchManifest>,
}

/// Programs of ours that are compiled for guests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Programs {
    /// The folders of their crates, at least one.
    pub(crate) crates: Vec<PathBuf>,
    /// The packages that compile them, on an amd64 host.
    pub(crate) compiler: Vec<String>,
    /// The packages that they are linked with, for every architecture.
    pub(crate) libraries: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ArchManifest {
    /// The packages of all architectures and of this one, sorted.
    pub(crate) packages: Vec<String>,
    pub(crate) kernel: KernelSource,
}

/// Where a guest's kernel comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KernelSource {
    /// A package of the suite, or one that depends on it, as `linux-image-amd64` does.
    Package(String),
    /// The user's own.
    Files {
        /// Uncompressed ELF kernel, or a bzImage.
        vmlinux: PathBuf,
        /// A folder like `/lib/modules/RELEASE`; `None` when everything is built in.
        modules: Option<PathBuf>,
    },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    suite: String,
    components: Vec<String>,
    mirror: Option<String>,
    overlay: PathBuf,
    initramfs: PathBuf,
    packages: Vec<toml::Spanned<String>>,
    #[serde(default)]
    exclude: Vec<toml::Spanned<String>>,
    #[serde(default)]
    remove: Vec<toml::Spanned<String>>,
    modules: Vec<toml::Spanned<String>>,
    boot_modules: Vec<toml::Spanned<String>>,
    #[serde(default)]
    files: BTreeMap<PathBuf, toml::Spanned<String>>,
    programs: Option<ProgramsDocument>,
    arch: BTreeMap<toml::Spanned<String>, ArchDocument>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ProgramsDocument {
    crates: toml::Spanned<Vec<PathBuf>>,
    compiler: Vec<toml::Spanned<String>>,
    libraries: Vec<toml::Spanned<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ArchDocument {
    #[serde(default)]
    packages: Vec<toml::Spanned<String>>,
    kernel: toml::Spanned<KernelDocument>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct KernelDocument {
    package: Option<String>,
    vmlinux: Option<PathBuf>,
    modules: Option<PathBuf>,
}

/// A manifest that is like another but for what it says of some architectures.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct VariantDocument {
    base: PathBuf,
    arch: BTreeMap<toml::Spanned<String>, ArchDocument>,
}

type Complaint = (std::ops::Range<usize>, String);

impl Manifest {
    /// Reads and checks the file; its lock is the file beside it with the ending `.lock`.
    ///
    /// A file that names a `base` is like that other manifest, with kernels of its own and packages besides.
    pub fn load(path: &Path) -> Result<Self, ImageError> {
        let text = fs_err::read_to_string(path)?;
        let located = |text: &str, path: &Path, (span, message): Complaint| {
            let (line, column) = position(text, span.start);
            ImageError::Manifest {
                path: path.to_owned(),
                line,
                column,
                message,
            }
        };
        let is_variant =
            toml::from_str::<toml::Table>(&text).is_ok_and(|table| table.contains_key("base"));
        if !is_variant {
            return Self::parse(&text, path).map_err(|wrong| located(&text, path, wrong));
        }
        let document: VariantDocument =
            from_toml(&text).map_err(|wrong| located(&text, path, wrong))?;
        let base = path.parent().unwrap_or(Path::new("")).join(&document.base);
        let base_text = fs_err::read_to_string(&base)?;
        let manifest =
            Self::parse(&base_text, &base).map_err(|wrong| located(&base_text, &base, wrong))?;
        manifest
            .varied(document, path)
            .map_err(|wrong| located(&text, path, wrong))
    }

    fn varied(self, document: VariantDocument, path: &Path) -> Result<Self, Complaint> {
        let path = std::path::absolute(path).map_err(|error| (0..0, error.to_string()))?;
        let folder = path.parent().unwrap_or(Path::new("/"));
        let mut arches = self.arches;
        for (word, section) in document.arch {
            let Some(arch) = arches.get_mut(&known_arch(&word)?) else {
                let message = format!("the base has no section `[arch.{}]`", word.get_ref());
                return Err((word.span(), message));
            };
            *arch = arch_manifest(section, &arch.packages, folder)?;
        }
        Ok(Self {
            path,
            arches,
            ..self
        })
    }

    /// The lock's path.
    pub fn lock_path(&self) -> PathBuf {
        self.path.with_extension("lock")
    }

    /// The architectures it describes.
    pub fn arches(&self) -> impl Iterator<Item = Arch> {
        self.arches.keys().copied()
    }

    /// The mirror to fetch from: `SANLAB_MIRROR`, or the manifest's; `None`: the archive's usual one.
    pub(crate) fn mirror(&self) -> Option<String> {
        std::env::var("SANLAB_MIRROR")
            .ok()
            .filter(|mirror| !mirror.is_empty())
            .or_else(|| self.mirror.clone())
    }

    fn parse(text: &str, path: &Path) -> Result<Self, Complaint> {
        let document: Document = from_toml(text)?;
        let path = std::path::absolute(path).map_err(|error| (0..0, error.to_string()))?;
        let folder = path.parent().unwrap_or(Path::new("/"));
        let module = |name: &str| {
            name.chars()
                .all(|c| c.is_ascii_alphanumeric() || "_-/".contains(c))
        };
        let pattern = |text: &str| text.starts_with('/') && !text.contains(char::is_whitespace);
        let shared = words(&document.packages, PACKAGE_RULE, is_package)?;
        let mut arches = BTreeMap::new();
        for (word, section) in document.arch {
            arches.insert(known_arch(&word)?, arch_manifest(section, &shared, folder)?);
        }
        Ok(Self {
            path: path.clone(),
            suite: document.suite,
            components: document.components,
            mirror: document.mirror,
            overlay: folder.join(document.overlay),
            initramfs: folder.join(document.initramfs),
            exclude: words(&document.exclude, PATTERN_RULE, pattern)?,
            remove: words(
                &document.remove,
                "a pattern starts with `/` and has neither spaces nor `..`",
                |text| pattern(text) && !text.contains(".."),
            )?,
            modules: words(&document.modules, MODULE_RULE, module)?,
            boot_modules: words(&document.boot_modules, MODULE_RULE, |name| {
                module(name) && !name.contains('/')
            })?,
            files: files(document.files, folder)?,
            programs: document
                .programs
                .map(|section| programs(section, folder))
                .transpose()?,
            arches,
        })
    }
}

const PACKAGE_RULE: &str = "a package name consists of letters, digits, `+`, `-` and `.`";

const PATTERN_RULE: &str = "a pattern starts with `/` and has no spaces";

const MODULE_RULE: &str =
    "a module is a name, or (in `modules`) a folder of the kernel's tree with `/` at the end";

fn from_toml<'a, D: Deserialize<'a>>(text: &'a str) -> Result<D, Complaint> {
    toml::from_str(text).map_err(|error| {
        (
            error.span().unwrap_or(0..0),
            error.message().trim_end().to_owned(),
        )
    })
}

fn known_arch(word: &toml::Spanned<String>) -> Result<Arch, Complaint> {
    Arch::ALL
        .into_iter()
        .find(|arch| arch.as_str() == word.get_ref())
        .ok_or_else(|| {
            let known = Arch::ALL.map(|arch| format!("`{arch}`")).join(", ");
            (
                word.span(),
                format!(
                    "unknown architecture `{}`, expected one of {known}",
                    word.get_ref()
                ),
            )
        })
}

fn arch_manifest(
    section: ArchDocument,
    shared: &[String],
    folder: &Path,
) -> Result<ArchManifest, Complaint> {
    let own = words(&section.packages, PACKAGE_RULE, is_package)?;
    let mut packages: Vec<String> = shared.iter().cloned().chain(own).collect();
    packages.sort_unstable();
    packages.dedup();
    Ok(ArchManifest {
        packages,
        kernel: kernel(section.kernel, folder)?,
    })
}

fn is_package(name: &str) -> bool {
    name.chars()
        .all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c))
}

fn files(
    document: BTreeMap<PathBuf, toml::Spanned<String>>,
    folder: &Path,
) -> Result<Vec<(PathBuf, PathBuf)>, Complaint> {
    let file = |(file, inside): (PathBuf, toml::Spanned<String>)| match inside.get_ref() {
        path if path.starts_with('/') && !path.contains("..") => {
            Ok((folder.join(file), PathBuf::from(path)))
        }
        path => Err((
            inside.span(),
            format!("`{path}` is not possible here: a guest's folder is an absolute path"),
        )),
    };
    document.into_iter().map(file).collect()
}

fn programs(document: ProgramsDocument, folder: &Path) -> Result<Programs, Complaint> {
    let span = document.crates.span();
    let crates = document.crates.into_inner();
    if crates.is_empty() {
        return Err((
            span,
            "name the folder of a crate here, or leave `programs` out".to_owned(),
        ));
    }
    Ok(Programs {
        crates: crates.iter().map(|path| folder.join(path)).collect(),
        compiler: words(&document.compiler, PACKAGE_RULE, is_package)?,
        libraries: words(&document.libraries, PACKAGE_RULE, is_package)?,
    })
}

fn words(
    list: &[toml::Spanned<String>],
    rule: &str,
    allowed: impl Fn(&str) -> bool,
) -> Result<Vec<String>, Complaint> {
    list.iter()
        .map(|word| match word.get_ref() {
            text if !text.is_empty() && allowed(text) => Ok(text.clone()),
            text => Err((
                word.span(),
                format!("`{text}` is not possible here: {rule}"),
            )),
        })
        .collect()
}

fn kernel(
    document: toml::Spanned<KernelDocument>,
    folder: &Path,
) -> Result<KernelSource, Complaint> {
    let span = document.span();
    match document.into_inner() {
        KernelDocument { package: Some(name), vmlinux: None, modules: None } => Ok(KernelSource::Package(name)),
        KernelDocument { package: None, vmlinux: Some(vmlinux), modules } => Ok(KernelSource::Files {
            vmlinux: folder.join(vmlinux),
            modules: modules.map(|modules| folder.join(modules)),
        }),
        _ => Err((span, "a kernel is either `{ package = \"...\" }` or `{ vmlinux = \"...\", modules = \"...\" }`".to_owned())),
    }
}

/// Line and column of a byte, from 1.
pub(crate) fn position(text: &str, byte: usize) -> (usize, usize) {
    let before = text.get(..byte).unwrap_or(text);
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    (
        before.matches('\n').count() + 1,
        before[line_start..].chars().count() + 1,
    )
}

#[cfg(test)]
impl Manifest {
    /// A small one for other modules' tests.
    pub(crate) fn example() -> Self {
        Self::parse(tests::GOOD, Path::new("/lab/images/guest.toml")).unwrap()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) const GOOD: &str = r#"
suite = "bookworm"
components = ["main"]
mirror = "http://mirror.example/debian"
overlay = "overlay"
initramfs = "initramfs"
packages = ["kmod", "busybox-static"]
exclude = ["/usr/share/doc/*"]
remove = ["/usr/lib/python3*"]
modules = ["nbd", "drivers/md/"]
boot_modules = ["virtio_blk"]
[files]
"gnbd/hooks/corosync" = "/usr/share/gnbd"
[programs]
crates = ["gnbd", "witness"]
compiler = ["cargo-web", "gcc"]
libraries = ["libc6-dev"]
[arch.x86]
kernel = { package = "linux-image-686-pae" }
[arch.x86_64]
packages = ["fio"]
kernel = { vmlinux = "../linux/vmlinux", modules = "/lib/modules/6.9.0" }
"#;

    fn complaint(text: &str) -> String {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("guest.toml");
        fs_err::write(&path, text).unwrap();
        let message = Manifest::load(&path).unwrap_err().to_string();
        message.replace(folder.path().to_str().unwrap(), "images")
    }

    #[test]
    fn reads_a_manifest() {
        let manifest = Manifest::parse(GOOD, Path::new("/images/guest.toml")).unwrap();
        assert_eq!(manifest.lock_path(), Path::new("/images/guest.lock"));
        assert_eq!(manifest.overlay, Path::new("/images/overlay"));
        assert_eq!(
            manifest.files,
            [(
                "/images/gnbd/hooks/corosync".into(),
                "/usr/share/gnbd".into()
            )]
        );
        let programs = manifest.programs.unwrap();
        assert_eq!(
            programs.crates,
            [Path::new("/images/gnbd"), Path::new("/images/witness")]
        );
        assert_eq!(
            manifest.arches[&Arch::X86].packages,
            ["busybox-static", "kmod"]
        );
        assert_eq!(
            manifest.arches[&Arch::X86_64].packages,
            ["busybox-static", "fio", "kmod"]
        );
        assert_eq!(
            manifest.arches[&Arch::X86_64].kernel,
            KernelSource::Files {
                vmlinux: "/images/../linux/vmlinux".into(),
                modules: Some("/lib/modules/6.9.0".into()),
            }
        );
    }

    #[test]
    fn a_variant_is_its_base_with_another_kernel() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            let path = folder.path().join(name);
            fs_err::write(&path, text).unwrap();
            path
        };
        let base = Manifest::load(&write("guest.toml", GOOD)).unwrap();
        let variant = "base = \"guest.toml\"\n[arch.x86]\npackages = [\"fio\"]\nkernel = { package = \"linux-image-686\" }\n";
        let path = write("guest-686.toml", variant);
        let mut expected = base.clone();
        expected.path.clone_from(&path);
        let x86 = expected.arches.get_mut(&Arch::X86).unwrap();
        x86.packages = ["busybox-static", "fio", "kmod"]
            .map(str::to_owned)
            .to_vec();
        x86.kernel = KernelSource::Package("linux-image-686".to_owned());
        assert_eq!(Manifest::load(&path).unwrap(), expected);

        let complaint = |text: &str| {
            let message = Manifest::load(&write("guest-686.toml", text)).unwrap_err();
            let message = message.to_string();
            message.replace(folder.path().to_str().unwrap(), "images")
        };
        let unknown_to_the_base = variant.replace("arch.x86]", "arch.x86_64]");
        let without_x86_64 = GOOD.split("[arch.x86_64]").next().unwrap();
        let mut wrong = vec![
            complaint(&variant.replace("base =", "suite = \"sid\"\nbase =")),
            complaint(&variant.replace("[\"fio\"]", "[\"fio;\"]")),
        ];
        write("guest.toml", without_x86_64);
        wrong.push(complaint(&unknown_to_the_base));
        write("guest.toml", &GOOD.replace("suite =", "suit ="));
        wrong.push(complaint(variant));
        insta::assert_snapshot!(wrong.join("\n"), @r"
        read the image manifest: images/guest-686.toml:1:1: unknown field `suite`, expected `base` or `arch`
        read the image manifest: images/guest-686.toml:3:13: `fio;` is not possible here: a package name consists of letters, digits, `+`, `-` and `.`
        read the image manifest: images/guest-686.toml:2:7: the base has no section `[arch.x86_64]`
        read the image manifest: images/guest.toml:2:1: unknown field `suit`, expected one of `suite`, `components`, `mirror`, `overlay`, `initramfs`, `packages`, `exclude`, `remove`, `modules`, `boot_modules`, `files`, `programs`, `arch`
        ");
    }

    #[test]
    fn says_where_a_manifest_is_wrong() {
        let wrong = [
            GOOD.replace("suite =", "suit ="),
            GOOD.replace("[\"main\"]", "\"main\""),
            GOOD.replace("arch.x86]", "arch.arm64]"),
            GOOD.replace("\"kmod\"", "\"kmod; rm\""),
            GOOD.replace("\"virtio_blk\"", "\"drivers/block/\""),
            GOOD.replace("\"/usr/share/gnbd\"", "\"usr/share/gnbd\""),
            GOOD.replace("[\"gnbd\", \"witness\"]", "[]"),
            GOOD.replace("/usr/lib/python3*", "/usr/lib/../../*"),
            GOOD.replace("libc6-dev", "libc6-dev:i386"),
            GOOD.replace(
                "{ package = \"linux-image-686-pae\" }",
                "{ modules = \"/lib/modules/6.9.0\" }",
            ),
        ];
        insta::assert_snapshot!(wrong.map(|text| complaint(&text)).join("\n"));
    }
}
