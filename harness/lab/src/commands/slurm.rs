//! `sanlab slurm`: scenarios as a job array of Slurm, a task for each shard, and the one run folder of all.

use std::path::{Path, PathBuf};
use std::time::Duration;

use fs_err as fs;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use crate::commands::cli::Cli;
use crate::commands::merge;
use crate::commands::time::parse_time;
use crate::lab::runs::{RunFolder, shown};
use crate::shards::share::MOST;
use crate::slurm::client::{self, Submitted};
use crate::slurm::job::Job;
use crate::slurm::tasks::Tasks;
use crate::terminal::quantity::took;
use crate::terminal::{Terminal, interrupt, print};
use crate::{Exit, Lab, LabError, ShardError};

/// How long Slurm may say nothing of the tasks, as while its controller is restarted.
const SILENCE: Duration = Duration::from_secs(300);
/// How long the tasks of a cancelled job may take to end: Slurm kills them `KillWait` (30 s by default) after it has asked.
const ENDING: Duration = Duration::from_secs(120);
/// Between two looks at the job.
const LOOK: Duration = Duration::from_secs(2);

/// What the command line says of it.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Scenario files
    #[arg(required = true, value_name = "FILE")]
    files: Vec<String>,
    /// Into how many shards the scenarios are divided: the tasks of the job array
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=MOST))]
    nodes: u16,
    /// Folder that all nodes share, for the run folders of the job [default: target/sanlab/slurm of the project]
    #[arg(long, value_name = "DIR")]
    shared: Option<PathBuf>,
    /// Slurm's limit for each task, as in `sbatch --time`
    #[arg(long, value_name = "TIME")]
    time: Option<String>,
    /// Slurm's partition
    #[arg(long, value_name = "NAME")]
    partition: Option<String>,
    /// A further argument of sbatch, such as `--sbatch=--mem=4G`; repeatable
    #[arg(long, value_name = "ARG", allow_hyphen_values = true, value_parser = parse_sbatch)]
    sbatch: Vec<String>,
    /// How long the job may take with all its waiting; then it is cancelled
    #[arg(long, value_name = "TIME", default_value = "24h", value_parser = parse_time)]
    deadline: Duration,
    /// Print the job's script and the command that would submit it, and submit nothing
    #[arg(long)]
    dry_run: bool,
    /// Arguments of `sanlab run` for all shards, behind `--`
    #[arg(last = true, value_name = "ARGUMENT OF RUN")]
    run: Vec<String>,
}

/// An argument of sbatch.
fn parse_sbatch(text: &str) -> Result<String, String> {
    if ["--wait", "-W"].contains(&text) {
        return Err("sanlab waits for the job itself".to_owned());
    }
    Ok(text.to_owned())
}

/// Submits the job, waits for it, and merges what its tasks leave.
pub(crate) async fn execute(arguments: &Arguments) -> Result<Exit, LabError> {
    let run: Vec<String> = [&arguments.run[..], &["--".to_owned()], &arguments.files[..]].concat();
    // A mistake is told here, and not by each of the tasks.
    let checked = Cli::run_of_shards(arguments.nodes, &run).unwrap_or_else(|error| error.exit());
    if checked.load_divided()?.is_none() {
        return Ok(Exit::BadInput);
    }
    let directory = std::env::current_dir()?;
    let below = match &arguments.shared {
        Some(folder) => std::path::absolute(folder)?,
        None => Lab::find(&directory)?.project().join("target/sanlab/slurm"),
    };
    let program = std::env::current_exe()?;
    let of_folder = |folder| Job {
        program: &program,
        directory: &directory,
        folder,
        nodes: arguments.nodes,
        time: arguments.time.as_deref(),
        partition: arguments.partition.as_deref(),
        sbatch: &arguments.sbatch,
        run: &run,
    };
    if arguments.dry_run {
        print(&of_folder(&below.join("JOB")).describe())?;
        return Ok(Exit::Success);
    }
    let cancel = interrupt::cancel_on_signal("cancelling the job and merging what it has left")?;
    let folder = RunFolder::create_in(&below)?;
    let folder = folder.path();
    let job = of_folder(folder);
    fs::write(job.script_path(), job.script())?;
    let mut terminal = Terminal::new();
    let submitted = client::submit(&job).await?;
    terminal.line(&format!(
        "job {submitted}: {} tasks; their logs: {}/task-*.log",
        arguments.nodes,
        shown(folder).display()
    ));
    let mut waiting = Waiting {
        job: &submitted,
        tasks: Tasks::new(arguments.nodes),
        terminal: &mut terminal,
    };
    let longer = "--deadline gives it longer";
    let waited = waiting.wait(arguments.deadline, longer, &cancel).await;
    let cut_short = match waited {
        Ok(()) => not_started(&submitted, &waiting.tasks),
        Err(error) => Some(error),
    };
    if cut_short.is_some() {
        waiting.end().await;
    }
    let tasks = waiting.tasks;
    for line in tasks.not_completed() {
        terminal.line(&line);
    }
    match (cut_short, merged(folder)) {
        (None, merged) => merged,
        (Some(error), Ok(_)) => Err(error),
        (Some(error), Err(why)) => {
            terminal.line(&why.show(terminal.is_coloured()));
            Err(error)
        }
    }
}

/// Merges what the tasks have left.
fn merged(folder: &Path) -> Result<Exit, LabError> {
    let merged = merge::execute(&merge::Arguments {
        folders: vec![folder.join("shards")],
        output: folder.join("merged"),
    });
    merged.map_err(|error| match error {
        LabError::Shard(ShardError::NothingToMerge { .. }) => LabError::Slurm(
            "merge: no task has left a run folder; see the logs of the tasks".to_owned(),
        ),
        error => error,
    })
}

/// What is wrong with a job that waits for good.
fn not_started(job: &Submitted, tasks: &Tasks) -> Option<LabError> {
    let stuck = tasks.stuck();
    (!stuck.is_empty()).then(|| {
        LabError::Slurm(format!(
            "finish job {job}: {}; `{}` and slurmctld's log say why",
            stuck.join("; "),
            job.show_command()
        ))
    })
}

/// A job that is waited for.
struct Waiting<'a> {
    job: &'a Submitted,
    tasks: Tasks,
    terminal: &'a mut Terminal,
}

impl Waiting<'_> {
    /// Waits until no task waits or runs: two looks must agree, since a task whose node was lost waits again a moment later.
    async fn wait(
        &mut self,
        limit: Duration,
        way_out: &str,
        cancel: &CancellationToken,
    ) -> Result<(), LabError> {
        let job = self.job;
        let begun = Instant::now();
        let mut heard = begun;
        let mut told = String::new();
        let mut over = 0;
        loop {
            match client::look(job).await {
                // Slurm has forgotten it.
                Ok(None) if self.tasks.were_seen() => {
                    self.tasks.update("");
                    return Ok(());
                }
                Ok(listed) => {
                    self.tasks.update(&listed.unwrap_or_default());
                    over = if self.tasks.are_over() { over + 1 } else { 0 };
                    if self.tasks.were_seen() {
                        heard = Instant::now();
                    } else if heard.elapsed() > SILENCE {
                        return Err(LabError::Slurm(format!(
                            "see any task of job {job}: for {} squeue has listed none; what Slurm knows of it: `{}`",
                            took(SILENCE.as_secs_f64()),
                            job.show_command()
                        )));
                    }
                }
                Err(error) if heard.elapsed() > SILENCE => return Err(error),
                // Told if it lasts.
                Err(_) => over = 0,
            }
            let summary = self.tasks.summary();
            if summary != told {
                self.terminal.line(&format!("job {job}: {summary}"));
                told = summary;
            }
            if over == 2 {
                return Ok(());
            }
            if begun.elapsed() > limit {
                return Err(LabError::Slurm(format!(
                    "see the end of job {job} within {}; seen last: {told}; {way_out}",
                    took(limit.as_secs_f64())
                )));
            }
            tokio::select! {
                () = sleep(LOOK) => {}
                () = cancel.cancelled() => return Err(LabError::Interrupted),
            }
        }
    }

    /// Cancels the job and waits until its tasks have ended: the lab in them ends its guests, and records what it has seen. Why, if this
    /// fails.
    async fn end(&mut self) {
        let job = self.job;
        let ended = async {
            client::cancel(job).await?;
            let way_out = format!("what Slurm knows of it: `{}`", job.show_command());
            self.wait(ENDING, &way_out, &CancellationToken::new()).await
        };
        if let Err(why) = ended.await {
            let line = format!("tasks of job {job} may still run: {why}");
            self.terminal.line(&line);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sbatch_must_not_wait_for_the_job() {
        assert!(parse_sbatch("--wait").is_err() && parse_sbatch("-W").is_err());
        assert_eq!(
            parse_sbatch("--wait-all-nodes=1").unwrap(),
            "--wait-all-nodes=1"
        );
    }
}
