//! An exploration's runs, done on guests.

use std::collections::BTreeMap;
use std::path::PathBuf;

use sanlab_image::{Image, Store};
use sanlab_plan::{NodeName, Plan};
use sanlab_record::{Event, EventKind};
use sanlab_run::RunOptions;
use sanlab_vm::AcceleratorWish;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::course::{Ran, Runner, Trial};
use super::kind::Ended;
use crate::lab::changes::Changes;
use crate::lab::run_on;
use crate::lab::scenario::Texts;
use crate::terminal::Terminal;
use crate::{LabError, RunFolder, RunRequest};

/// The scenario, and what its runs have in common.
pub(crate) struct Guests {
    pub(crate) file: PathBuf,
    /// What stands in it and its bases: the same for all runs.
    pub(crate) texts: Texts,
    pub(crate) changes: Changes,
    /// What its guests boot.
    pub(crate) images: BTreeMap<NodeName, Image>,
    /// Each run has a folder of its own in this one.
    pub(crate) folder: RunFolder,
    pub(crate) accelerator: AcceleratorWish,
    pub(crate) cancel: CancellationToken,
}

impl Guests {
    /// The scenario with further settings.
    pub(crate) fn plan(&self, settings: &[String]) -> Result<Plan, LabError> {
        let given = self.changes.given_with(settings)?;
        self.texts.load_with(&self.file, &given.settings)
    }
}

/// Says what a run waits for; what else happens is in its record.
async fn tell_waits(number: u32, mut events: mpsc::UnboundedReceiver<Event>) {
    while let Some(event) = events.recv().await {
        if let EventKind::Waiting { .. } = event.kind {
            Terminal::plain().line(&format!("run {number} {}", event.kind));
        }
    }
}

impl Runner for Guests {
    async fn run(&self, trial: Trial) -> Result<Ran, LabError> {
        let plan = self.plan(&trial.settings)?;
        let given = self.changes.given_with(&trial.settings)?;
        let folder = self.folder.within(&format!("run-{}", trial.number));
        let mut request = RunRequest::new(&folder);
        request.options = RunOptions {
            accelerator: self.accelerator,
            seed: trial.seed,
            settings: given.words,
            exploration: Some(trial.number),
            qemu: given.qemu,
            count_instructions: Some(false),
            cancel: self.cancel.clone(),
            ..RunOptions::default()
        };
        let (sender, events) = mpsc::unbounded_channel();
        let store = Store::open_default()?;
        let work = run_on(store, self.images.clone(), &plan, request, sender);
        let (ran, ()) = tokio::join!(work, tell_waits(trial.number, events));
        let (record, path) = ran?;
        let ended = Ended::of(&record);
        Ok(Ran { ended, path })
    }

    fn is_cancelled(&self) -> bool {
        self.cancel.is_cancelled()
    }
}
