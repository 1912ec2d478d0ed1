//! The image that is laid over a root.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use sanlab_plan::Artefact;

use super::kernel::Modules;
use super::{Part, PartKind, deb, module};
use crate::build::child;
use crate::build::mmdebstrap::EPOCH;
use crate::error::ImageError;

/// It takes some hundredths of a second.
const DEADLINE: Duration = Duration::from_secs(60);

/// Folders that are links into `/usr` in a guest: a folder of a layer would hide the link.
const MERGED: [&str; 6] = ["bin", "sbin", "lib", "lib32", "lib64", "libx32"];

/// Where a guest's path is in a layer.
pub(crate) fn place(path: &str) -> PathBuf {
    let inside = path.trim_start_matches('/');
    let first = inside.split('/').next().unwrap_or_default();
    if MERGED.contains(&first) {
        Path::new("usr").join(inside)
    } else {
        PathBuf::from(inside)
    }
}

/// A file of a layer: its path, its mode, and its bytes.
pub(crate) type File<'a> = (PathBuf, u32, &'a [u8]);

/// What goes in: the modules of a kernel, and the artefacts.
///
/// Where the image has modules of that release itself (`same_release`), those of the kernel lie where depmod looks before its
/// own. A module among the artefacts takes the place of the kernel's.
pub(crate) fn files<'a>(
    modules: Option<&'a Modules>,
    release: &str,
    same_release: bool,
    parts: &'a [Part],
) -> Vec<File<'a>> {
    let folder = PathBuf::from(format!("usr/lib/modules/{release}"));
    let is_replaced = |path: &Path| {
        let name = Artefact::module_name(path);
        let mut given = parts.iter().filter(|part| part.kind == PartKind::Module);
        path.starts_with("kernel") && given.any(|part| part.laid.name == name)
    };
    let modules = modules.into_iter().flat_map(|modules| &modules.files);
    let modules = modules.filter(|(path, _)| !is_replaced(path));
    let modules = modules.map(|(path, bytes)| {
        let is_module = path.starts_with("kernel");
        let below = if same_release && is_module {
            folder.join("updates")
        } else {
            folder.clone()
        };
        (below.join(path), 0o644, bytes.as_slice())
    });
    let parts = parts
        .iter()
        .map(|part| (part.place.clone(), part.mode, part.bytes.as_slice()));
    modules.chain(parts).collect()
}

/// Writes the image to `out`; `tree` is an empty folder for its files.
pub(crate) fn write(files: &[File<'_>], tree: &Path, out: &Path) -> Result<(), ImageError> {
    fs_err::set_permissions(tree, Permissions::from_mode(0o755))?;
    for (place, mode, bytes) in files {
        let mut folder = tree.to_owned();
        for name in place.parent().into_iter().flatten() {
            folder.push(name);
            if !folder.is_dir() {
                fs_err::create_dir(&folder)?;
                fs_err::set_permissions(&folder, Permissions::from_mode(0o755))?;
            }
        }
        let path = tree.join(place);
        fs_err::write(&path, bytes)?;
        fs_err::set_permissions(&path, Permissions::from_mode(*mode))?;
    }
    let mut command = Command::new("mkfs.erofs");
    command
        .args(["--quiet", "-x-1", "--all-root", "-T", EPOCH])
        .args(["-U", "5a41b1ab-0000-4000-8000-000000000002"])
        .arg(out)
        .arg(tree);
    let failed = |reason: String| ImageError::Artefact {
        artefact: "the artefacts".to_owned(),
        reason: format!("mkfs.erofs {reason}"),
    };
    let ended = child::run(command, DEADLINE, |line| tracing::debug!("{line}"))
        .map_err(|error| failed(format!("cannot be started: {error}")))?;
    match ended.status {
        Some(status) if status.success() => Ok(()),
        Some(status) => Err(failed(format!(
            "ended with {status}: {}",
            ended.tail.join("\n")
        ))),
        None => Err(failed(format!("has not ended after {DEADLINE:?}"))),
    }
}

/// The script by which a guest takes a layer into use. It has laid it over its root by then.
pub(crate) fn setup(parts: &[Part]) -> String {
    let mut script = deb::setup(parts);
    // A library is found by the cache of the loader.
    let is_library = |part: &Part| part.kind == PartKind::File && part.place.starts_with("usr/lib");
    if parts.iter().any(is_library) {
        script += "/usr/sbin/ldconfig\n";
    }
    let modules = parts.iter().filter(|part| part.kind == PartKind::Module);
    let names: Vec<&str> = modules.map(|part| part.laid.name.as_str()).collect();
    script + &module::setup(&names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_of_a_guests_root_are_followed() {
        for (path, inside) in [
            ("/usr/bin/nbdkit", "usr/bin/nbdkit"),
            ("/sbin/mkfs.ocfs2", "usr/sbin/mkfs.ocfs2"),
            ("/lib/modules/6.1/x.ko", "usr/lib/modules/6.1/x.ko"),
            ("/etc/x", "etc/x"),
            ("/libexec/x", "libexec/x"),
        ] {
            assert_eq!(place(path), Path::new(inside));
        }
    }
}
