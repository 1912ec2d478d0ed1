//! `sanlab image build`: what `run` does by itself when the store lacks an image, on demand; `sanlab image headers` and
//! `sanlab image symbols`.

use std::collections::BTreeMap;
use std::path::PathBuf;

use sanlab_image::{DebugFiles, Manifest, Phase, Store};
use sanlab_plan::Arch;
use sanlab_report::table::Table;

use crate::lab::{self, Ensured};
use crate::lab::{bundle, host};
use crate::terminal::quantity::size;
use crate::terminal::{Terminal, print};
use crate::terminal::{interrupt, watch};
use crate::{Exit, Lab, LabError};

/// Builds the images that the store does not have yet: of the manifests with these names, or of all.
pub(crate) async fn build(
    names: &[String],
    arch: Option<Arch>,
    update_lock: bool,
) -> Result<Exit, LabError> {
    let lab = Lab::find(&std::env::current_dir()?)?;
    host::require_everything()?;
    let cancel = interrupt::cancel_on_signal("ending the build")?;
    let mut terminal = Terminal::new();
    let mut table = Table::new(&[
        "image",
        "arch",
        "kernel",
        ">packages",
        ">root MiB",
        ">seconds",
        "digest",
    ]);
    for (name, manifest) in manifests(&lab, names, update_lock)? {
        // Not every image is there for both architectures.
        let archs = match arch {
            Some(arch) => vec![arch],
            None => Manifest::load(&manifest)?.arches().collect(),
        };
        let build = move |progress: &(dyn Fn(&str) + Sync)| {
            lab::ensure(&manifest, &archs, update_lock, progress)
        };
        for Ensured { image, seconds } in
            watch::blocking(&mut terminal, &name, &cancel, build).await?
        {
            table.row([
                name.clone(),
                image.arch.to_string(),
                image.kernel_release.clone(),
                image.packages.len().to_string(),
                (image.sizes.root >> 20).to_string(),
                format!("{seconds:.1}"),
                image.digest.chars().take(12).collect(),
            ]);
        }
    }
    terminal.clear();
    print(&table.render(0))?;
    Ok(Exit::Success)
}

/// Unpacks the headers of the kernels of the image with that name.
pub(crate) async fn headers(
    name: &str,
    arch: Option<Arch>,
    folder: PathBuf,
) -> Result<Exit, LabError> {
    let lab = Lab::find(&std::env::current_dir()?)?;
    host::require_everything()?;
    let cancel = interrupt::cancel_on_signal("ending the build")?;
    let mut terminal = Terminal::new();
    let manifests = manifests(&lab, &[name.to_owned()], false)?;
    let mut table = Table::new(&["arch", "kernel", "folder"]);
    for (name, manifest) in manifests {
        let manifest = Manifest::load(&manifest)?;
        let archs = match arch {
            Some(arch) => vec![arch],
            None => manifest.arches().collect(),
        };
        let folder = folder.clone();
        let unpack = move |progress: &(dyn Fn(&str) + Sync)| {
            let progress = |phase: Phase| progress(&phase.to_string());
            Ok(sanlab_image::headers(&manifest, &archs, &folder, progress)?)
        };
        for headers in watch::blocking(&mut terminal, &name, &cancel, unpack).await? {
            table.row([
                headers.arch.to_string(),
                headers.kernel_release,
                headers.folder.display().to_string(),
            ]);
        }
    }
    terminal.clear();
    print(&table.render(0))?;
    Ok(Exit::Success)
}

/// Fetches the debug symbols of the kernels of the image with that name into the store, with the image where it is not there.
pub(crate) async fn symbols(name: &str, arch: Option<Arch>) -> Result<Exit, LabError> {
    let lab = Lab::find(&std::env::current_dir()?)?;
    host::require_everything()?;
    let cancel = interrupt::cancel_on_signal("ending the download")?;
    let mut terminal = Terminal::new();
    let mut table = Table::new(&["arch", "kernel", ">modules", ">size", "folder"]);
    for (name, path) in manifests(&lab, &[name.to_owned()], false)? {
        let manifest = Manifest::load(&path)?;
        let archs = match arch {
            Some(arch) => vec![arch],
            None => manifest.arches().collect(),
        };
        let fetch = move |progress: &(dyn Fn(&str) + Sync)| {
            let store = Store::open_default()?;
            let images = lab::ensure(&path, &archs, false, progress)?;
            let fetched = images.iter().map(|Ensured { image, .. }| {
                let progress = |phase: Phase| progress(&format!("{}: {phase}", image.arch));
                sanlab_image::debug_files(&store, &manifest, image, progress)
            });
            Ok(fetched.collect::<Result<Vec<DebugFiles>, _>>()?)
        };
        for files in watch::blocking(&mut terminal, &name, &cancel, fetch).await? {
            table.row([
                files.arch.to_string(),
                files.kernel_release.clone(),
                files.modules.to_string(),
                size(files.bytes),
                files.folder.display().to_string(),
            ]);
        }
    }
    terminal.clear();
    print(&table.render(0))?;
    Ok(Exit::Success)
}

/// Those that are named, or all: the project's own and those that the program brings along, by their names.
fn manifests(
    lab: &Lab,
    names: &[String],
    update_lock: bool,
) -> Result<BTreeMap<String, PathBuf>, LabError> {
    let own = lab.own_images();
    let mut names = names.to_vec();
    if names.is_empty() {
        names = lab::manifests_in(&own);
        if !update_lock {
            names.extend(lab::manifests_in(bundle::folder()?));
        }
    }
    let manifest = |name: String| {
        let path = match lab::manifest_in(&own, &name) {
            Some(path) => path,
            // Its lock can be written by nobody.
            None if update_lock => own.join(format!("{name}.toml")),
            None => lab::manifest_in(bundle::folder()?, &name)
                .unwrap_or_else(|| own.join(format!("{name}.toml"))),
        };
        Ok((name, path))
    };
    names.into_iter().map(manifest).collect()
}
