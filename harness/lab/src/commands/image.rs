//! `sanlab image build`: what `run` does by itself when the store lacks an image, on demand.

use std::path::PathBuf;

use sanlab_image::Manifest;
use sanlab_plan::Arch;
use sanlab_report::table::Table;

use crate::lab::host;
use crate::lab::{self, Ensured};
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
    let cancel = interrupt::cancel_on_signal()?;
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
    for manifest in manifests(&lab, names)? {
        let name = manifest
            .file_stem()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
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

/// Those that are named, or every `images/*.toml`, sorted, but for the one of the guests' programs.
fn manifests(lab: &Lab, names: &[String]) -> Result<Vec<PathBuf>, LabError> {
    let folder = lab.project().join("images");
    if !names.is_empty() {
        let path = |name: &String| folder.join(format!("{name}.toml"));
        return Ok(names.iter().map(path).collect());
    }
    let mut found = Vec::new();
    for entry in fs_err::read_dir(folder)? {
        let path = entry?.path();
        let is_toml = path
            .extension()
            .is_some_and(|extension| extension == "toml");
        if is_toml && !path.ends_with("Cargo.toml") {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}
