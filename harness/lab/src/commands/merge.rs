//! `sanlab merge`: one run folder of those of shards.

use std::path::PathBuf;

use sanlab_record::{Outcome, RunRecord};
use tokio_util::sync::CancellationToken;

use crate::lab::runs::shown;
use crate::shards::folders::{self, Found};
use crate::shards::merge::{is_interrupted, merge};
use crate::shards::place;
use crate::shards::tables::merged_table;
use crate::terminal::summary::summary_table;
use crate::terminal::{Terminal, print};
use crate::{Exit, LabError, ShardError};

/// What the command line says of it.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Run folders of shards, or folders that have such below them
    #[arg(required = true, value_name = "DIR")]
    pub(crate) folders: Vec<PathBuf>,
    /// Run folder to make; one that is there is completed if it stands among the others too
    #[arg(short, long, value_name = "DIR")]
    pub(crate) output: PathBuf,
}

/// Merges, says what is missing and what is there more than once, and ends as one run of everything would have.
pub(crate) fn execute(arguments: &Arguments) -> Result<Exit, LabError> {
    let Found { folders, left_out } = folders::find(&arguments.folders);
    if folders.is_empty() {
        return Err(ShardError::NothingToMerge { told: left_out }.into());
    }
    let paths: Vec<PathBuf> = folders.iter().map(|folder| folder.path.clone()).collect();
    place::check(&arguments.output, &paths)?;
    let merged = merge(&folders)?;
    let mut terminal = Terminal::new();
    let left_out = left_out.iter().map(|why| format!("left out: {why}"));
    for line in left_out.chain(merged.told.iter().cloned()) {
        terminal.line(&line);
    }
    place::write(&merged, &arguments.output)?;
    print(&merged_table(&merged))?;
    let records: Vec<RunRecord> = merged.runs.into_iter().map(|run| run.record).collect();
    print(&summary_table(&records))?;
    print(&format!(
        "run folder: {}\n",
        shown(&arguments.output).display()
    ))?;
    Ok(exit_of_all(&records))
}

/// How one run of everything would have ended.
pub(crate) fn exit_of_all(records: &[RunRecord]) -> Exit {
    let exit = |outcome: &Outcome| {
        if is_interrupted(outcome) {
            Exit::Interrupted
        } else {
            Exit::of(outcome, &CancellationToken::new())
        }
    };
    let exits = records.iter().map(|record| exit(&record.outcome));
    exits.max().unwrap_or(Exit::Success)
}
