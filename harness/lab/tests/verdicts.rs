//! One trial for each scenario of `fixtures/verdicts`: its first line says how it must end.
//!
//! `# outcome: passed`, `# outcome: failed kernel_complaint`, `# outcome: known failure`: the outcome and, of a failure, its kind in
//! the record's word. The lines that follow say what it shows.
//!
//! The tier `test` has one or two of each kind. What differs from these only in what the engine makes of it, which its own tests
//! prove with fake guests, and what takes long, is of the nightly tier.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use guest_trials::{Failed, Suite};
use libtest_mimic::Trial;
use sanlab::{Lab, RunRequest, scenario};
use sanlab_plan::Plan;
use sanlab_record::{Event, EventKind, FailureKind, Outcome, RunRecord};
use tokio::sync::mpsc::unbounded_channel;

#[path = "support/run_folder.rs"]
mod run_folder;
#[path = "support/watched.rs"]
mod watched;

use run_folder::SharedRun;
use watched::watched;

/// What stands before the outcome.
const WORDS: &str = "# outcome: ";

fn main() -> ExitCode {
    let lab =
        Lab::find(Path::new(env!("CARGO_MANIFEST_DIR"))).expect("the tests run in a checkout");
    let folder = lab.project().join("fixtures/verdicts");
    let files = scenario::find(&folder).expect("the checkout has verdicts");
    let mut suite = Suite::new(|| lab.require_host());
    let runner = Arc::new(Runner {
        lab,
        run: SharedRun::default(),
        nocapture: suite.arguments.nocapture,
    });
    for file in files {
        add(&mut suite, &runner, &file);
    }
    suite.run()
}

/// What the trials of a process share.
struct Runner {
    lab: Lab,
    run: SharedRun,
    nocapture: bool,
}

impl Runner {
    /// Runs a plan, which must end so.
    async fn run(&self, plan: &Plan, expected: &str) -> Result<(), Failed> {
        let request = RunRequest::new(&self.run.folder(&self.lab)?);
        let (sender, events) = unbounded_channel();
        let work = self.lab.run(plan, request, sender);
        let (record, path) = watched(self.nocapture, &plan.id, events, work).await?;
        let ended = ended(&record)?;
        if ended == expected {
            let panicked = record.outcome.failure().map(|failure| failure.kind);
            if panicked == Some(FailureKind::GuestPanicked) {
                has_vmcore(&path)?;
                has_source_lines(&record)?;
            }
            return Ok(());
        }
        let message = record.outcome.failure().map(|failure| &*failure.message);
        let message = message.unwrap_or("nothing failed");
        let path = path.display();
        Err(format!("expected `{expected}`, but `{ended}`: {message}\nrecord: {path}").into())
    }
}

/// The memory of a node whose kernel has panicked lies beside the record.
fn has_vmcore(record: &Path) -> Result<(), Failed> {
    let folder = record.parent().ok_or("the record has a folder")?;
    for node in fs_err::read_dir(folder)? {
        let vmcore = node?.path().join("vmcore");
        if !vmcore.exists() {
            continue;
        }
        let bytes = fs_err::read(&vmcore)?;
        // An ELF note's name is padded to four bytes.
        let note = b"VMCOREINFO\0\0OSRELEASE=";
        let begin = &bytes[..bytes.len().min(64 << 10)];
        return if bytes.starts_with(b"KDUMP   ") && begin.windows(note.len()).any(|it| it == note) {
            Ok(())
        } else {
            Err(format!("{} is no vmcore with the kernel's note", vmcore.display()).into())
        };
    }
    Err(format!("no vmcore in {}", folder.display()).into())
}

/// The panic's call trace has lines of source, or the record says how to get the symbols that it takes.
fn has_source_lines(record: &RunRecord) -> Result<(), Failed> {
    let lacking = |event: &Event| matches!(event.kind, EventKind::NoSymbols { .. });
    let traces = record.findings.iter().map(|finding| &finding.trace);
    let mut lines = traces.flatten().flat_map(|call| &call.lines);
    if record.events.iter().any(lacking) || lines.any(|line| line.contains(".c:")) {
        return Ok(());
    }
    Err("the call trace has no lines of source, and nothing says why".into())
}

/// How a run ended, in the words of a scenario's first line.
fn ended(record: &RunRecord) -> Result<String, serde_json::Error> {
    let word = record.outcome.as_str();
    Ok(match &record.outcome {
        Outcome::Failed(failure) | Outcome::Broken(failure) => {
            format!("{word} {}", kind(failure.kind)?)
        }
        Outcome::Passed | Outcome::KnownFailure { .. } | Outcome::Skipped { .. } => word.to_owned(),
    })
}

/// The record's word.
fn kind(kind: FailureKind) -> Result<String, serde_json::Error> {
    serde_json::from_value(serde_json::to_value(kind)?)
}

/// The expected end, which the first line says.
fn expected(file: &Path) -> Result<String, String> {
    let text = fs_err::read_to_string(file).map_err(|error| error.to_string())?;
    let first = text.lines().next().unwrap_or_default();
    let outcome = first.strip_prefix(WORDS);
    outcome
        .map(str::to_owned)
        .ok_or_else(|| format!("{}: its first line must begin `{WORDS}`", file.display()))
}

fn add(suite: &mut Suite, runner: &Arc<Runner>, file: &Path) {
    let name = |file: &Path| -> String {
        let stem: PathBuf = file.file_stem().unwrap_or_default().into();
        format!("verdicts/{}", stem.display())
    };
    let plan = scenario::load(file).map_err(|error| error.show(false));
    match plan.and_then(|plan| Ok((plan, expected(file)?))) {
        Ok((plan, expected)) => {
            let runner = Arc::clone(runner);
            suite.guests(plan.id.clone(), plan.tier, move || {
                let runtime = tokio::runtime::Runtime::new()?;
                runtime.block_on(runner.run(&plan, &expected))
            });
        }
        // Such a file is a trial that fails, so that one does not take the others along.
        Err(error) => suite.add(Trial::test(name(file), move || Err(error.into()))),
    }
}
