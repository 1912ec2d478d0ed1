//! `sanlab pack`: a saved fleet as one file, to be sent to somebody.

use std::path::PathBuf;

use sanlab_image::Store;

use crate::lab::runs::shown;
use crate::pack::{archive, compressed, folder};
use crate::terminal::quantity::size;
use crate::terminal::{Terminal, interrupt, print, watch};
use crate::{Exit, LabError};

/// What the command line says of it.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// A run's folder, or that of a scenario in it, with a fleet that `run --save-on-failure` has saved
    #[arg(value_name = "RUN")]
    run: PathBuf,
    /// The file to be made, such as `failed.tar.zst`
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
}

/// Makes the file.
pub(crate) async fn execute(arguments: Arguments) -> Result<Exit, LabError> {
    let Arguments { run, output } = arguments;
    let cancel = interrupt::cancel_on_signal("ending")?;
    let folder = folder::find(&run)?;
    let store = Store::open_default()?;
    // What has been written is removed with it, also when the work is left behind after an interrupt.
    let (place, zstd) = compressed::begin(&output)?;
    let bytes = watch::blocking(&mut Terminal::new(), "pack", &cancel, move |tell| {
        archive::pack(&folder, &store, zstd, tell)
    })
    .await?;
    place.take()?;
    let output = shown(&output).display();
    print(&format!(
        "{output}: {}; on a host with the same QEMU: `sanlab up {output}`\n",
        size(bytes)
    ))?;
    Ok(Exit::Success)
}
