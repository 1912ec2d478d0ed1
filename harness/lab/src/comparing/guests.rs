//! A comparison's runs, done on guests: by this program, or by that of another revision.

use std::path::Path;

use sanlab_image::Store;
use sanlab_run::Extent;
use sanlab_vm::AcceleratorWish;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::course::{Letter, Ran, Runner, Turn};
use super::revision::Errand;
use super::side::Side;
use crate::lab::run_on;
use crate::terminal::Terminal;
use crate::{LabError, Order, RunFolder, watch};

/// Both sides, and what their runs have in common.
pub(crate) struct Guests<'a> {
    pub(crate) a: &'a Side,
    pub(crate) b: &'a Side,
    /// Each run has a folder of its own in this one.
    pub(crate) folder: RunFolder,
    pub(crate) accelerator: AcceleratorWish,
    /// Both runs of a pair draw from the same.
    pub(crate) seed: u64,
    pub(crate) terminal: &'a mut Terminal,
    pub(crate) cancel: CancellationToken,
}

impl Guests<'_> {
    /// How much is done. A program that cannot leave out what does not measure does all of it, and the other side with it:
    /// caches are not to be in another state on one side.
    fn extent(&self, turn: Turn) -> Extent {
        let programs = [self.a, self.b];
        let whole = |side: &&Side| {
            let program = side.program.as_ref();
            program.is_some_and(|program| !program.knows("--measures-only"))
        };
        if programs.iter().any(whole) {
            Extent::Whole
        } else {
            turn.extent()
        }
    }
}

impl Runner for Guests<'_> {
    async fn run(&mut self, turn: Turn) -> Result<Ran, LabError> {
        let extent = self.extent(turn);
        let side = match turn.side {
            Letter::A => self.a,
            Letter::B => self.b,
        };
        let folder = self.folder.within(&turn.folder());
        let seed = self.seed.wrapping_add(turn.pair as u64);
        if let Some(program) = &side.program {
            let errand = Errand {
                file: &side.file,
                given: &side.given,
                folder: folder.path(),
                accelerator: self.accelerator,
                seed,
                extent,
            };
            return program.run(&errand, &self.cancel, self.terminal).await;
        }
        let order = Order {
            accelerator: self.accelerator,
            seed,
            settings: side.given.words.clone(),
            qemu: side.given.qemu.clone(),
            // On both sides or on none: counting costs a little.
            count_instructions: Some(true),
            extent,
            cancel: self.cancel.clone(),
            ..Order::new(&folder)
        };
        let (sender, events) = mpsc::unbounded_channel();
        let store = Store::open_default()?;
        let work = run_on(store, side.images.clone(), &side.plan, order, sender);
        let title = format!("{} {}", side.plan.id, turn.folder());
        let (record, path) = watch::quietly(self.terminal, &title, events, work).await?;
        Ok(Ran { record, path })
    }

    fn is_cancelled(&self) -> bool {
        self.cancel.is_cancelled()
    }
}

/// A path within a folder, as it is written into files of that folder.
pub(crate) fn relative(path: &Path, folder: &Path) -> String {
    path.strip_prefix(folder)
        .unwrap_or(path)
        .display()
        .to_string()
}
