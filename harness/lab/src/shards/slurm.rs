//! A suite as a job array of Slurm: the script of its tasks, and what `squeue` says of them. Pure.

use std::collections::BTreeMap;
use std::path::Path;

/// What is submitted.
#[derive(Debug)]
pub(crate) struct Job<'a> {
    /// The program that each task runs; all nodes see it.
    pub(crate) program: &'a Path,
    /// Where the tasks run.
    pub(crate) directory: &'a Path,
    /// The job's own folder, which all nodes share.
    pub(crate) folder: &'a Path,
    /// How many tasks: one for each shard.
    pub(crate) nodes: u16,
    /// Arguments of sbatch, one each.
    pub(crate) sbatch: Vec<String>,
    /// Arguments of `sanlab run`, scenario files among them.
    pub(crate) run: Vec<String>,
}

impl Job<'_> {
    /// The script of each task. `exec` leaves the signals of `scancel` and of a time limit to the lab, which then ends its guests.
    pub(crate) fn script(&self) -> String {
        let quoted = |path: &Path| quote(&path.display().to_string());
        let own = self.sbatch.iter();
        let own: Vec<String> = own.map(|word| format!("#SBATCH {word}\n")).collect();
        let arguments: Vec<String> = self.run.iter().map(|word| quote(word)).collect();
        format!(
            "#!/bin/sh\n\
             #SBATCH --job-name=sanlab\n\
             #SBATCH --array=1-{nodes}\n\
             #SBATCH --requeue\n\
             #SBATCH --open-mode=append\n\
             {own}\
             cd {directory} || exit 3\n\
             export SANLAB_RUNS={folder}/shards/\"$SLURM_ARRAY_TASK_ID\"\n\
             exec {program} run --shard \"$SLURM_ARRAY_TASK_ID/{nodes}\" --keep-going {arguments}\n",
            own = own.concat(),
            arguments = arguments.join(" "),
            nodes = self.nodes,
            directory = quoted(self.directory),
            folder = quoted(self.folder),
            program = quoted(self.program),
        )
    }
}

/// A word as a shell takes it.
fn quote(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}

/// What `squeue` is asked for, one line for each task: its number, state, reason, nodes.
pub(crate) const FORMAT: &str = "%K|%T|%r|%N";

/// States that a task leaves again.
const ALIVE: [&str; 13] = [
    "PENDING",
    "CONFIGURING",
    "RUNNING",
    "COMPLETING",
    "SUSPENDED",
    "STOPPED",
    "SIGNALING",
    "STAGE_OUT",
    "RESIZING",
    "REQUEUED",
    "REQUEUE_FED",
    "REQUEUE_HOLD",
    "SPECIAL_EXIT",
];

/// States of a task that Slurm has put on hold.
const ON_HOLD: [&str; 2] = ["REQUEUE_HOLD", "SPECIAL_EXIT"];

/// Reasons of a task that waits for good: it could not be started, as where the prolog of its node failed, or was too often.
const HELD: [&str; 2] = ["launch failed requeued held", "JobHoldMaxRequeue"];

/// What is known of the tasks, by their numbers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Tasks(BTreeMap<u16, Task>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Task {
    state: String,
    reason: String,
    nodes: String,
    /// Slurm still lists it.
    listed: bool,
}

impl Task {
    fn is_alive(&self) -> bool {
        self.listed && ALIVE.contains(&self.state.as_str())
    }

    /// Whether it waits for somebody to release it, and Slurm itself has put it on hold.
    fn is_stuck(&self) -> bool {
        let reason = self.reason.replace('_', " ");
        self.is_alive()
            && (ON_HOLD.contains(&self.state.as_str())
                || self.state == "PENDING" && HELD.contains(&reason.as_str()))
    }
}

impl Tasks {
    /// Takes in what `squeue` prints. Slurm forgets a task some minutes after its end: what was seen last stays.
    pub(crate) fn hear(&mut self, text: &str) {
        for task in self.0.values_mut() {
            task.listed = false;
        }
        for line in text.lines() {
            let mut fields = line.trim().split('|').map(str::to_owned);
            let (Some(number), Some(state), Some(reason), Some(nodes)) =
                (fields.next(), fields.next(), fields.next(), fields.next())
            else {
                continue;
            };
            let Ok(number) = number.parse() else {
                continue;
            };
            let task = Task {
                state,
                reason,
                nodes,
                listed: true,
            };
            self.0.insert(number, task);
        }
    }

    /// Whether no task runs, or waits and may still run.
    pub(crate) fn are_over(&self) -> bool {
        !self
            .0
            .values()
            .any(|task| task.is_alive() && !task.is_stuck())
    }

    /// A line for each task that Slurm has put on hold since it could not be started.
    pub(crate) fn stuck(&self) -> Vec<String> {
        let stuck = self.0.iter().filter(|(_, task)| task.is_stuck());
        let told = stuck.map(|(number, task)| {
            format!(
                "task {number} is on hold as {} ({})",
                task.state, task.reason
            )
        });
        told.collect()
    }

    /// How many are in which state.
    pub(crate) fn told(&self) -> String {
        let mut states: BTreeMap<&str, usize> = BTreeMap::new();
        for task in self.0.values() {
            *states.entry(&task.state).or_default() += 1;
        }
        if states.is_empty() {
            return "no task was seen".to_owned();
        }
        let told = states
            .iter()
            .map(|(state, count)| format!("{count} {state}"));
        told.collect::<Vec<_>>().join(", ")
    }

    /// A line for each task that Slurm does not call completed: a task ends as FAILED also when one of its scenarios failed.
    pub(crate) fn not_completed(&self) -> Vec<String> {
        let others = self.0.iter().filter(|(_, task)| task.state != "COMPLETED");
        let told = others.map(|(number, task)| {
            let Task { state, reason, .. } = task;
            let node = match task.nodes.as_str() {
                "" => "no node".to_owned(),
                nodes => nodes.to_owned(),
            };
            format!("task {number}: last seen as {state} ({reason}) on {node}")
        });
        told.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_task_runs_its_shard_with_the_arguments_of_all() {
        let job = Job {
            program: Path::new("/shared/bin/sanlab"),
            directory: Path::new("/shared/it's here"),
            folder: Path::new("/shared/job"),
            nodes: 8,
            sbatch: vec!["--partition=night".to_owned()],
            run: ["--set", "mtu=9000", "a.toml"].map(str::to_owned).to_vec(),
        };
        insta::assert_snapshot!(job.script(), @r#"
        #!/bin/sh
        #SBATCH --job-name=sanlab
        #SBATCH --array=1-8
        #SBATCH --requeue
        #SBATCH --open-mode=append
        #SBATCH --partition=night
        cd '/shared/it'\''s here' || exit 3
        export SANLAB_RUNS='/shared/job'/shards/"$SLURM_ARRAY_TASK_ID"
        exec '/shared/bin/sanlab' run --shard "$SLURM_ARRAY_TASK_ID/8" --keep-going '--set' 'mtu=9000' 'a.toml'
        "#);
    }

    #[test]
    fn a_job_is_over_when_no_task_waits_or_runs() {
        let mut tasks = Tasks::default();
        tasks.hear("1|RUNNING|None|n1\n2|PENDING|Resources|\n");
        assert!(!tasks.are_over());
        assert_eq!(tasks.told(), "1 PENDING, 1 RUNNING");
        // The node of a task was lost: it waits again.
        tasks.hear("1|PENDING|BeginTime|\n2|COMPLETED|None|n2\n");
        assert!(!tasks.are_over());
        // Slurm has forgotten task 2.
        tasks.hear("1|FAILED|NonZeroExitCode|n3\n");
        assert!(tasks.are_over());
        assert_eq!(
            tasks.not_completed(),
            ["task 1: last seen as FAILED (NonZeroExitCode) on n3"]
        );
    }

    #[test]
    fn a_job_is_over_when_slurm_has_put_what_is_left_on_hold() {
        let mut tasks = Tasks::default();
        tasks.hear("1|PENDING|launch failed requeued held|\n2|RUNNING|None|n2\n");
        assert!(!tasks.are_over());
        tasks.hear("1|PENDING|launch failed requeued held|\n2|COMPLETED|None|n2\n");
        assert!(tasks.are_over());
        assert_eq!(
            tasks.stuck(),
            ["task 1 is on hold as PENDING (launch failed requeued held)"]
        );
        // Whoever holds a task himself may release it.
        tasks.hear("1|PENDING|JobHeldUser|\n");
        assert!(!tasks.are_over());
    }
}
