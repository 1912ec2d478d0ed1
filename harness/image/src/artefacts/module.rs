//! Kernel modules: for which kernel one is, and how it comes to be loaded.

use std::path::{Path, PathBuf};

use object::{Object as _, ObjectSection as _};
use sanlab_plan::Artefact;

use super::kernel::Modules;
use super::{Part, PartKind, elf};
use crate::build::initramfs;
use crate::build::uncompress::uncompress;
use crate::error::ImageError;
use crate::store::image::Image;

/// The module as it is loaded: kernels may have theirs compressed.
pub(crate) fn unpacked(bytes: Vec<u8>) -> Result<Vec<u8>, String> {
    let is_plain = |bytes: &[u8]| bytes.starts_with(b"\x7fELF");
    if is_plain(&bytes) {
        return Ok(bytes);
    }
    let unpacked = uncompress(&bytes).unwrap_or_default();
    if is_plain(&unpacked) {
        Ok(unpacked)
    } else {
        Err("it is no kernel module".to_owned())
    }
}

/// What a module says of itself under `key` in its section `.modinfo`, each time it does.
fn all(bytes: &[u8], key: &str) -> Vec<String> {
    let file = object::File::parse(bytes).ok();
    let section = file
        .as_ref()
        .and_then(|file| file.section_by_name(".modinfo"));
    let section = section.and_then(|section| section.data().ok());
    let words = section.unwrap_or_default().split(|byte| *byte == 0);
    let values = words.filter_map(|word| {
        let (found, value) = str::from_utf8(word).ok()?.split_once('=')?;
        (found == key).then(|| value.trim_end().to_owned())
    });
    values.collect()
}

/// What it says first.
fn said(bytes: &[u8], key: &str) -> Option<String> {
    all(bytes, key).into_iter().next()
}

/// The modules that are to be loaded before it: those that it depends on, and those that it asks for by `softdep`.
pub(crate) fn depends(bytes: &[u8]) -> Vec<String> {
    let list = said(bytes, "depends").unwrap_or_default();
    let soft = said(bytes, "softdep").unwrap_or_default();
    let before = soft.split("post:").next().unwrap_or_default();
    let before = before.strip_prefix("pre:").unwrap_or_default();
    let names = list.split(',').chain(before.split(' ')).map(str::trim);
    names
        .filter(|name| !name.is_empty())
        .map(str::to_owned)
        .collect()
}

/// The kernel that a module was built for: its release and its options.
pub(crate) fn vermagic(bytes: &[u8]) -> Option<String> {
    said(bytes, "vermagic")
}

/// Whether a guest that has booted uses it: it drives a device, or init has mounted it.
pub(crate) fn is_used_at_boot(bytes: &[u8], name: &str) -> bool {
    // `virtio:d00000001v*`, `cpu:type:x86,*`; not `fs-ocfs2`.
    let is_of_bus = |alias: &str| alias.contains(':') && !alias.starts_with("devname:");
    name == "configfs" || all(bytes, "alias").iter().any(|alias| is_of_bus(alias))
}

/// The module's name, if it is one that the image's kernel takes.
pub(crate) fn check(bytes: &[u8], from: &Path, image: &Image) -> Result<String, String> {
    match elf::arch(bytes)? {
        None => return Err("it is no kernel module".to_owned()),
        Some(arch) if arch != image.arch => return Err(elf::other(arch, image.arch)),
        Some(_) => {}
    }
    let Some(found) = vermagic(bytes) else {
        return Err("it is no kernel module: it does not say for which kernel it is".to_owned());
    };
    let release = found.split(' ').next().unwrap_or_default();
    let wanted = image.vermagic.as_deref();
    let fits = match wanted {
        Some(wanted) => wanted == found,
        // The kernel has no modules by which its options would be known.
        None => release == image.kernel_release,
    };
    if !fits {
        let wanted = wanted.unwrap_or(&image.kernel_release);
        return Err(format!(
            "it is for the kernel `{found}`, and the guest's is `{wanted}`\n  help: build it against the headers of {}, \
             or give the kernel that it is for as well",
            image.kernel_release
        ));
    }
    let of_file = Artefact::module_name(from);
    let name = said(bytes, "name").map_or_else(|| of_file.clone(), |name| name.replace('-', "_"));
    if name != of_file {
        return Err(format!(
            "it is the module {name}, and its file is called {of_file}: call the file {name}.ko"
        ));
    }
    Ok(name)
}

/// Where depmod looks before the kernel's own modules.
pub(crate) fn place(name: &str, release: &str) -> PathBuf {
    PathBuf::from(format!("usr/lib/modules/{release}/updates/{name}.ko"))
}

/// What is appended to an initramfs so that it loads these modules instead of its own: another archive, of which the kernel
/// unpacks each file over the first one's. Empty: it loads what it has.
pub(crate) fn early(
    kernel: Option<&Modules>,
    parts: &[Part],
    initramfs: &Path,
) -> Result<Vec<u8>, ImageError> {
    let own = |file: &str| {
        let name = Artefact::module_name(Path::new(file));
        let mut modules = parts.iter().filter(|part| part.kind == PartKind::Module);
        modules.find(|part| part.laid.name == name)
    };
    let bytes_of = |part: &'_ Part| part.bytes.clone();
    let archive = if let Some(kernel) = kernel {
        let boot = kernel.boot.iter();
        let modules = boot.map(|(file, bytes)| {
            let bytes = own(file).map_or_else(|| bytes.clone(), bytes_of);
            (file.clone(), bytes)
        });
        initramfs::all_modules(modules.collect())
    } else {
        let loaded = initramfs::modules(&fs_err::read(initramfs)?)?;
        let replaced = loaded.into_iter().filter_map(|file| {
            let bytes = own(&file).map(bytes_of)?;
            Some((file, bytes))
        });
        initramfs::replacements(replaced.collect())
    };
    Ok(archive?)
}

/// The script that sees that a guest's kernel takes the modules. Those that it loads for its devices it has loaded already.
pub(crate) fn setup(names: &[&str]) -> String {
    if names.is_empty() {
        return String::new();
    }
    format!(
        "{CHECK}for name in {}; do check_module $name; done\n",
        names.join(" ")
    )
}

/// Programs by their paths, since the shell would take busybox's own. What a guest had loaded before it was given the module is
/// unloaded, with what stands on it, and so is one that no device asked for: a layer loads it, with its own parameters. Not
/// every module can be.
const CHECK: &str = r#"unload_module() {
    for holder in /sys/module/$1/holders/*; do
        [ ! -e "$holder" ] || unload_module ${holder##*/} || return 1
    done
    [ ! -d /sys/module/$1 ] || /usr/sbin/rmmod $1
}
check_module() {
    file=$(/usr/sbin/modinfo -n $1) || exit 1
    case $file in
    */updates/*) ;;
    *) echo "the kernel would load $file in place of the given module $1" >&2; exit 1 ;;
    esac
    if [ -d /sys/module/$1 ]; then
        [ -n "$copied" ] || return 0
        unload_module $1 || {
            echo "the guest uses its own module $1 and cannot change to the given one" >&2
            exit 1
        }
    fi
    /usr/sbin/modprobe $1 || {
        echo "the given module $1 does not load; the kernel says:" >&2
        /usr/bin/dmesg | tail -n 8 >&2
        exit 1
    }
    /usr/sbin/modprobe -r $1 2>/dev/null || :
}
"#;
