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

/// The size of a drive with artefacts, of which only what is written takes space. It is the same with and without artefacts,
/// so that a guest that runs can be given some.
pub const ARTEFACTS_BYTES: u64 = 1 << 30;

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

/// There is such a file where a layer was laid over a root.
const MARK: &str = "usr/share/sanlab/artefacts";

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
    let mark: File<'_> = (PathBuf::from(MARK), 0o444, &[]);
    modules.chain(parts).chain([mark]).collect()
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
        Some(status) if status.success() => extend(out),
        Some(status) => Err(failed(format!(
            "ended with {status}: {}",
            ended.tail.join("\n")
        ))),
        None => Err(failed(format!("has not ended after {DEADLINE:?}"))),
    }
}

/// Gives an image the size of its drive.
fn extend(image: &Path) -> Result<(), ImageError> {
    let bytes = fs_err::metadata(image)?.len();
    if bytes > ARTEFACTS_BYTES {
        return Err(ImageError::Artefact {
            artefact: "the artefacts".to_owned(),
            reason: format!(
                "together they take {} MiB, and {} are possible",
                bytes >> 20,
                ARTEFACTS_BYTES >> 20
            ),
        });
    }
    let file = fs_err::OpenOptions::new().write(true).open(image)?;
    Ok(file.set_len(ARTEFACTS_BYTES)?)
}

/// The script by which a guest takes a layer into use. One that has booted with it has it under its root already; into
/// another's root it is copied. That one has read the first page of the drive before, when it was empty.
pub(crate) fn setup(parts: &[Part]) -> String {
    let has_modules = parts.iter().any(|part| part.kind == PartKind::Module);
    let mut script = format!(
        r#"copied=
if [ ! -e /{MARK} ]; then
    for disk in /sys/block/vd*; do
        [ "$(cat $disk/serial)" != artefacts ] || drive=/dev/${{disk##*/}}
    done
    /usr/sbin/blockdev --flushbufs $drive || exit 1
    from=$(mktemp -d) || exit 1
    mount -t erofs -o ro $drive $from || exit 1
    (cd $from && find . -type f) | while read -r file; do
        mkdir -p "/${{file%/*}}" && cp -p "$from/$file" "/$file.sanlab" && mv -f "/$file.sanlab" "/$file" || exit 1
    done || exit 1
    umount $from && rmdir $from || exit 1
{}    copied=1
fi
"#,
        // Not busybox's, which knows no order of folders.
        if has_modules {
            "    /usr/sbin/depmod || exit 1
"
        } else {
            ""
        }
    );
    script += &deb::setup(parts);
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
