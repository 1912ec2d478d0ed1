//! `sanlab explore`: many runs of a scenario that differ in moments and values, and what is left of a failure.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use sanlab_fleet::{Budget, Need, Permit, Registry, RunDir, WaitingFor};
use sanlab_plan::{Range, Setting, word};
use sanlab_report::load;
use sanlab_report::report::Report;
use tokio_util::sync::CancellationToken;

use super::pages::Pages;
use crate::commands::cli::Accel;
use crate::commands::time::parse_time;
use crate::explore::course::{self, Bounds, End, Exploration, Trial};
use crate::explore::guests::Guests;
use crate::explore::kind::Kind;
use crate::explore::narrow::{Narrower, groups};
use crate::explore::space::Space;
use crate::explore::text;
use crate::lab::changes::Changes;
use crate::lab::runs::since_1970;
use crate::lab::scenario::Texts;
use crate::lab::{images, seed};
use crate::terminal::{Colour, Terminal, interrupt, print};
use crate::{Exit, Lab, LabError};

/// What the command line says of it.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Scenario file
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Range of a key, in place of the scenario's `[vary]`, such as `step.cut.after=0s..3s`; repeatable
    #[arg(long, value_name = "KEY=LOW..HIGH", value_parser = parse_vary)]
    vary: Vec<(String, Range)>,
    /// Maximum number of runs, beside those that narrow a failure
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    runs: u32,
    /// Start no run later than this, such as `30m`; a failure is narrowed all the same
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    budget: Option<Duration>,
    /// Runs side by side [default: two for each CPU]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    jobs: Option<u16>,
    /// Continue after a failure
    #[arg(long)]
    all: bool,
    /// Do not look for the least that still fails
    #[arg(long)]
    no_narrowing: bool,
    /// Seed of the values and of each run; each run adds one [default: `$SANLAB_SEED`, else random]
    #[arg(long, value_name = "NUMBER")]
    seed: Option<u64>,
    /// Accelerator
    #[arg(long, value_enum, default_value_t)]
    accel: Accel,
    #[command(flatten)]
    changes: Changes,
    #[command(flatten)]
    pages: Pages,
}

/// Explores, narrows what failed, and shows what came of it.
pub(crate) async fn execute(arguments: Arguments) -> Result<Exit, LabError> {
    let mut terminal = Terminal::new();
    let lab = Lab::find(&std::env::current_dir()?)?;
    let seed = arguments.seed.map_or_else(seed::of_environment, Ok)?;
    lab.require_host()?;
    let cancel = interrupt::cancel_on_signal(interrupt::ENDING_GUESTS)?;
    let mut guests = Guests {
        file: arguments.file.clone(),
        texts: Texts::default(),
        changes: arguments.changes.clone(),
        images: std::collections::BTreeMap::new(),
        folder: lab.new_run()?,
        accelerator: arguments.accel.into(),
        cancel: cancel.clone(),
    };
    let plan = guests.plan(&[])?;
    let space = Space::of(&plan, &arguments.vary);
    // Both ends of every range must make a scenario.
    for end in [0.0, 1.0] {
        guests.plan(&space.settings(&vec![end; space.dimensions.len()]))?;
    }
    guests.images = images::ensure(&lab, &plan, &cancel, &mut terminal).await?;
    let cpus = std::thread::available_parallelism()?.get();
    let jobs = arguments.jobs.map_or(2 * cpus, usize::from);
    let _cpus = all_cpus(&cancel, &mut terminal).await?;
    terminal.line(&format!("{}: {}", plan.id, plan.name));
    if space.dimensions.is_empty() {
        terminal.line("nothing varies but the seed: `[vary]`, --vary and a crash `within` a time give moments and values");
    }
    for line in space.describe() {
        terminal.line(&format!("varies {line}"));
    }
    let guests = Arc::new(guests);
    let bounds = Bounds {
        runs: arguments.runs,
        budget: arguments.budget,
        jobs,
        all: arguments.all,
    };
    let exploration = course::explore(&guests, &space, seed, &bounds, |run, done| {
        if let Some(line) = text::line(run) {
            terminal.line_in(Colour::Red, &line);
        }
        terminal.status(&format!("{done} of at most {} runs", bounds.runs));
    })
    .await;
    terminal.clear();
    print(&text::table(&exploration))?;
    print(&format!("{}seed {seed}\n", text::end(&exploration)))?;
    if let Some(error) = &exploration.error {
        terminal.line("a run has left no record:");
        terminal.line(error.show(terminal.is_coloured()).trim_end());
    }
    let is_whole = !matches!(exploration.end, End::Interrupted | End::Broken);
    let narrowed = if is_whole && !arguments.no_narrowing {
        narrow(&guests, &space, &exploration, jobs, &mut terminal).await
    } else {
        Ok(())
    };
    // Whatever became of the narrowing: what was found stands in them.
    let written = if exploration.runs.is_empty() {
        Ok(())
    } else {
        write_pages(&arguments.pages, &plan.name, &guests)
    };
    if let (Err(_), Err(error)) = (&narrowed, &written) {
        terminal.line(&error.show(terminal.is_coloured()));
    }
    narrowed.and(written)?;
    Ok(exit(&exploration))
}

/// The pages of all runs, as far as they are asked for.
fn write_pages(pages: &Pages, title: &str, guests: &Guests) -> Result<(), LabError> {
    if !pages.any() {
        return Ok(());
    }
    let loaded = load::load(&[guests.folder.path().to_owned()])?;
    let now = since_1970().as_secs_f64();
    pages.write(&Report::new(title, now, loaded, &[], None))
}

fn exit(exploration: &Exploration) -> Exit {
    match exploration.end {
        End::Interrupted => Exit::Interrupted,
        End::Broken => Exit::Broken,
        End::Runs | End::Budget | End::Failure => {
            let kinds = exploration.kinds();
            if kinds.keys().all(|kind| kind.known) {
                Exit::Success
            } else {
                Exit::Failed
            }
        }
    }
}

/// Narrows the first failure of each kind.
async fn narrow(
    guests: &Arc<Guests>,
    space: &Space,
    exploration: &Exploration,
    jobs: usize,
    terminal: &mut Terminal,
) -> Result<(), LabError> {
    let plan = guests.plan(&[])?;
    let is_sound = |skipped: &[String]| {
        let skipped = skipped
            .iter()
            .map(|label| format!("step.{label}.skip=true"));
        guests.plan(&skipped.collect::<Vec<_>>()).is_ok()
    };
    let groups = groups(&plan, is_sound);
    let numbers = exploration.runs.iter().map(|run| run.trial.number);
    let mut narrower = Narrower {
        runner: guests,
        space,
        jobs,
        runs: &exploration.runs,
        next: numbers.max().unwrap_or(0) + 1,
    };
    for (kind, runs) in exploration.kinds() {
        let Some(failed) = runs.first() else {
            continue;
        };
        terminal.line(&format!("narrows run {}", failed.trial.number));
        let found = narrower.narrow(failed, kind, &groups).await?;
        print(&text_of(guests, kind, &failed.trial, found.as_ref())?)?;
    }
    Ok(())
}

fn text_of(
    guests: &Guests,
    kind: &Kind,
    failed: &Trial,
    found: Option<&crate::explore::narrow::Narrowed>,
) -> Result<String, LabError> {
    Ok(match found {
        Some(narrowed) => text::narrowed(kind, narrowed, &command(guests, &narrowed.trial)?),
        None => text::not_again(kind, &command(guests, failed)?),
    })
}

/// The command that does a run again.
fn command(guests: &Guests, trial: &Trial) -> Result<String, LabError> {
    let given = guests.changes.given_with(&trial.settings)?;
    let mut command = format!(
        "sanlab run {} --seed {}",
        word(&guests.file.display().to_string()),
        trial.seed
    );
    for Setting { key, value } in &given.settings {
        command += " --set ";
        command += &word(&format!("{key}={value}"));
    }
    Ok(command)
}

/// How long other fleets are awaited.
const PATIENCE: Duration = Duration::from_secs(3600);

/// Waits for all CPUs, which the runs then share: they wait most of their time.
async fn all_cpus(
    cancel: &CancellationToken,
    terminal: &mut Terminal,
) -> Result<(Permit, RunDir), LabError> {
    let (registry, _) = Registry::open()?;
    let folder = registry.create_run()?;
    let budget = Budget::new(&registry);
    let need = Need {
        memory_mib: 0,
        cpus: budget.capacity()?.cpus,
    };
    let said = std::cell::RefCell::new(terminal);
    let waiting = |waiting: &WaitingFor| said.borrow_mut().line(&format!("waiting for {waiting}"));
    let permit = tokio::select! {
        biased;
        () = cancel.cancelled() => return Err(LabError::Interrupted),
        permit = budget.acquire(&folder, need, PATIENCE, waiting) => permit?,
    };
    Ok((permit, folder))
}

fn parse_vary(text: &str) -> Result<(String, Range), String> {
    let (key, range) = text
        .split_once('=')
        .ok_or("no `=` in it: write it like step.cut.after=0s..3s")?;
    let range = Range::parse(range).map_err(|error| error.to_string())?;
    Ok((key.trim().to_owned(), range))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_on_the_command_line_is_a_key_and_a_range() {
        let (key, range) = parse_vary("step.cut.after=0s..3s").unwrap();
        assert_eq!(
            (key.as_str(), range.to_string().as_str()),
            ("step.cut.after", "0s..3s")
        );
        for wrong in ["step.cut.after", "step.cut.after=3s", "mtu=9000..1500"] {
            assert!(parse_vary(wrong).is_err(), "{wrong}");
        }
    }
}
