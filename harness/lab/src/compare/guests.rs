//! A comparison's runs, done on guests.

use std::path::Path;

use sanlab_image::Store;
use sanlab_record::InComparison;
use sanlab_run::RunOptions;
use sanlab_vm::AcceleratorWish;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::course::{Letter, Ran, Runner, Turn};
use super::side::Side;
use crate::lab::run_on;
use crate::terminal::Terminal;
use crate::terminal::watch;
use crate::{LabError, RunFolder, RunRequest};

/// Both sides, and what their runs have in common.
pub(crate) struct Guests<'a> {
    pub(crate) a: &'a Side,
    pub(crate) b: &'a Side,
    /// Each run has a folder of its own in this one.
    pub(crate) folder: RunFolder,
    pub(crate) accelerator: AcceleratorWish,
    /// Both runs of a pair draw from the same.
    pub(crate) seed: u64,
    /// Proves each side's data also where another run has proved it.
    pub(crate) prove: bool,
    pub(crate) terminal: &'a mut Terminal,
    pub(crate) cancel: CancellationToken,
}

impl Runner for Guests<'_> {
    async fn run(&mut self, turn: Turn) -> Result<Ran, LabError> {
        let side = match turn.side {
            Letter::A => self.a,
            Letter::B => self.b,
        };
        let folder = self.folder.within(&turn.folder());
        let mut request = RunRequest::new(&folder);
        request.options = RunOptions {
            accelerator: self.accelerator,
            seed: self.seed.wrapping_add(turn.pair as u64),
            settings: side.given.words.clone(),
            comparison: Some(InComparison {
                side: turn.side.as_str().to_owned(),
                pair: u32::try_from(turn.pair).unwrap_or(u32::MAX),
            }),
            qemu: side.given.qemu.clone(),
            // On both sides or on none: counting costs a little.
            count_instructions: Some(true),
            extent: turn.extent(self.prove),
            cancel: self.cancel.clone(),
            ..RunOptions::default()
        };
        let (sender, events) = mpsc::unbounded_channel();
        let store = Store::open_default()?;
        let plan = if turn.prepares() {
            side.preparation()
        } else {
            side.plan.clone()
        };
        let work = run_on(store, side.images.clone(), &plan, request, sender);
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
