//! The digest under which an image is stored: it covers everything that goes in, so it never has to be checked again.

use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use sanlab_plan::Arch;
use sha2::{Digest as _, Sha256};

use crate::error::ImageError;
use crate::manifest::guest_files::{Kind, read_tree};
use crate::manifest::lock_diff::LockedPackage;
use crate::manifest::sources::Sources;
use crate::manifest::{KernelSource, Manifest, Programs};

/// How an image is built from the same inputs: a digest of the sources that do it, made by this crate's build script.
const BUILDER: &str = env!("IMAGE_BUILDER");

/// The same of programs.
const PROGRAMS_BUILDER: &str = env!("PROGRAMS_BUILDER");

/// Fields with their lengths, so that no two lists of fields look alike.
#[derive(Default)]
pub(crate) struct Fields(Sha256);

impl Fields {
    fn add(&mut self, field: impl AsRef<[u8]>) {
        let field = field.as_ref();
        self.0.update((field.len() as u64).to_le_bytes());
        self.0.update(field);
    }

    pub(crate) fn add_all<T: AsRef<[u8]>>(
        &mut self,
        name: &str,
        fields: impl IntoIterator<Item = T>,
    ) {
        self.add(name);
        for field in fields {
            self.add(field);
        }
    }

    fn add_packages(&mut self, packages: &[LockedPackage]) {
        for package in packages {
            self.add_all(
                "package",
                [
                    &package.name,
                    &package.version,
                    &package.architecture,
                    &package.sha256,
                ],
            );
        }
    }

    pub(crate) fn hex(self) -> String {
        hex::encode(self.0.finalize())
    }
}

/// Hex SHA-256 over what the guests' programs are compiled from, and by what.
pub(crate) fn programs_key(
    manifest: &Manifest,
    programs: &Programs,
    compiler: &[LockedPackage],
    sources: &Sources,
) -> String {
    let mut fields = Fields::default();
    fields.add_all("builder", [PROGRAMS_BUILDER]);
    fields.add_all("suite", [&manifest.suite]);
    fields.add_all("components", &manifest.components);
    fields.add_all("packages", &programs.compiler);
    fields.add_all("libraries", &programs.libraries);
    fields.add_packages(compiler);
    for (path, bytes) in &sources.files {
        fields.add_all("source", [path.as_os_str().as_bytes(), bytes]);
    }
    fields.hex()
}

/// Hex SHA-256 over the manifest's part for `arch`, the locked packages, our guest files and this builder.
/// The mirror is left out: the lock says what comes from it. `programs` is the key of those that go in.
pub(crate) fn key(
    manifest: &Manifest,
    arch: Arch,
    packages: &[LockedPackage],
    programs: Option<&str>,
) -> Result<String, ImageError> {
    let mut fields = Fields::default();
    fields.add_all("builder", [BUILDER, arch.as_str()]);
    fields.add_all("suite", [&manifest.suite]);
    fields.add_all("components", &manifest.components);
    fields.add_all("exclude", &manifest.exclude);
    fields.add_all("remove", &manifest.remove);
    fields.add_all("modules", &manifest.modules);
    fields.add_all("boot modules", &manifest.boot_modules);
    let section = &manifest.arches[&arch];
    fields.add_all("packages", &section.packages);
    match &section.kernel {
        KernelSource::Package(name) => fields.add_all("kernel package", [name]),
        KernelSource::Files { vmlinux, modules } => {
            fields.add_all("kernel files", [stamp(vmlinux)?]);
            if let Some(modules) = modules {
                add_stamps(&mut fields, modules)?;
            }
        }
    }
    fields.add_packages(packages);
    for (name, tree) in [
        ("overlay", &manifest.overlay),
        ("initramfs", &manifest.initramfs),
    ] {
        fields.add(name);
        for file in read_tree(tree)? {
            fields.add(file.path.as_os_str().as_bytes());
            match file.kind {
                Kind::Folder => fields.add("folder"),
                Kind::Link { target } => fields.add_all("link", [target.as_os_str().as_bytes()]),
                Kind::File { bytes, executable } => {
                    fields.add_all(if executable { "program" } else { "file" }, [bytes]);
                }
            }
        }
    }
    for (file, folder) in &manifest.files {
        let executable = fs_err::metadata(file)?.mode() & 0o100 != 0;
        fields.add_all(
            if executable { "program" } else { "file" },
            [
                folder.as_os_str().as_bytes(),
                file.file_name().unwrap_or_default().as_bytes(),
                &fs_err::read(file)?,
            ],
        );
    }
    fields.add_all("programs", programs);
    Ok(fields.hex())
}

/// A user's kernel is large and often rebuilt in place: path, size and time of change stand for its content.
fn stamp(path: &Path) -> Result<String, ImageError> {
    let meta = fs_err::metadata(path)?;
    Ok(format!(
        "{} {} {}.{:09}",
        path.display(),
        meta.len(),
        meta.mtime(),
        meta.mtime_nsec()
    ))
}

fn add_stamps(fields: &mut Fields, folder: &Path) -> Result<(), ImageError> {
    let mut entries = fs_err::read_dir(folder)?.collect::<Result<Vec<_>, _>>()?;
    entries.sort_unstable_by_key(fs_err::DirEntry::file_name);
    for entry in entries {
        let file_type = entry.file_type()?;
        if file_type.is_dir() {
            add_stamps(fields, &entry.path())?;
        } else if file_type.is_file() {
            fields.add(stamp(&entry.path())?);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    const MANIFEST: &str = r#"
suite = "bookworm"
components = ["main"]
mirror = "http://mirror.example/debian"
overlay = "overlay"
initramfs = "initramfs"
packages = ["kmod"]
modules = ["nbd"]
boot_modules = ["virtio_blk"]
[arch.x86]
kernel = { package = "linux-image-686-pae" }
[arch.x86_64]
kernel = { vmlinux = "vmlinux", modules = "6.9.0" }
"#;

    fn locked(version: &str) -> Vec<LockedPackage> {
        vec![LockedPackage {
            name: "kmod".into(),
            version: version.into(),
            architecture: "i386".into(),
            sha256: "aa".into(),
        }]
    }

    struct Images(tempfile::TempDir);

    impl Images {
        fn new() -> Self {
            let images = Self(tempfile::tempdir().unwrap());
            for folder in ["overlay", "initramfs", "6.9.0"] {
                fs_err::create_dir(images.0.path().join(folder)).unwrap();
            }
            images.write("vmlinux", "elf");
            images.write("overlay/rc", "#!/bin/sh");
            images
        }

        fn write(&self, path: &str, text: &str) {
            fs_err::write(self.0.path().join(path), text).unwrap();
        }

        fn key(&self, manifest: &str, arch: Arch, version: &str) -> String {
            self.write("guest.toml", manifest);
            let manifest = Manifest::load(&self.0.path().join("guest.toml")).unwrap();
            key(&manifest, arch, &locked(version), None).unwrap()
        }
    }

    #[test]
    fn covers_what_goes_in_and_nothing_else() {
        let images = Images::new();
        let key = images.key(MANIFEST, Arch::X86, "30");
        assert_eq!(key.len(), 64);
        let same = [
            MANIFEST.replace("mirror.example", "other.example"),
            MANIFEST.replace("suite =", "# a comment\nsuite ="),
            MANIFEST.replace("vmlinux = \"vmlinux\"", "vmlinux = \"other\""),
        ];
        for manifest in same {
            assert_eq!(images.key(&manifest, Arch::X86, "30"), key, "{manifest}");
        }
        let other = [
            MANIFEST.replace("[\"kmod\"]", "[\"kmod\", \"fio\"]"),
            MANIFEST.replace("[\"nbd\"]", "[\"nbd\", \"drbd\"]"),
            MANIFEST.replace(
                "[\"nbd\"]\nboot_modules = [\"virtio_blk\"]",
                "[]\nboot_modules = [\"nbd\", \"virtio_blk\"]",
            ),
            MANIFEST.replace("686-pae", "686"),
            MANIFEST.replace("bookworm", "trixie"),
        ];
        for manifest in other {
            assert_ne!(images.key(&manifest, Arch::X86, "30"), key, "{manifest}");
        }
        assert_ne!(images.key(MANIFEST, Arch::X86, "31"), key);
    }

    #[test]
    fn covers_the_files_of_ours() {
        let images = Images::new();
        let key = || images.key(MANIFEST, Arch::X86, "30");
        let mut seen = vec![key()];
        images.write("overlay/rc", "#!/bin/bash");
        seen.push(key());
        let rc = images.0.path().join("overlay/rc");
        fs_err::set_permissions(rc, Permissions::from_mode(0o755)).unwrap();
        seen.push(key());
        images.write("initramfs/init", "#!/bin/sh");
        seen.push(key());
        let distinct: std::collections::BTreeSet<_> = seen.iter().collect();
        assert_eq!(distinct.len(), seen.len());
    }

    #[test]
    fn covers_programs_and_files_from_elsewhere() {
        let images = Images::new();
        let key = |programs| {
            let manifest =
                MANIFEST.replace("[arch.x86]", "[files]\nhook = \"/usr/share\"\n[arch.x86]");
            images.write("guest.toml", &manifest);
            let manifest = Manifest::load(&images.0.path().join("guest.toml")).unwrap();
            key(&manifest, Arch::X86, &locked("30"), programs).unwrap()
        };
        images.write("hook", "#!/bin/sh");
        let mut seen = vec![key(None), key(Some("00ff")), key(Some("00fe"))];
        images.write("hook", "#!/bin/bash");
        seen.push(key(None));
        let hook = images.0.path().join("hook");
        fs_err::set_permissions(hook, Permissions::from_mode(0o755)).unwrap();
        seen.push(key(None));
        let distinct: std::collections::BTreeSet<_> = seen.iter().collect();
        assert_eq!(distinct.len(), seen.len());
    }

    #[test]
    fn a_key_of_programs_covers_sources_and_compiler() {
        let manifest = Manifest::example();
        let programs = manifest.programs.clone().unwrap();
        let sources = |text: &str| Sources {
            files: [("gnbd/src/main.rs".into(), text.into())].into(),
            vendored: None,
        };
        let key = |programs: &Programs, compiler: &str, text: &str| {
            programs_key(&manifest, programs, &locked(compiler), &sources(text))
        };
        let before = key(&programs, "1.85", "fn main() {}");
        assert_eq!(key(&programs, "1.85", "fn main() {}"), before);
        assert_ne!(key(&programs, "1.85", "fn main() { }"), before);
        assert_ne!(key(&programs, "1.96", "fn main() {}"), before);
        for other in [
            Programs {
                compiler: vec!["rustc".into()],
                ..programs.clone()
            },
            Programs {
                libraries: vec![],
                ..programs.clone()
            },
        ] {
            assert_ne!(key(&other, "1.85", "fn main() {}"), before);
        }
        // Where the crates stand is no matter.
        let moved = Programs {
            crates: vec!["/elsewhere".into()],
            ..programs.clone()
        };
        assert_eq!(key(&moved, "1.85", "fn main() {}"), before);
    }

    #[test]
    fn covers_a_users_kernel() {
        let images = Images::new();
        let key = || images.key(MANIFEST, Arch::X86_64, "30");
        let before = key();
        images.write("6.9.0/nbd.ko", "module");
        let with_module = key();
        assert_ne!(with_module, before);
        images.write("vmlinux", "a larger elf");
        assert_ne!(key(), with_module);
    }
}
