//! The scenarios of a folder as tests of somebody's own crate.
//!
//! In `Cargo.toml`:
//!
//! ```toml
//! [[test]]
//! name = "scenarios"
//! harness = false
//! ```
//!
//! and in `tests/scenarios.rs`:
//!
//! ```no_run
//! fn main() -> std::process::ExitCode {
//!     sanlab::test_main("scenarios")
//! }
//! ```

use std::path::Path;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};

use libtest_mimic::{Arguments, Completion, Failed, Trial};
use sanlab_plan::Plan;
use sanlab_record::{Failure, Outcome};
use sanlab_run::KeepPolicy;
use tokio::sync::mpsc::unbounded_channel;

use crate::lab::changes::Changes;
use crate::lab::overrides::Given;
use crate::lab::{scenario, suite};
use crate::terminal::{Terminal, complain, watch};
use crate::{Lab, LabError, RunFolder, RunRequest};

/// Runs the scenarios of a folder as [`trials`], with the command line of Rust's own tests, one after another unless it says
/// otherwise. The result is for `main`.
pub fn test_main(folder: impl AsRef<Path>) -> ExitCode {
    let mut arguments = Arguments::from_args();
    arguments.test_threads.get_or_insert(1);
    match trials(folder.as_ref(), arguments.nocapture) {
        Ok(trials) => libtest_mimic::run(&arguments, trials).exit_code(),
        Err(error) => {
            complain(&error);
            ExitCode::FAILURE
        }
    }
}

/// One trial for each scenario file below a folder, and for each of its variants, called like what `sanlab run` keeps of it. It
/// fails where `sanlab run` would not exit with 0, and names the record.
///
/// Where no guest can run, trials are ignored, and say why; with `SANLAB_REQUIRE_VMS=1` they fail. A file with mistakes is a trial that fails.
/// `shows`: what happens is shown while it happens.
pub fn trials(folder: &Path, shows: bool) -> Result<Vec<Trial>, LabError> {
    let lab = Lab::find(folder)?;
    let mut trials = Vec::new();
    let mut found = Vec::new();
    for file in scenario::find(folder)? {
        match suite::variants_of(&file, &Changes::default(), &[]) {
            Ok(variants) => found.extend(variants),
            Err(error) => {
                let name = file.with_extension("").display().to_string();
                let wrong = error.show(false);
                trials.push(Trial::test(name, move || Err(wrong.into())));
            }
        }
    }
    let runner = Arc::new(Runner {
        lacking: lab.require_host().err().map(|error| error.to_string()),
        keep: KeepPolicy::of(found.iter().map(|(plan, _)| plan)),
        lab,
        folder: Mutex::default(),
        shows,
    });
    for (plan, given) in found {
        let runner = Arc::clone(&runner);
        let name = plan.id.clone();
        let trial = Trial::ignorable_test(name, move || runner.trial(&plan, &given));
        trials.push(trial);
    }
    Ok(trials)
}

/// What the trials of a process share.
struct Runner {
    lab: Lab,
    /// Why no guest can run here.
    lacking: Option<String>,
    keep: KeepPolicy,
    /// Made by the first that runs: a listing makes none.
    folder: Mutex<Option<RunFolder>>,
    shows: bool,
}

impl Runner {
    fn trial(&self, plan: &Plan, given: &Given) -> Result<Completion, Failed> {
        if let Some(reason) = &self.lacking {
            let is_required = std::env::var("SANLAB_REQUIRE_VMS").is_ok_and(|value| value == "1");
            return if is_required {
                Err(reason.into())
            } else {
                Ok(Completion::ignored_with(reason))
            };
        }
        let mut request = RunRequest::new(&self.folder()?);
        request.options.settings.clone_from(&given.words);
        request.options.qemu.clone_from(&given.qemu);
        request.options.keep = self.keep.clone();
        let runtime = tokio::runtime::Runtime::new()?;
        let (record, path) = runtime.block_on(async {
            let (sender, mut events) = unbounded_channel();
            let work = self.lab.run(plan, request, sender);
            if self.shows {
                watch::run(&mut Terminal::plain(), &plan.id, events, work).await
            } else {
                events.close();
                work.await
            }
        })?;
        let path = path.display();
        match &record.outcome {
            Outcome::Passed | Outcome::KnownFailure { .. } => Ok(Completion::Completed),
            Outcome::Skipped { reason } => Ok(Completion::ignored_with(reason)),
            Outcome::Failed(failure) | Outcome::Broken(failure) => {
                let Failure { phase, message, .. } = failure;
                let outcome = record.outcome.as_str();
                Err(format!("{outcome} in {phase}: {message}\nrecord: {path}").into())
            }
        }
    }

    fn folder(&self) -> Result<RunFolder, LabError> {
        let mut folder = self.folder.lock().unwrap_or_else(PoisonError::into_inner);
        match &*folder {
            Some(folder) => Ok(folder.clone()),
            None => Ok(folder.insert(self.lab.new_run()?).clone()),
        }
    }
}
