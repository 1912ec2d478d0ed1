//! One trial per scenario file: `cargo test --test scenarios hot_node_addition`, `cargo nextest run -E 'test(mount)'`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use guest_trials::{Failed, Suite};
use libtest_mimic::Trial;
use sanlab::{Lab, LabError, RunRequest, scenario};
use sanlab_fleet::{Budget, Registry};
use sanlab_plan::Plan;
use sanlab_record::{Failure, Outcome, RunRecord};
use sanlab_run::KeepPolicy;

#[path = "../support/run_folder.rs"]
mod run_folder;
mod soundness;
#[path = "../support/watched.rs"]
mod watched;

use run_folder::SharedRun;
use watched::watched;

/// What forks are compared with fresh runs by in every test run: the smallest.
const COMPARED: &str = "throughput/two_nodes";

fn main() -> ExitCode {
    let lab =
        Lab::find(Path::new(env!("CARGO_MANIFEST_DIR"))).expect("the tests run in a checkout");
    let files =
        scenario::find(&lab.project().join("scenarios")).expect("the checkout has scenarios");
    let mut suite = Suite::new(|| lab.require_host());
    let scenarios: Vec<(PathBuf, Result<Plan, LabError>)> = files
        .into_iter()
        .map(|file| (file.clone(), scenario::load(&file)))
        .collect();
    if !suite.arguments.list && suite.arguments.test_threads.is_none() {
        let plans: Vec<&Plan> = scenarios
            .iter()
            .filter_map(|(_, plan)| plan.as_ref().ok())
            .collect();
        suite.arguments.test_threads = Some(fleets_at_once(&plans));
    }
    let taken = scenarios.iter().filter_map(|(_, plan)| plan.as_ref().ok());
    let taken = taken.filter(|plan| suite.takes(&plan.id, plan.tier));
    let runner = Arc::new(Runner {
        lab,
        run: SharedRun::default(),
        keep: KeepPolicy::of(taken),
        nocapture: suite.arguments.nocapture,
    });
    for (file, plan) in scenarios {
        add(&mut suite, &runner, &file, plan);
    }
    suite.run()
}

/// What the trials of a process share.
struct Runner {
    lab: Lab,
    run: SharedRun,
    /// What the scenarios of this test run can share.
    keep: KeepPolicy,
    nocapture: bool,
}

/// A run that has ended, and where its record is.
struct Ran {
    record: RunRecord,
    path: PathBuf,
}

impl Runner {
    /// Runs a plan, which must pass.
    async fn run(&self, plan: &Plan, mut request: RunRequest) -> Result<Ran, Failed> {
        let (sender, events) = tokio::sync::mpsc::unbounded_channel();
        request.options.keep = self.keep.clone();
        let work = self.lab.run(plan, request, sender);
        let (record, path) = watched(self.nocapture, &plan.id, events, work).await?;
        let ran = Ran { record, path };
        match &ran.record.outcome {
            Outcome::Passed | Outcome::KnownFailure { .. } => Ok(ran),
            Outcome::Skipped { reason } => Err(ran.but(&format!("was skipped: {reason}"))),
            Outcome::Failed(failure) | Outcome::Broken(failure) => {
                let Failure { phase, message, .. } = failure;
                let outcome = ran.record.outcome.as_str();
                Err(ran.but(&format!("is {outcome} in {phase}: {message}")))
            }
        }
    }
}

impl Ran {
    /// What is wrong with it.
    fn but(&self, wrong: &str) -> Failed {
        let scenario = &self.record.scenario;
        format!("{scenario} {wrong}\nrecord: {}", self.path.display()).into()
    }
}

/// In a nightly run a scenario is run from nothing as well as from a checkpoint.
fn add(suite: &mut Suite, runner: &Arc<Runner>, file: &Path, plan: Result<Plan, LabError>) {
    match plan {
        Ok(plan) => {
            let runner = Arc::clone(runner);
            let compares = (suite.is_nightly() || plan.id == COMPARED) && soundness::applies(&plan);
            suite.guests(plan.id.clone(), plan.tier, move || {
                let runtime = tokio::runtime::Runtime::new()?;
                runtime.block_on(async {
                    if compares {
                        soundness::compare(&runner, &plan).await
                    } else {
                        let request = RunRequest::new(&runner.run.folder(&runner.lab)?);
                        runner.run(&plan, request).await.map(drop)
                    }
                })
            });
        }
        // A file with mistakes is a trial that fails, so that one does not take the others along.
        Err(error) => {
            let name = file
                .file_stem()
                .unwrap_or_default()
                .to_string_lossy()
                .replace('-', "_");
            suite.add(Trial::test(name, move || Err(error.show(false).into())));
        }
    }
}

/// How many of the smallest fleets have room on this machine; the budget makes larger ones wait.
fn fleets_at_once(plans: &[&Plan]) -> usize {
    let capacity = Registry::open().and_then(|(registry, _)| Budget::new(&registry).capacity());
    let Ok(capacity) = capacity else { return 1 };
    let cpus = |plan: &&Plan| {
        plan.booted()
            .map(|node| u64::from(node.hardware.cpus))
            .sum::<u64>()
            .min(capacity.cpus)
    };
    let memory = |plan: &&Plan| {
        plan.booted()
            .map(|node| node.hardware.memory.mib())
            .sum::<u64>()
    };
    let by_cpus = capacity.cpus / plans.iter().map(cpus).min().unwrap_or(1).max(1);
    let by_memory = capacity.memory_mib / plans.iter().map(memory).min().unwrap_or(1).max(1);
    usize::try_from(by_cpus.min(by_memory)).unwrap_or(1).max(1)
}
