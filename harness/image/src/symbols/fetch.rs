//! The debug symbols of an image's own kernel, from the distribution's package of them, in the store.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use sanlab_plan::{Arch, Artefact, quote};
use serde::Serialize;

use super::find::{VMLINUX, build_id_of, is_module, is_of_kernel};
use crate::build::host_tools::missing_host_tools;
use crate::build::initramfs;
use crate::build::mmdebstrap::{self, Argv, Isolation};
use crate::build::progress::Phase;
use crate::error::{ImageError, Product};
use crate::manifest::{KernelSource, Manifest};
use crate::store::held::Held;
use crate::store::image::{Image, MODULES};
use crate::store::{Kind, Store};

/// The text of the hook that unpacks them, without its settings.
const HOOK: &str = include_str!("symbols.sh");

/// What mmdebstrap prints when a phase begins.
const MARKS: [(&str, Phase); 1] = [("I: running apt-get update", Phase::Download)];

/// Debug symbols of a kernel that are in the store.
#[derive(Debug)]
pub struct DebugFiles {
    /// The architecture of its guests.
    pub arch: Arch,
    /// Such as `6.1.0-50-amd64`.
    pub kernel_release: String,
    /// How many of its modules have theirs, too.
    pub modules: usize,
    /// What all files take.
    pub bytes: u64,
    /// The folder with `vmlinux` and `MODULE.ko`.
    pub folder: PathBuf,
    /// It stays while this lives.
    _held: Held,
}

#[derive(Serialize)]
struct Label<'a> {
    about: &'a str,
}

/// Fetches the debug symbols of an image's own kernel, and of those of its modules that guests have, unless the store has them. Blocking.
pub fn debug_files(
    store: &Store,
    manifest: &Manifest,
    image: &Image,
    on_phase: impl Fn(Phase),
) -> Result<DebugFiles, ImageError> {
    let refused = |reason: &str| ImageError::Symbols {
        path: manifest.path.clone(),
        arch: image.arch,
        reason: reason.to_owned(),
    };
    let section = manifest.arches.get(&image.arch);
    if section.is_some_and(|section| matches!(section.kernel, KernelSource::Files { .. })) {
        return Err(refused(
            "its kernel is not a package\n  help: give the tree that it was built in with `--kernel`: its own `vmlinux` has them",
        ));
    }
    let release = &image.kernel_release;
    let name = format!("linux-image-{release}");
    let mut packages = image.packages.iter();
    let package = packages
        .find(|package| package.name == name)
        .ok_or_else(|| refused(&format!("its kernel is of no package {name}")))?;
    let wanted = build_id_of(image)?.ok_or_else(|| refused("its kernel has no build ID"))?;
    let key = hex::encode(&wanted);
    if let Some(held) = store.hold(Kind::Symbols, &key)? {
        return DebugFiles::of(held, image);
    }
    if let missing @ [_, ..] = missing_host_tools().as_slice() {
        let tools = missing.to_vec();
        return Err(ImageError::MissingTools { tools });
    }
    let claim = store.claim(Kind::Symbols, &key, |_| ())?;
    if let Some(held) = store.hold(Kind::Symbols, &key)? {
        return DebugFiles::of(held, image);
    }
    let stored = |error: ImageError| error.while_building(Product::Symbols, store.root());
    let out = claim.workspace()?;
    let isolation = Isolation::of_this_process();
    let mirror = manifest.mirror();
    mmdebstrap::run(
        &argv(manifest, mirror.as_deref(), isolation, out.path()),
        environment(
            &format!("{name}-dbg:{}={}", image.arch.debian(), package.version),
            &modules_of(image)?,
        ),
        isolation,
        out.path(),
        (manifest, Product::Symbols),
        &MARKS,
        on_phase,
    )
    .map_err(stored)?;
    let entry = claim.workspace()?;
    let mut files = BTreeMap::new();
    unpacked(out.path(), &mut files).map_err(|error| stored(error.into()))?;
    for (name, path) in &files {
        fs_err::rename(path, entry.path().join(name))?;
    }
    let kernel = entry.path().join(VMLINUX);
    if !kernel.is_file() {
        return Err(refused(&format!("{name}-dbg has no {VMLINUX}")));
    }
    if !is_of_kernel(&kernel, Some(&wanted)).map_err(stored)? {
        return Err(refused(&format!(
            "{name}-dbg is of another build than the kernel that guests boot: their build IDs differ"
        )));
    }
    let about = format!("{release} ({})", image.arch);
    let held = entry.publish(&Label { about: &about }).map_err(stored)?;
    DebugFiles::of(held, image)
}

impl DebugFiles {
    fn of(held: Held, image: &Image) -> Result<Self, ImageError> {
        let (mut modules, mut bytes) = (0, 0);
        for found in fs_err::read_dir(held.path())? {
            let found = found?;
            bytes += found.metadata()?.len();
            modules += usize::from(is_module(&found.path()));
        }
        Ok(Self {
            arch: image.arch,
            kernel_release: image.kernel_release.clone(),
            modules,
            bytes,
            folder: held.path().to_owned(),
            _held: held,
        })
    }
}

/// The modules that guests of the image may load, by their paths below `lib/modules/RELEASE`.
fn modules_of(image: &Image) -> Result<Vec<PathBuf>, ImageError> {
    let missing = || ImageError::Stored {
        digest: image.digest.clone(),
    };
    let held = image.hold()?.ok_or_else(missing)?;
    let files = initramfs::unpack_files(&fs_err::read(held.path().join(MODULES))?)?;
    let modules = files.into_keys().filter(|path| is_module(path));
    Ok(modules.collect())
}

/// The files in a folder that mmdebstrap has left there, by the names that they have in the store.
fn unpacked(folder: &Path, files: &mut BTreeMap<String, PathBuf>) -> std::io::Result<()> {
    for found in fs_err::read_dir(folder)? {
        let found = found?;
        let (kind, path) = (found.file_type()?, found.path());
        if kind.is_dir() {
            unpacked(&path, files)?;
        } else if kind.is_file() && is_module(&path) {
            files.insert(format!("{}.ko", Artefact::module_name(&path)), path);
        } else if kind.is_file() {
            let name = found.file_name();
            if name.to_string_lossy().starts_with(VMLINUX) {
                files.insert(VMLINUX.to_owned(), path);
            }
        }
    }
    Ok(())
}

/// mmdebstrap's command line. Results are left in `out`.
fn argv(
    manifest: &Manifest,
    mirror: Option<&str>,
    isolation: Isolation,
    out: &Path,
) -> Vec<OsString> {
    // Nothing is installed: the package is unpacked beside the root.
    let mut argv = Argv::new(isolation, "custom", "amd64,i386");
    argv.add([
        "--extract-hook=sh -c \"$SANLAB_HOOK\" hook \"$1\"".to_owned(),
        format!(
            "--extract-hook=sync-out /sanlab/out {}",
            quote(&out.to_string_lossy())
        ),
    ]);
    argv.end(manifest, mirror)
}

/// What the command line refers to: the hook's text.
fn environment(package: &str, modules: &[PathBuf]) -> [(&'static str, String); 1] {
    let below = |path: &PathBuf| format!("./usr/lib/debug/*/{}", path.display());
    let kernel = ["./usr/lib/debug/*vmlinux*".to_owned()];
    let members: Vec<String> = kernel
        .into_iter()
        .chain(modules.iter().map(below))
        .collect();
    let (package, members) = (quote(package), quote(&members.join("\n")));
    let text = format!("package={package}\nmembers={members}\n{HOOK}");
    [("SANLAB_HOOK", text)]
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::os::unix::fs::PermissionsExt as _;
    use std::process::Command;

    use super::*;

    #[test]
    fn the_package_and_what_is_wanted_of_it() {
        let [(_, hook)] = environment(
            "linux-image-6.1-dbg:amd64=6.1-1",
            &["kernel/fs/ocfs2/ocfs2.ko".into()],
        );
        insta::assert_snapshot!(hook.strip_suffix(HOOK).unwrap(), @r"
        package='linux-image-6.1-dbg:amd64=6.1-1'
        members='./usr/lib/debug/*vmlinux*
        ./usr/lib/debug/*/kernel/fs/ocfs2/ocfs2.ko'
        ");
    }

    #[test]
    fn only_modules_without_symbols_are_no_mistake() {
        let folder = tempfile::tempdir().unwrap();
        let program = |name: &str, text: &str| {
            let path = folder.path().join(name);
            fs_err::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
            fs_err::set_permissions(path, Permissions::from_mode(0o755)).unwrap();
        };
        program("apt-get", "echo >package.deb");
        program("dpkg-deb", "exit 0");
        let path = std::env::var("PATH").unwrap();
        let path = format!("{}:{path}", folder.path().display());
        let [(_, hook)] = environment("linux-image-6.1-dbg:amd64=6.1-1", &[]);
        let unpacks = |complaint: &str| {
            program(
                "tar",
                &format!(
                    "echo 'tar: ./x.ko: {complaint}' >&2\necho 'tar: Exiting with failure status due to previous errors' >&2\nexit 2"
                ),
            );
            let mut shell = Command::new("sh");
            shell.args(["-c", &hook, "hook"]).arg(folder.path());
            shell.envs([("PATH", path.as_str()), ("MMDEBSTRAP_APT_CONFIG", "none")]);
            shell.output().unwrap().status.success()
        };
        assert!(unpacks("Not found in archive"));
        assert!(!unpacks("Cannot write: No space left on device"));
    }

    #[test]
    fn what_is_unpacked_lies_flat_in_the_store() {
        let folder = tempfile::tempdir().unwrap();
        for path in [
            "boot/vmlinux-6.1",
            "lib/modules/6.1/kernel/drivers/dm-mod.ko",
            "lib/modules/6.1/modules.order",
        ] {
            let path = folder.path().join("usr/lib/debug").join(path);
            fs_err::create_dir_all(path.parent().unwrap()).unwrap();
            fs_err::write(path, "").unwrap();
        }
        let mut files = BTreeMap::new();
        unpacked(folder.path(), &mut files).unwrap();
        let names: Vec<&str> = files.keys().map(String::as_str).collect();
        assert_eq!(names, ["dm_mod.ko", "vmlinux"]);
    }
}
