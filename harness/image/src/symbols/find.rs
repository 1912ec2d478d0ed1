//! The files with debug information of one node's kernel: those of a kernel or module of the user's own, else what the store has.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use object::Object as _;
use object::read::{File, ReadCache};
use sanlab_plan::{Artefact, ArtefactKind};

use super::call::Call;
use super::lines::{self, Found};
use crate::build::vmlinux;
use crate::error::ImageError;
use crate::store::held::Held;
use crate::store::image::Image;
use crate::store::{Kind, Store};

/// What the kernel's own file is called in an entry of the store.
pub(super) const VMLINUX: &str = "vmlinux";

/// Where the debug information of a node's kernel and modules is.
#[derive(Debug, Default)]
pub struct Symbols {
    kernel: Option<PathBuf>,
    /// By their names.
    modules: BTreeMap<String, PathBuf>,
    /// A folder with all others, by `NAME.ko`.
    others: Option<Held>,
}

impl Symbols {
    /// Those of a node that boots `image` with these artefacts: in the kernel's tree or folder and in the modules that were given, else
    /// in the store. A kernel's file with another build ID than what is booted is left out.
    pub fn find<'a>(
        image: &Image,
        artefacts: impl IntoIterator<Item = &'a Artefact>,
        store: &Store,
    ) -> Result<Self, ImageError> {
        let mut symbols = Self::default();
        let booted = build_id_of(image)?;
        let artefacts: Vec<&Artefact> = artefacts.into_iter().collect();
        let own = |one: &&&Artefact| {
            matches!(one.kind, ArtefactKind::Kernel { .. }) && one.image().is_none()
        };
        if let Some(kernel) = artefacts.iter().find(own) {
            symbols.of_tree(&kernel.from, &image.kernel_release, booted.as_deref())?;
        } else if let Some(key) = &booted
            && let Some(held) = store.hold(Kind::Symbols, &hex::encode(key))?
        {
            symbols.kernel = Some(held.path().join(VMLINUX));
            symbols.others = Some(held);
        }
        let modules = artefacts
            .iter()
            .filter(|one| one.kind == ArtefactKind::Module);
        for module in modules {
            let name = Artefact::module_name(&module.from);
            symbols.modules.insert(name, module.from.clone());
        }
        Ok(symbols)
    }

    /// The kernel's file, for a debugger.
    pub fn kernel(&self) -> Option<&Path> {
        self.kernel.as_deref()
    }

    /// For each call its files and lines, innermost first: that of the function, after those of functions that are inlined there.
    /// Nothing for a call whose function is not known, or known in another size. Blocks while files are read.
    pub fn lines(&self, calls: &[Call]) -> Result<Vec<Vec<String>>, ImageError> {
        let mut lines = vec![Vec::new(); calls.len()];
        let mut by_module: BTreeMap<Option<&str>, Vec<usize>> = BTreeMap::new();
        // The kernel comes first: it tells where its modules were built.
        by_module.entry(None).or_default();
        for (place, call) in calls.iter().enumerate() {
            let module = call.module.as_deref();
            by_module.entry(module).or_default().push(place);
        }
        let mut built_in = None;
        for (module, places) in by_module {
            let wanted: Vec<&Call> = places.iter().map(|place| &calls[*place]).collect();
            let found = match module {
                None => match &self.kernel {
                    Some(kernel) => lines::of_kernel(kernel, &wanted)?,
                    None => Found::default(),
                },
                // One odd file of a module hides no other's lines.
                Some(name) => self.module(name).map_or_else(Found::default, |path| {
                    let found = lines::of_module(&path, &wanted, built_in.as_deref());
                    found.unwrap_or_else(|error| {
                        tracing::warn!(%error, "no source lines of a module");
                        Found::default()
                    })
                }),
            };
            built_in = built_in.or(found.built_in);
            for (place, found) in places.into_iter().zip(found.places) {
                lines[place] = found;
            }
        }
        Ok(lines)
    }

    fn module(&self, name: &str) -> Option<PathBuf> {
        let name = name.replace('-', "_");
        if let Some(path) = self.modules.get(&name) {
            return Some(path.clone());
        }
        let path = self.others.as_ref()?.path().join(format!("{name}.ko"));
        path.is_file().then_some(path)
    }

    /// Those of a kernel that the user gave: a built tree, an installed kernel with or without `usr/lib/debug`, or its file alone.
    fn of_tree(
        &mut self,
        from: &Path,
        release: &str,
        booted: Option<&[u8]>,
    ) -> Result<(), ImageError> {
        let debug = from.join("usr/lib/debug");
        let places = [
            from.to_owned(),
            from.join(VMLINUX),
            debug.join("boot").join(format!("vmlinux-{release}")),
            debug.join("lib/modules").join(release).join(VMLINUX),
            from.join("boot").join(format!("vmlinux-{release}")),
        ];
        for path in places.into_iter().filter(|path| path.is_file()) {
            if is_of_kernel(&path, booted)? {
                self.kernel = Some(path);
                break;
            }
        }
        let installed = ["usr/lib/modules", "lib/modules"].map(|it| from.join(it).join(release));
        let folders = std::iter::once(from.to_owned()).chain(installed);
        for folder in folders {
            let Ok(order) = fs_err::read_to_string(folder.join("modules.order")) else {
                continue;
            };
            for line in order.lines() {
                let line = Path::new(line).with_extension("ko");
                let in_tree = line.strip_prefix("kernel").unwrap_or(&line);
                let places = [
                    debug.join("lib/modules").join(release).join(&line),
                    folder.join(in_tree),
                    folder.join(&line),
                ];
                if let Some(path) = places.into_iter().find(|path| path.is_file()) {
                    self.modules.insert(Artefact::module_name(&path), path);
                }
            }
        }
        Ok(())
    }
}

/// Whether a file has debug information of the kernel with that build ID; of one that has none, of any.
pub(super) fn is_of_kernel(path: &Path, booted: Option<&[u8]>) -> Result<bool, ImageError> {
    let cache = ReadCache::new(fs_err::File::open(path)?.into_parts().0);
    let Ok(file) = File::parse(&cache) else {
        // A bzImage.
        return Ok(false);
    };
    let found = file.build_id().ok().flatten();
    let differs = matches!((found, booted), (Some(found), Some(booted)) if found != booted);
    Ok(!differs && file.section_by_name(".debug_info").is_some())
}

/// The build ID of the kernel that an image boots.
pub(super) fn build_id_of(image: &Image) -> Result<Option<Vec<u8>>, ImageError> {
    let bytes = vmlinux::extract(fs_err::read(&image.kernel)?, &image.kernel)?;
    Ok(build_id(&bytes))
}

/// The build ID of an ELF file.
fn build_id(bytes: &[u8]) -> Option<Vec<u8>> {
    let file = File::parse(bytes).ok()?;
    file.build_id().ok().flatten().map(<[u8]>::to_vec)
}

/// Whether it is a module's file.
pub(super) fn is_module(path: &Path) -> bool {
    path.extension() == Some(OsStr::new("ko"))
}
