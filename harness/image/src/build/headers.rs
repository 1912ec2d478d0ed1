//! The headers of an image's kernels, which modules for its guests are compiled with.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use sanlab_plan::{Arch, quote};

use crate::build::mmdebstrap::{self, Argv, Isolation};
use crate::build::progress::Phase;
use crate::error::{ImageError, Product};
use crate::manifest::lock::Lock;
use crate::manifest::{KernelSource, Manifest};

/// The text of the hook that unpacks them, without its settings.
const HOOK: &str = include_str!("headers.sh");

/// What mmdebstrap prints when a phase begins.
const MARKS: [(&str, Phase); 1] = [("I: running apt-get update", Phase::Download)];

/// What modules for one kernel are compiled with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Headers {
    /// The architecture of its guests.
    pub arch: Arch,
    /// Such as `6.1.0-50-amd64`.
    pub kernel_release: String,
    /// For `make -C`.
    pub folder: PathBuf,
    /// The version of the kernel's packages.
    version: String,
}

impl Headers {
    /// Of the kernel that the lock names; they will be in `folder`.
    fn of(manifest: &Manifest, arch: Arch, folder: &Path) -> Result<Self, ImageError> {
        let refused = |reason: &str| ImageError::Headers {
            path: manifest.path.clone(),
            arch,
            reason: reason.to_owned(),
        };
        let Some(section) = manifest.arches.get(&arch) else {
            return Err(refused("it has no image for that architecture"));
        };
        if let KernelSource::Files { .. } = section.kernel {
            return Err(refused(
                "its kernel is not a package\n  help: compile modules in the tree that the kernel was built in",
            ));
        }
        let lock = Lock::load(&manifest.lock_path())?;
        let packages = lock.products.get(&Product::Image(arch));
        let mut kernels = packages.into_iter().flatten().filter_map(|package| {
            let release = package.name.strip_prefix("linux-image-")?;
            release
                .starts_with(|first: char| first.is_ascii_digit())
                .then(|| Self {
                    arch,
                    kernel_release: release.to_owned(),
                    folder: folder.join(arch.as_str()),
                    version: package.version.clone(),
                })
        });
        kernels.next().ok_or_else(|| {
            refused("no package of a kernel is locked\n  help: `sanlab image build --update-lock` records one")
        })
    }
}

/// Unpacks what modules for the image's kernels are compiled with into `folder`, which must not exist: from Debian's
/// packages, in the versions of the image's lock. Blocking.
pub fn headers(
    manifest: &Manifest,
    archs: &[Arch],
    folder: &Path,
    on_phase: impl Fn(Phase),
) -> Result<Vec<Headers>, ImageError> {
    let found: Vec<Headers> = archs
        .iter()
        .map(|&arch| Headers::of(manifest, arch, folder))
        .collect::<Result<_, _>>()?;
    if folder.exists() {
        return Err(ImageError::FolderExists(folder.to_owned()));
    }
    fs_err::create_dir_all(folder)?;
    let isolation = Isolation::of_this_process();
    let mirror = manifest.mirror();
    let whole = fs_err::canonicalize(folder)?;
    let unpacked = mmdebstrap::run(
        &argv(manifest, mirror.as_deref(), isolation, &whole),
        environment(&found),
        isolation,
        &whole,
        (manifest, Product::Headers),
        &MARKS,
        on_phase,
    );
    if let Err(error) = unpacked {
        fs_err::remove_dir_all(folder)?;
        return Err(error.while_building(Product::Headers, folder));
    }
    Ok(found)
}

/// mmdebstrap's command line. Results are left in `out`.
fn argv(
    manifest: &Manifest,
    mirror: Option<&str>,
    isolation: Isolation,
    out: &Path,
) -> Vec<OsString> {
    // Nothing is installed: the packages are unpacked beside the root.
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
fn environment(kernels: &[Headers]) -> [(&'static str, String); 1] {
    let line = |kernel: &Headers| {
        let Headers {
            arch,
            kernel_release,
            version,
            ..
        } = kernel;
        format!("{arch} {} {kernel_release} {version}", arch.debian())
    };
    let lines: Vec<String> = kernels.iter().map(line).collect();
    let kernels = quote(&lines.join("\n"));
    [("SANLAB_HOOK", format!("kernels={kernels}\n{HOOK}"))]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bookworm() -> Manifest {
        let images = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../images");
        Manifest::load(&images.join("debian-bookworm.toml")).unwrap()
    }

    #[test]
    fn the_locked_kernels_headers_are_wanted() {
        let found = Headers::of(&bookworm(), Arch::X86, Path::new("headers")).unwrap();
        assert!(found.kernel_release.ends_with("-686-pae"), "{found:?}");
        assert_eq!(found.folder, Path::new("headers/x86"));
        let [(_, hook)] = environment(std::slice::from_ref(&found));
        let Headers {
            kernel_release,
            version,
            ..
        } = &found;
        let settings = format!("kernels='x86 i386 {kernel_release} {version}'\n");
        assert_eq!(hook.strip_suffix(HOOK), Some(settings.as_str()));
    }

    #[test]
    fn command_line() {
        let manifest = Manifest::example();
        let argv = argv(
            &manifest,
            None,
            Isolation::MappedUser,
            Path::new("/home/me/he'aders"),
        );
        let words: Vec<_> = argv.iter().map(|word| word.to_string_lossy()).collect();
        insta::assert_snapshot!(words.join("\n"));
    }

    #[test]
    fn refusals_name_the_way_out() {
        let mut said = String::new();
        let mut manifest = bookworm();
        let folder = tempfile::tempdir().unwrap();
        let mut refused = |manifest: &Manifest, path: &Path| {
            let error = headers(manifest, &[Arch::X86], path, |_| ()).unwrap_err();
            let error = error.to_string();
            let error = error.replace(&manifest.path.display().to_string(), "MANIFEST");
            said += &error.replace(&folder.path().display().to_string(), "FOLDER");
            said += "\n";
        };
        refused(&manifest, folder.path());
        let new = folder.path().join("new");
        let section = manifest.arches.get_mut(&Arch::X86).unwrap();
        section.kernel = KernelSource::Files {
            vmlinux: "vmlinux".into(),
            modules: None,
        };
        refused(&manifest, &new);
        manifest.arches.remove(&Arch::X86);
        refused(&manifest, &new);
        assert!(!new.exists());
        insta::assert_snapshot!(said);
    }
}
