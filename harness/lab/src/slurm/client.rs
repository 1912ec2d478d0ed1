//! The commands of Slurm: sbatch, squeue, scancel. Each has a deadline, and is given what the user's environment must not change.

use std::fmt;
use std::process::{Output, Stdio};
use std::time::Duration;

use tokio::process::Command;
use tokio::time::timeout;

use super::job::Job;
use super::tasks::FORMAT;
use crate::LabError;

/// How long a command of Slurm may take.
const COMMAND: Duration = Duration::from_secs(60);

/// Variables of the user's environment that are taken from a command; with `_` at the end, all that begin so. Those of squeue and scancel are
/// filters: with `SQUEUE_PARTITION` a job that runs elsewhere is not listed. sbatch would wait for the job itself, or write what its tasks
/// say to another place; all else of its environment is the user's wish, where the command line does not say otherwise.
const TAKEN: [(&str, &[&str]); 3] = [
    ("sbatch", &["SBATCH_WAIT", "SBATCH_ERROR"]),
    ("squeue", &["SQUEUE_"]),
    ("scancel", &["SCANCEL_"]),
];

/// What Slurm says when it did not hear, or was not heard, in time: it may have done what was asked.
const UNHEARD: [&str; 2] = ["timed out", "Zero Bytes were transmitted or received"];

/// A job that Slurm has taken.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Submitted {
    id: String,
    /// Where it is not the cluster that Slurm's commands ask by themselves.
    cluster: Option<String>,
}

impl fmt::Display for Submitted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.cluster {
            Some(cluster) => write!(f, "{} of cluster {cluster}", self.id),
            None => f.write_str(&self.id),
        }
    }
}

impl Submitted {
    /// What `sbatch --parsable` prints: NUMBER, or NUMBER;CLUSTER.
    fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let (id, cluster) = match text.split_once(';') {
            Some((id, cluster)) => (id, Some(cluster)),
            None => (text, None),
        };
        let is_number = !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_digit());
        let is_named = cluster.is_none_or(|cluster| {
            let fits = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
            !cluster.is_empty() && cluster.chars().all(fits)
        });
        (is_number && is_named).then(|| Self {
            id: id.to_owned(),
            cluster: cluster.map(str::to_owned),
        })
    }

    /// Arguments that name the cluster to a command, and then `further`.
    fn asking(&self, further: &[&str]) -> Vec<String> {
        asking(self.cluster.as_deref(), further)
    }

    /// The command with which a user sees what Slurm knows of it.
    pub(crate) fn show_command(&self) -> String {
        let further = self.asking(&["show", "job", &self.id]);
        format!("scontrol {}", further.join(" "))
    }
}

/// Submits a job whose script is written. Where Slurm may have taken it without an answer, it is cancelled: nobody would wait for it.
pub(crate) async fn submit(job: &Job<'_>) -> Result<Submitted, LabError> {
    let why = match run("sbatch", &job.arguments()).await {
        Ok(text) => match Submitted::parse(&text) {
            Some(submitted) => return Ok(submitted),
            None => format!("sbatch printed `{}` instead of a job's number", text.trim()),
        },
        Err(failed) if failed.is_refused => return Err(failed.error()),
        Err(failed) => failed.why,
    };
    let name = format!("--name={}", job.name());
    let of_environment = std::env::var("SBATCH_CLUSTERS").ok();
    let clusters = job.clusters().or(of_environment.as_deref());
    let cancelled = match run("scancel", &asking(clusters, &[&name])).await {
        Ok(_) => "and it is cancelled by its name".to_owned(),
        Err(failed) => format!("and it could not be cancelled by its name: {}", failed.why),
    };
    let look = asking(clusters, &["--all", &name]).join(" ");
    Err(LabError::Slurm(format!(
        "submit the job: {why}; Slurm may have taken it all the same, {cancelled}; whether tasks of it are left: `squeue {look}`"
    )))
}

/// What `squeue` lists of the job's tasks; `None`: Slurm knows no such job.
pub(crate) async fn look(job: &Submitted) -> Result<Option<String>, LabError> {
    let jobs = format!("--jobs={}", job.id);
    let format = format!("--format={FORMAT}");
    // `--all`: in hidden partitions, too.
    let further = ["--all", "--noheader", "--array", "--states=all"];
    let arguments = job.asking(&[&further[..], &[&jobs, &format]].concat());
    match run("squeue", &arguments).await {
        Ok(text) => Ok(Some(text)),
        Err(failed) if failed.why.contains("Invalid job id") => Ok(None),
        Err(failed) => Err(failed.error()),
    }
}

/// Asks for the end of all of the job's tasks.
pub(crate) async fn cancel(job: &Submitted) -> Result<(), LabError> {
    let cancelled = run("scancel", &job.asking(&[&job.id])).await;
    cancelled.map(drop).map_err(Failed::error)
}

fn asking(clusters: Option<&str>, further: &[&str]) -> Vec<String> {
    let clusters = clusters.map(|clusters| format!("--clusters={clusters}"));
    let further = further.iter().map(|word| (*word).to_owned());
    clusters.into_iter().chain(further).collect()
}

/// Why a command did not do what it was asked.
struct Failed {
    why: String,
    /// It is known that nothing came of it.
    is_refused: bool,
}

impl Failed {
    fn error(self) -> LabError {
        LabError::Slurm(self.why)
    }
}

/// Runs a command; what it prints.
async fn run(program: &str, arguments: &[String]) -> Result<String, Failed> {
    let failed = |why: String, is_refused| Failed {
        why: format!("run {program}: {why}"),
        is_refused,
    };
    let mut command = Command::new(program);
    command
        .args(arguments)
        .stdin(Stdio::null())
        // A Ctrl-C is for this program, which then cancels the job, and must not end sbatch halfway.
        .process_group(0)
        .kill_on_drop(true);
    let taken = TAKEN.iter().filter(|(one, _)| *one == program);
    let taken: Vec<&str> = taken.flat_map(|(_, names)| names.iter().copied()).collect();
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        let is_meant = |one: &&str| text == *one || one.ends_with('_') && text.starts_with(one);
        if taken.iter().any(is_meant) {
            command.env_remove(&name);
        }
    }
    let Output {
        status,
        stdout,
        stderr,
    } = timeout(COMMAND, command.output())
        .await
        .map_err(|_| failed(format!("no answer within {} s", COMMAND.as_secs()), false))?
        .map_err(|error| failed(format!("{error}; Slurm's commands must be on PATH"), true))?;
    if !status.success() {
        let stderr = String::from_utf8_lossy(&stderr);
        let is_refused =
            status.code().is_some() && !UNHEARD.iter().any(|words| stderr.contains(words));
        return Err(failed(format!("{status}: {}", stderr.trim()), is_refused));
    }
    Ok(String::from_utf8_lossy(&stdout).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_is_a_number_and_perhaps_a_cluster() {
        let parsed = Submitted::parse("7;east\n").unwrap();
        assert_eq!(parsed.to_string(), "7 of cluster east");
        assert_eq!(parsed.asking(&["7"]), ["--clusters=east", "7"]);
        assert_eq!(parsed.show_command(), "scontrol --clusters=east show job 7");
        let parsed = Submitted::parse("7\n").unwrap();
        assert_eq!(parsed.to_string(), "7");
        assert_eq!(parsed.show_command(), "scontrol show job 7");
        for wrong in ["", ";east", "7;", "seven", "Submitted batch job 7", "7;a b"] {
            assert_eq!(Submitted::parse(wrong), None, "{wrong}");
        }
    }
}
