//! `sanlab run`: scenarios one after another, so that none disturbs another's figures.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use sanlab_plan::Plan;
use sanlab_record::{Outcome, RunRecord};
use sanlab_vm::AcceleratorWish;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::summary::{scenario_table, summary_table};
use crate::terminal::{Terminal, print};
use crate::{Exit, Lab, LabError, Order, interrupt, runs, scenario, seed, watch};

/// How the scenarios shall be run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wish {
    pub(crate) accelerator: AcceleratorWish,
    /// From nothing, whatever the scenarios say.
    pub(crate) fresh: bool,
    /// How many times each; at least 1.
    pub(crate) repeat: u32,
    /// Even after one that did not pass.
    pub(crate) keep_going: bool,
    /// What random moments are drawn from; `None`: the environment decides.
    pub(crate) seed: Option<u64>,
}

/// Runs the scenarios of the files and prints a table for each and one for all.
pub(crate) async fn execute(files: &[PathBuf], wish: Wish) -> Result<Exit, LabError> {
    let mut terminal = Terminal::new();
    let Some(plans) = load(files, &mut terminal)? else {
        return Ok(Exit::BadInput);
    };
    // The checkout that we stand in, else the one that the first scenario stands in.
    let lab = Lab::find(&std::env::current_dir()?)
        .or_else(|error| files.first().map_or(Err(error), |file| Lab::find(file)))?;
    let seed = wish.seed.map_or_else(seed::of_environment, Ok)?;
    lab.require_host()?;
    let cancel = interrupt::cancel_on_signal()?;
    prepare_images(&lab, &plans, &cancel, &mut terminal).await?;
    let run = lab.new_run()?;
    let mut records: Vec<RunRecord> = Vec::new();
    let mut exit = Exit::Success;
    let attempts = plans
        .iter()
        .flat_map(|plan| (1..=wish.repeat).map(move |attempt| (plan, attempt)));
    let all = attempts.clone().count();
    for (plan, attempt) in attempts {
        if exit == Exit::Interrupted || (exit != Exit::Success && !wish.keep_going) {
            let reason = if exit == Exit::Interrupted {
                "interrupted"
            } else {
                "after one that did not pass; --keep-going runs on"
            };
            records.push(runs::not_run(plan, reason));
            continue;
        }
        terminal.line(&format!(
            "{}: {} ({} of {all})",
            plan.id,
            plan.name,
            records.len() + 1,
        ));
        let (sender, events) = mpsc::unbounded_channel();
        let order = Order {
            run: run.clone(),
            attempt,
            accelerator: wish.accelerator,
            fresh: wish.fresh,
            portrait: false,
            // Each attempt has moments of its own, and can be repeated alone.
            seed: seed.wrapping_add(u64::from(attempt - 1)),
            cancel: cancel.clone(),
        };
        let work = lab.run(plan, order, sender);
        let title = runs::attempt_name(&plan.id, attempt);
        let (record, kept) = watch::run(&mut terminal, &title, events, work).await?;
        print(&scenario_table(&record, shown(&kept)))?;
        exit = exit.max(exit_of(&record, &cancel));
        records.push(record);
    }
    print(&summary_table(&records))?;
    Ok(exit)
}

/// Reads all files before anything runs; `None` when a mistake was shown.
fn load(files: &[PathBuf], terminal: &mut Terminal) -> Result<Option<Vec<Plan>>, LabError> {
    let mut plans = Vec::new();
    let mut sources: BTreeMap<String, &Path> = BTreeMap::new();
    let mut mistaken = false;
    for file in files {
        match scenario::load(file) {
            Ok(plan) => {
                if let Some(first) = sources.insert(plan.id.clone(), file) {
                    mistaken = true;
                    let (first, file) = (first.display(), file.display());
                    terminal.line(&format!(
                        "error: {first} and {file} would both be kept as `{}`",
                        plan.id
                    ));
                }
                plans.push(plan);
            }
            Err(error) if error.exit() == Exit::BadInput => {
                mistaken = true;
                terminal.line(error.show(terminal.is_coloured()).trim_end());
            }
            Err(error) => return Err(error),
        }
    }
    Ok((!mistaken).then_some(plans))
}

async fn prepare_images(
    lab: &Lab,
    plans: &[Plan],
    cancel: &CancellationToken,
    terminal: &mut Terminal,
) -> Result<(), LabError> {
    for plan in plans {
        let (lab, plan) = (lab.clone(), plan.clone());
        let title = plan.image.to_string();
        watch::blocking(terminal, &title, cancel, move |progress| {
            lab.images(&plan, progress)
        })
        .await?;
    }
    Ok(())
}

fn exit_of(record: &RunRecord, cancel: &CancellationToken) -> Exit {
    match record.outcome {
        _ if cancel.is_cancelled() => Exit::Interrupted,
        Outcome::Passed | Outcome::Skipped { .. } => Exit::Success,
        Outcome::Failed(_) => Exit::Failed,
        Outcome::Broken(_) => Exit::Broken,
    }
}

/// A path as short as the current folder allows.
fn shown(path: &Path) -> &Path {
    std::env::current_dir()
        .ok()
        .and_then(|here| path.strip_prefix(here).ok())
        .unwrap_or(path)
}
