//! Carries out what layers describe: stages of tasks, then probes until they are true.

use std::fmt::Write as _;
use std::time::Duration;

use sanlab_fleet::Status;
use sanlab_plan::{NodeName, quote};
use sanlab_stack::{GuestFile, Probe, Stage, Task, Work};
use tokio::time::Instant;

use crate::Failure;
use crate::backend::{Ended, FleetBackend};
use crate::engine::event_log::Scope;
use crate::engine::join;
use crate::failure::Cause;

/// The pause between two looks at a condition in a guest, which grows with the time that has passed: each look costs the guest a
/// process, and dozens of guests that look at once keep each other from what they wait for.
const LOOK_AGAIN: Duration = Duration::from_millis(250);
const RAREST_LOOK: Duration = Duration::from_secs(2);
const LOOKS_AN_AGE: u32 = 8;

/// Does the stages one after another, the tasks of each side by side, then awaits the probes side by side.
pub(crate) async fn carry_out(
    backend: &dyn FleetBackend,
    scope: &Scope,
    work: &Work,
) -> Result<(), Failure> {
    for stage in &work.stages {
        carry_out_stage(backend, scope, stage).await?;
    }
    await_probes(backend, scope, &work.probes).await
}

/// Awaits probes side by side.
pub(crate) async fn await_probes(
    backend: &dyn FleetBackend,
    scope: &Scope,
    probes: &[Probe],
) -> Result<(), Failure> {
    let looks = probes.iter();
    join::all(looks.map(|probe| await_probe(backend, scope, probe))).await?;
    Ok(())
}

/// Runs the tasks of a stage side by side.
pub(crate) async fn carry_out_stage(
    backend: &dyn FleetBackend,
    scope: &Scope,
    stage: &Stage,
) -> Result<(), Failure> {
    scope.progress(None, &stage.title);
    join::all(stage.tasks.iter().map(|task| async move {
        let ended = attempt(backend, scope, task).await?;
        ended
            .success()
            .map_err(|failure| failure.during(format!("{} on {}", task.title, task.node)))
    }))
    .await?;
    Ok(())
}

/// Runs one task, whatever its exit code.
pub(crate) async fn attempt(
    backend: &dyn FleetBackend,
    scope: &Scope,
    task: &Task,
) -> Result<Ended, Failure> {
    let ended = backend
        .exec(&task.node, &script_of(task), task.deadline)
        .await;
    let kept = kept(scope, &task.node, &task.title, ended).await;
    kept.map_err(|failure| failure.during(&task.title))
}

/// What became of a command, with what it printed kept; also of one that did not end in time.
pub(crate) async fn kept(
    scope: &Scope,
    node: &NodeName,
    command: &str,
    ended: Result<Ended, Failure>,
) -> Result<Ended, Failure> {
    match ended {
        Ok(ended) => Ok(ended.keep(scope, command).await),
        Err(failure) => {
            let Some((printed, after)) = failure.printed() else {
                return Err(failure);
            };
            let status = format!("had not ended after {} s", after.as_secs_f64());
            let file = scope.keep_output(node, command, &status, printed).await;
            let file = file.filter(|_| !printed.is_empty());
            Err(failure.printed_in(file))
        }
    }
}

/// Looks until the probe is true, its deadline is over, or nothing has changed for so long that nothing will.
pub(crate) async fn await_probe(
    backend: &dyn FleetBackend,
    scope: &Scope,
    probe: &Probe,
) -> Result<(), Failure> {
    let begun = Instant::now();
    let mut seen = "no look ended".to_owned();
    let mut last = (String::new(), begun);
    let mut last_look = None;
    loop {
        let left = probe.deadline.saturating_sub(begun.elapsed());
        if left.is_zero() || probe.stall.is_some_and(|stall| last.1.elapsed() >= stall) {
            let Probe { node, title, .. } = probe;
            let after = if left.is_zero() {
                probe.deadline
            } else {
                Duration::from_secs(begun.elapsed().as_secs())
            };
            let mut failure = Failure::from(Cause::ConditionNotMet { after, seen });
            if let Some(look) = last_look {
                let look = Ended::keep(look, scope, title).await;
                failure = failure.printed_in(look.kept);
            }
            return Err(failure.on(node).during(format!("{title} on {node}")));
        }
        let ended = backend
            .exec(&probe.node, &probe.script, left)
            .await
            .map_err(|failure| failure.during(format!("{}: {seen}", probe.title)))?;
        if ended.stdout != last.0 {
            last = (ended.stdout.clone(), Instant::now());
        }
        seen = match ended.status {
            Status::Exited(0) => match probe.expect.judge(&ended.stdout) {
                Ok(()) => return Ok(()),
                Err(difference) => difference,
            },
            status => format!("the look {status}: {}", ended.said()),
        };
        last_look = Some(ended);
        let pause = (begun.elapsed() / LOOKS_AN_AGE).clamp(LOOK_AGAIN, RAREST_LOOK);
        tokio::time::sleep(pause.min(left)).await;
    }
}

/// One script that writes a task's files and then does the task: one round trip instead of one for each file.
fn script_of(task: &Task) -> String {
    let mut script = String::new();
    for GuestFile { path, text, mode } in &task.files {
        if let Some((folder, _)) = path
            .rsplit_once('/')
            .filter(|(folder, _)| !folder.is_empty())
        {
            let _ = writeln!(script, "mkdir -p {}", quote(folder));
        }
        let path = quote(path);
        // Not a here-document: that would add a last newline, and could end at a line of the file.
        let _ = writeln!(script, "printf %s {} >{path}", quote(text));
        let _ = writeln!(script, "chmod {mode:o} {path}");
    }
    script + &task.script
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_travel_inside_of_the_script() {
        let task = Task {
            node: sanlab_plan::NodeName::parse("vix0").unwrap(),
            title: "configure".to_owned(),
            files: vec![
                GuestFile {
                    path: "/etc/ocfs2/cluster.conf".to_owned(),
                    text: "node:\n\tname = it's\n".to_owned(),
                    mode: 0o644,
                },
                GuestFile {
                    path: "/flag".to_owned(),
                    text: String::new(),
                    mode: 0o600,
                },
            ],
            script: "o2cb online\n".to_owned(),
            deadline: Duration::from_secs(5),
        };
        insta::assert_snapshot!(script_of(&task));
    }
}
