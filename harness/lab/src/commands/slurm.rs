//! `sanlab slurm`: scenarios as a job array of Slurm, a task for each shard, and the one run folder of all.

use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::time::Duration;

use clap::Parser;
use fs_err as fs;
use tokio::process::Command;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::commands::cli::Cli;
use crate::commands::merge;
use crate::commands::up::parse_limit;
use crate::lab::runs::{RunFolder, shown};
use crate::shards::share::MOST;
use crate::shards::slurm::{FORMAT, Job, Tasks};
use crate::terminal::{Terminal, interrupt, print};
use crate::{Exit, Lab, LabError, ShardError};

/// How long a command of Slurm may take.
const COMMAND: Duration = Duration::from_secs(60);
/// How long Slurm's controller may be silent, as while it is restarted.
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
    #[arg(long, value_name = "ARG", allow_hyphen_values = true)]
    sbatch: Vec<String>,
    /// How long the job may take with all its waiting; then it is cancelled
    #[arg(long, value_name = "TIME", default_value = "24h", value_parser = parse_limit)]
    deadline: Duration,
    /// Print the script of the job, and submit nothing
    #[arg(long)]
    dry_run: bool,
    /// Arguments of `sanlab run` for all shards, behind `--`
    #[arg(last = true, value_name = "ARGUMENT OF RUN")]
    run: Vec<String>,
}

/// Submits the job, waits for it, and merges what its tasks leave.
pub(crate) async fn execute(arguments: &Arguments) -> Result<Exit, LabError> {
    let run: Vec<String> = [&arguments.run[..], &["--".to_owned()], &arguments.files[..]].concat();
    let shard = format!("1/{}", arguments.nodes);
    let words = ["sanlab", "run", "--keep-going", "--shard", &shard].map(str::to_owned);
    // A mistake is told here, and not by each of the tasks.
    let checked = Cli::try_parse_from(words.iter().chain(&run)).unwrap_or_else(|e| e.exit());
    if !checked.is_run_without_mistakes()? {
        return Ok(Exit::BadInput);
    }
    let directory = std::env::current_dir()?;
    let below = match &arguments.shared {
        Some(folder) => std::path::absolute(folder)?,
        None => Lab::find(&directory)?.project().join("target/sanlab/slurm"),
    };
    let program = std::env::current_exe()?;
    let job = |folder: &Path| {
        let mut sbatch = vec![format!(
            "--output=\"{}/task-%a.log\"",
            folder.display().to_string().replace('%', "%%")
        )];
        sbatch.extend(arguments.time.iter().map(|time| format!("--time={time}")));
        let partition = arguments.partition.iter();
        sbatch.extend(partition.map(|name| format!("--partition={name}")));
        sbatch.extend_from_slice(&arguments.sbatch);
        Job {
            program: &program,
            directory: &directory,
            folder,
            nodes: arguments.nodes,
            sbatch,
            run: run.clone(),
        }
        .script()
    };
    if arguments.dry_run {
        print(&job(&below.join("JOB")))?;
        return Ok(Exit::Success);
    }
    let cancel = interrupt::cancel_on_signal("cancelling the job and merging what it has left")?;
    let folder = RunFolder::create_in(&below)?;
    let folder = folder.path();
    let script = folder.join("job.sh");
    fs::write(&script, job(folder))?;
    let mut terminal = Terminal::new();
    let id = submit(&script).await?;
    terminal.line(&format!(
        "job {id}: {} tasks; their logs: {}/task-*.log",
        arguments.nodes,
        shown(folder).display()
    ));
    let waited = wait(&id, arguments.deadline, &cancel, &mut terminal).await;
    let (tasks, cut_short) = match waited {
        Ok(tasks) if tasks.stuck().is_empty() => (tasks, None),
        Ok(tasks) => {
            let error = LabError::Slurm(format!(
                "finish job {id}: {}; slurmctld's log says why",
                tasks.stuck().join("; ")
            ));
            (end(&id, &mut terminal).await.unwrap_or(tasks), Some(error))
        }
        Err(error) => (
            end(&id, &mut terminal).await.unwrap_or_default(),
            Some(error),
        ),
    };
    for line in tasks.not_completed() {
        terminal.line(&line);
    }
    let merged = merge::execute(&merge::Arguments {
        folders: vec![folder.join("shards")],
        output: folder.join("merged"),
    });
    let merged = merged.map_err(|error| match error {
        LabError::Shard(ShardError::NothingToMerge { .. }) => LabError::Slurm(
            "merge: no task has left a run folder; see the logs of the tasks".to_owned(),
        ),
        error => error,
    });
    match (cut_short, merged) {
        (None, merged) => merged,
        (Some(error), Ok(_)) => Err(error),
        (Some(error), Err(why)) => {
            terminal.line(&why.show(terminal.is_coloured()));
            Err(error)
        }
    }
}

/// Cancels the job and waits until its tasks have ended: the lab in them ends its guests, and records what it has seen. `None`, and why,
/// if this fails.
async fn end(id: &str, terminal: &mut Terminal) -> Option<Tasks> {
    let ended = async {
        slurm("scancel", &[id]).await?;
        wait(id, ENDING, &CancellationToken::new(), terminal).await
    };
    match ended.await {
        Ok(tasks) => Some(tasks),
        Err(why) => {
            terminal.line(&format!("tasks of job {id} may still run: {why}"));
            None
        }
    }
}

/// Submits the script; the job's number.
async fn submit(script: &Path) -> Result<String, LabError> {
    let script = script.display().to_string();
    let text = slurm("sbatch", &["--parsable", &script]).await?;
    // NUMBER, or NUMBER;CLUSTER.
    let id = text.trim().split(';').next().unwrap_or_default();
    if id.is_empty() || !id.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(LabError::Slurm(format!(
            "submit the job: sbatch printed `{}` instead of a job's number",
            text.trim()
        )));
    }
    Ok(id.to_owned())
}

/// Waits until no task waits or runs: two looks must agree, since a task whose node was lost waits again a moment later.
async fn wait(
    id: &str,
    limit: Duration,
    cancel: &CancellationToken,
    terminal: &mut Terminal,
) -> Result<Tasks, LabError> {
    let begun = Instant::now();
    let mut heard = begun;
    let mut tasks = Tasks::default();
    let mut told = String::new();
    let mut over = 0;
    loop {
        let look = ["--noheader", "--array", "--states=all", "--jobs", id];
        match slurm("squeue", &[&look[..], &["--format", FORMAT]].concat()).await {
            Ok(text) => {
                heard = Instant::now();
                tasks.hear(&text);
                over = if tasks.are_over() { over + 1 } else { 0 };
            }
            Err(error) if error.to_string().contains("Invalid job id") => {
                tasks.hear("");
                return Ok(tasks);
            }
            Err(error) if heard.elapsed() > SILENCE => return Err(error),
            // Told if it lasts.
            Err(_) => over = 0,
        }
        if tasks.told() != told {
            told = tasks.told();
            terminal.line(&format!("job {id}: {told}"));
        }
        if over == 2 {
            return Ok(tasks);
        }
        if begun.elapsed() > limit {
            return Err(LabError::Slurm(format!(
                "see the end of job {id} within {}; seen last: {told}; --deadline gives it longer",
                humantime::format_duration(limit)
            )));
        }
        tokio::select! {
            () = sleep(LOOK) => {}
            () = cancel.cancelled() => return Err(LabError::Interrupted),
        }
    }
}

/// Runs a program of Slurm's; what it prints.
async fn slurm(program: &str, arguments: &[&str]) -> Result<String, LabError> {
    let failed = |why: String| LabError::Slurm(format!("run {program}: {why}"));
    let mut command = Command::new(program);
    command
        .args(arguments)
        .stdin(Stdio::null())
        .kill_on_drop(true);
    let Output {
        status,
        stdout,
        stderr,
    } = timeout(COMMAND, command.output())
        .await
        .map_err(|_| failed(format!("no answer within {} s", COMMAND.as_secs())))?
        .map_err(|error| failed(format!("{error}; Slurm's commands must be on PATH")))?;
    if !status.success() {
        let stderr = String::from_utf8_lossy(&stderr);
        return Err(failed(format!("{status}: {}", stderr.trim())));
    }
    Ok(String::from_utf8_lossy(&stdout).into_owned())
}
