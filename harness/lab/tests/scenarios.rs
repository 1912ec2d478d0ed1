//! One trial per scenario file: `cargo test --test scenarios hot_node_addition`, `cargo nextest run -E 'test(mount)'`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use libtest_mimic::{Arguments, Completion, Failed, Trial};
use sanlab::{Lab, LabError, Order, RunFolder, Terminal, scenario};
use sanlab_fleet::{Budget, Registry};
use sanlab_plan::{Plan, Tier};
use sanlab_record::{Failure, Outcome};
use sanlab_run::KeepPolicy;

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    let lab =
        Lab::find(Path::new(env!("CARGO_MANIFEST_DIR"))).expect("the tests run in a checkout");
    let files =
        scenario::find(&lab.project().join("scenarios")).expect("the checkout has scenarios");
    let house = Arc::new(House {
        lab,
        run: Mutex::default(),
        keep: OnceLock::new(),
        nocapture: arguments.nocapture,
    });
    let scenarios: Vec<(PathBuf, Result<Plan, LabError>)> = files
        .into_iter()
        .map(|file| (file.clone(), scenario::load(&file)))
        .collect();
    let listing = arguments.list;
    if !listing && !arguments.include_ignored && !arguments.ignored {
        name_the_ignored(&scenarios);
    }
    if !listing && arguments.test_threads.is_none() {
        let plans: Vec<&Plan> = scenarios
            .iter()
            .filter_map(|(_, plan)| plan.as_ref().ok())
            .collect();
        arguments.test_threads = Some(fleets_at_once(&plans));
    }
    let trials: Vec<Trial> = scenarios
        .iter()
        .map(|(file, plan)| trial(&house, file, plan))
        .collect();
    let with_ignored = arguments.include_ignored || arguments.ignored;
    let is_run = |trial: &Trial| {
        !arguments.is_filtered_out(trial) && (with_ignored || !trial.has_ignored_flag())
    };
    let selected = scenarios.iter().zip(&trials);
    let selected = selected.filter(|(_, trial)| is_run(trial));
    house
        .keep
        .get_or_init(|| KeepPolicy::of(selected.filter_map(|((_, plan), _)| plan.as_ref().ok())));
    libtest_mimic::run(&arguments, trials).exit_code()
}

/// What the trials of a process share.
struct House {
    lab: Lab,
    run: Mutex<Option<RunFolder>>,
    /// What the selected scenarios can share.
    keep: OnceLock<KeepPolicy>,
    nocapture: bool,
}

impl House {
    /// The folder of this process's runs; made when the first trial needs it, so that a listing makes none.
    fn run(&self) -> Result<RunFolder, LabError> {
        let mut run = self.run.lock().unwrap_or_else(PoisonError::into_inner);
        match &*run {
            Some(run) => Ok(run.clone()),
            None => Ok(run.insert(self.lab.new_run()?).clone()),
        }
    }
}

fn trial(house: &Arc<House>, file: &Path, plan: &Result<Plan, LabError>) -> Trial {
    match plan {
        Ok(plan) => {
            let (house, plan) = (Arc::clone(house), plan.clone());
            let is_long = plan.tier != Tier::Default;
            Trial::ignorable_test(plan.id.clone(), move || attempt(&house, &plan))
                .with_ignored_flag(is_long)
        }
        // A file with mistakes is a trial that fails, so that one does not take the others along.
        Err(error) => {
            let name = file
                .file_stem()
                .unwrap_or_default()
                .to_string_lossy()
                .replace('-', "_");
            let mistakes = error.show(false);
            Trial::test(name, move || Err(mistakes.into()))
        }
    }
}

fn attempt(house: &House, plan: &Plan) -> Result<Completion, Failed> {
    if let Some(lacking) = house.lab.cannot_run_guests()? {
        return Ok(Completion::ignored_with(lacking));
    }
    let run = house.run()?;
    let (sender, mut events) = tokio::sync::mpsc::unbounded_channel();
    let order = Order {
        keep: house.keep.get().cloned().unwrap_or_default(),
        ..Order::new(&run)
    };
    let work = house.lab.run(plan, order, sender);
    let runtime = tokio::runtime::Runtime::new()?;
    let (record, kept) = runtime.block_on(async {
        if house.nocapture {
            sanlab::watch(&mut Terminal::plain(), &plan.id, events, work).await
        } else {
            events.close();
            work.await
        }
    })?;
    match &record.outcome {
        Outcome::Passed => Ok(Completion::Completed),
        Outcome::Skipped { reason } => Ok(Completion::ignored_with(reason)),
        Outcome::Failed(failure) | Outcome::Broken(failure) => {
            let Failure { phase, message, .. } = failure;
            let outcome = record.outcome.as_str();
            Err(format!(
                "{outcome} in {phase}: {message}\nrecord: {}",
                kept.display()
            )
            .into())
        }
    }
}

/// libtest's listing has no room for the reason.
fn name_the_ignored(scenarios: &[(PathBuf, Result<Plan, LabError>)]) {
    for (_, plan) in scenarios {
        if let Ok(Plan {
            id,
            tier: Tier::Long { reason },
            ..
        }) = plan
        {
            Terminal::plain().line(&format!(
                "{id} is ignored without --include-ignored: {reason}"
            ));
        }
    }
}

/// How many of the smallest fleets have room on this machine; the budget makes larger ones wait.
fn fleets_at_once(plans: &[&Plan]) -> usize {
    let capacity = Registry::open().and_then(|(registry, _)| Budget::new(&registry).capacity());
    let Ok(capacity) = capacity else { return 1 };
    let cpus = |plan: &&Plan| {
        plan.booted()
            .map(|node| u64::from(node.cpus))
            .sum::<u64>()
            .min(capacity.cpus)
    };
    let memory = |plan: &&Plan| plan.booted().map(|node| node.memory.mib()).sum::<u64>();
    let by_cpus = capacity.cpus / plans.iter().map(cpus).min().unwrap_or(1).max(1);
    let by_memory = capacity.memory_mib / plans.iter().map(memory).min().unwrap_or(1).max(1);
    usize::try_from(by_cpus.min(by_memory)).unwrap_or(1).max(1)
}
