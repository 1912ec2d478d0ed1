//! What `squeue` says of a job's tasks. Pure.

use std::collections::{BTreeMap, BTreeSet};

/// What `squeue` is asked for, one line for each task: its number, state, reason, nodes.
pub(crate) const FORMAT: &str = "%K|%T|%r|%N";

/// States that a task leaves again.
const ALIVE: [&str; 14] = [
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
    "RESV_DEL_HOLD",
    "SPECIAL_EXIT",
];

/// States of a task that Slurm has put on hold.
const ON_HOLD: [&str; 3] = ["REQUEUE_HOLD", "RESV_DEL_HOLD", "SPECIAL_EXIT"];

/// Reasons of a task that waits for good: it could not be started, as where the prolog of its node failed, or was too often; or no node, its
/// partition's limit or what it depends on will ever let it start.
const HELD: [&str; 5] = [
    "launch failed requeued held",
    "JobHoldMaxRequeue",
    "PartitionTimeLimit",
    "BadConstraints",
    "DependencyNeverSatisfied",
];

/// What is known of the tasks of a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Tasks {
    /// Their numbers are from 1 to this.
    last: u16,
    /// Those that were seen, by their numbers.
    seen: BTreeMap<u16, Task>,
}

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

    /// Whether it waits for somebody to change something, and not because a user holds it.
    fn is_stuck(&self) -> bool {
        let reason = self.reason.replace('_', " ");
        self.is_alive()
            && (ON_HOLD.contains(&self.state.as_str())
                || self.state == "PENDING" && HELD.contains(&reason.as_str()))
    }
}

impl Tasks {
    /// So many, none of which was seen yet.
    pub(crate) fn new(count: u16) -> Self {
        Self {
            last: count,
            seen: BTreeMap::new(),
        }
    }

    /// Takes in what `squeue` prints. Slurm forgets a task some minutes after its end: what was seen last stays.
    pub(crate) fn update(&mut self, text: &str) {
        let mut not_ended: BTreeSet<u16> = (1..=self.last).collect();
        not_ended.retain(|number| self.seen.get(number).is_none_or(Task::is_alive));
        for task in self.seen.values_mut() {
            task.listed = false;
        }
        let mut others = None;
        for line in text.lines() {
            let mut fields = line.trim().split('|').map(str::to_owned);
            let (Some(number), Some(state), Some(reason), Some(nodes)) =
                (fields.next(), fields.next(), fields.next(), fields.next())
            else {
                continue;
            };
            let task = Task {
                state,
                reason,
                nodes,
                listed: true,
            };
            if let Ok(number) = number.parse() {
                not_ended.remove(&number);
                self.seen.insert(number, task);
            } else {
                // `N/A`: all that were cancelled before they began.
                others = Some(task);
            }
        }
        if let Some(task) = others {
            let others = not_ended.into_iter().map(|number| (number, task.clone()));
            self.seen.extend(others);
        }
    }

    /// Whether any task was ever listed.
    pub(crate) fn were_seen(&self) -> bool {
        !self.seen.is_empty()
    }

    /// Whether no task runs, or waits and may still run. Of a job no task of which was seen nothing is known.
    pub(crate) fn are_over(&self) -> bool {
        let may_run = |task: &Task| task.is_alive() && !task.is_stuck();
        self.were_seen() && !self.seen.values().any(may_run)
    }

    /// A line for each task that Slurm will not start.
    pub(crate) fn stuck(&self) -> Vec<String> {
        let stuck = self.seen.iter().filter(|(_, task)| task.is_stuck());
        let told = stuck.map(|(number, task)| {
            let Task { state, reason, .. } = task;
            format!("task {number} will not start: {state} ({reason})")
        });
        told.collect()
    }

    /// How many are in which state.
    pub(crate) fn summary(&self) -> String {
        let mut states: BTreeMap<&str, usize> = BTreeMap::new();
        for task in self.seen.values() {
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
        let others = self
            .seen
            .iter()
            .filter(|(_, task)| task.state != "COMPLETED");
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
    fn nothing_is_known_of_a_job_of_which_no_task_was_seen() {
        let mut tasks = Tasks::new(2);
        tasks.update("");
        assert!(!tasks.were_seen() && !tasks.are_over());
        assert_eq!(tasks.summary(), "no task was seen");
        tasks.update("1|COMPLETED|None|n1\n");
        // Slurm has forgotten it.
        tasks.update("");
        assert!(tasks.were_seen() && tasks.are_over());
    }

    #[test]
    fn a_job_is_over_when_no_task_waits_or_runs() {
        let mut tasks = Tasks::new(2);
        tasks.update("1|RUNNING|None|n1\n2|PENDING|Resources|\n");
        assert!(!tasks.are_over());
        assert_eq!(tasks.summary(), "1 PENDING, 1 RUNNING");
        // The node of a task was lost: it waits again.
        tasks.update("1|PENDING|BeginTime|\n2|COMPLETED|None|n2\n");
        assert!(!tasks.are_over());
        // Slurm has forgotten task 2.
        tasks.update("1|FAILED|NonZeroExitCode|n3\n");
        assert!(tasks.are_over());
        assert_eq!(
            tasks.not_completed(),
            ["task 1: last seen as FAILED (NonZeroExitCode) on n3"]
        );
    }

    #[test]
    fn a_job_is_over_when_slurm_has_put_what_is_left_on_hold() {
        let mut tasks = Tasks::new(2);
        tasks.update("1|PENDING|launch failed requeued held|\n2|RUNNING|None|n2\n");
        assert!(!tasks.are_over());
        tasks.update("1|PENDING|launch failed requeued held|\n2|COMPLETED|None|n2\n");
        assert!(tasks.are_over());
        assert_eq!(
            tasks.stuck(),
            ["task 1 will not start: PENDING (launch failed requeued held)"]
        );
        // Whoever holds a task himself may release it.
        tasks.update("1|PENDING|JobHeldUser|\n");
        assert!(!tasks.are_over());
    }

    #[test]
    fn tasks_that_were_cancelled_before_they_began_are_one_line() {
        let mut tasks = Tasks::new(3);
        tasks.update("1|RUNNING|None|n1\n2|PENDING|Resources|\n3|PENDING|Resources|\n");
        tasks.update("N/A|CANCELLED|Resources|\n1|COMPLETING|None|n1\n");
        assert_eq!(tasks.summary(), "2 CANCELLED, 1 COMPLETING");
        tasks.update("N/A|CANCELLED|Resources|\n1|CANCELLED|None|n1\n");
        assert!(tasks.are_over());
        // Slurm forgets the one before the others.
        tasks.update("N/A|CANCELLED|Resources|\n");
        let lines = tasks.not_completed();
        assert_eq!(lines[0], "task 1: last seen as CANCELLED (None) on n1");
        let mut unseen = Tasks::new(2);
        unseen.update("N/A|CANCELLED|Resources|\n");
        assert_eq!(unseen.summary(), "2 CANCELLED");
    }

    #[test]
    fn what_can_never_start_is_told() {
        for line in [
            "1|PENDING|PartitionTimeLimit|",
            "1|PENDING|BadConstraints|",
            "1|PENDING|DependencyNeverSatisfied|",
            "1|PENDING|launch_failed_requeued_held|",
            "1|RESV_DEL_HOLD|None|",
            "1|REQUEUE_HOLD|None|",
        ] {
            let mut tasks = Tasks::new(2);
            tasks.update(line);
            assert!(tasks.are_over(), "{line}");
            let stuck = tasks.stuck();
            assert!(stuck[0].starts_with("task 1 will not start: "), "{stuck:?}");
        }
        // What waits for others starts by itself.
        let mut tasks = Tasks::new(2);
        tasks.update("1|PENDING|PartitionNodeLimit|\n2|PENDING|Resources|\n");
        assert!(!tasks.are_over() && tasks.stuck().is_empty());
    }
}
