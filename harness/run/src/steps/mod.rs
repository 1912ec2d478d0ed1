//! The steps. What each kind of step does is in a file of its own, with a row in the table below.

mod add_node;
mod check;
mod clock;
mod crash;
mod dd;
mod degrade;
mod dip;
mod disk_fault;
mod expect;
mod gate;
mod heal;
mod link;
mod memory_pressure;
mod mount;
mod partition;
mod pause;
mod random_bytes;
mod remove_node;
mod restart;
mod run_command;
mod start;
mod stop_process;
mod throughput;
mod unmount;
mod verify;
mod wait;
mod wait_for;
mod write;

use std::collections::BTreeMap;
use std::future::ready;
use std::sync::Arc;
use std::time::Duration;

use sanlab_plan::{Action, Dd, NodeName, Step, Write, file_name};
use sanlab_record::{FailureKind, PhaseName, Work};
use tokio::time::sleep;
use tokio_util::task::AbortOnDropHandle;

use crate::Failure;
use crate::backend::{Ended, Pending};
use crate::engine::context::RunContext;
use crate::engine::event_log::Scope;
use crate::engine::faults::fencing;
use crate::engine::faults::nodes::{self, NodeFault};
use crate::engine::tasks;
use crate::failure::{Cause, PhaseFailure};
use crate::measure::meter::{Meter, Round};

/// What a step gets beyond its deadline, so that the command that hangs is named rather than the step: longer than it
/// takes to find out why a guest does not answer.
const GRACE: Duration = Duration::from_secs(35);

/// The steps that go on while others run, by label. Dropping it ends the waits.
pub(crate) type Background = BTreeMap<String, AbortOnDropHandle<Result<(), PhaseFailure>>>;

/// A step being done: what it may reach.
#[derive(Clone, Copy)]
struct Doing<'a> {
    context: &'a Arc<RunContext>,
    step: &'a Step,
    scope: &'a Scope,
}

/// Does one step; a step in the background is started, and left in `background`.
pub(crate) async fn perform(
    context: &Arc<RunContext>,
    step: &Step,
    background: &mut Background,
) -> Result<(), PhaseFailure> {
    let name = PhaseName::step(&step.label);
    let is_background = step.action.is_background();
    let scope = if is_background {
        context.event_log.background(name)
    } else {
        context.event_log.phase(name)
    };
    let doing = Doing {
        context,
        step,
        scope: &scope,
    };
    if !step.after.is_zero() {
        scope.progress(None, format!("begins in {:.3} s", step.after.as_secs_f64()));
        sleep(step.after).await;
    }
    if let Err(failure) = expect::begin(doing) {
        return scope.finish(Err(failure));
    }
    // Boxed, so that the compiler need not lay all kinds of steps out as one future.
    let work: Pending<'_, Result<(), Failure>> = match &step.action {
        Action::Mount(mount) => Box::pin(mount::perform(doing, mount)),
        Action::Unmount(unmount) => Box::pin(unmount::perform(doing, unmount)),
        Action::AddNode(add) => Box::pin(add_node::perform(doing, add)),
        Action::RemoveNode(remove) => Box::pin(remove_node::perform(doing, remove)),
        Action::Check(check) => Box::pin(check::perform(doing, check)),
        Action::Run(run) => Box::pin(run_command::perform(doing, run)),
        Action::Crash(crash) => Box::pin(crash::perform(doing, crash)),
        Action::Restart(restart) => Box::pin(restart::perform(doing, restart)),
        Action::StopProcess(process) => Box::pin(stop_process::perform(doing, process)),
        Action::Start(start) => Box::pin(start::perform(doing, start)),
        Action::Partition(partition) => Box::pin(partition::perform(doing, partition)),
        Action::Link(link) => Box::pin(link::perform(doing, link)),
        Action::Degrade(degrade) => Box::pin(degrade::perform(doing, degrade)),
        Action::Pause(pause) => Box::pin(pause::perform(doing, pause)),
        Action::DiskFault(fault) => Box::pin(disk_fault::perform(doing, fault)),
        Action::Clock(clock) => Box::pin(clock::perform(doing, clock)),
        Action::MemoryPressure(pressure) => Box::pin(memory_pressure::perform(doing, pressure)),
        Action::Heal(heal) => Box::pin(heal::perform(doing, heal)),
        Action::WaitFor(wait) => Box::pin(wait_for::perform(doing, wait)),
        Action::Verify(verify) => Box::pin(verify::perform(doing, verify)),
        Action::Throughput(throughput) => Box::pin(throughput::perform(doing, throughput)),
        Action::Dip(dip) => Box::pin(ready(dip::perform(doing, dip))),
        Action::Wait(wait) => {
            let waited = wait::perform(doing, wait, background).await;
            let (phase, done) = match waited {
                Ok(()) => (scope.name().clone(), Ok(())),
                Err(PhaseFailure { phase, failure }) => (phase, Err(failure)),
            };
            return match expect::end(doing, done).await {
                Ok(()) => scope.finish(Ok(())),
                Err(failure) => Err(PhaseFailure { phase, failure }),
            };
        }
        Action::Dd(_) | Action::Write(_) => match doing.within(Box::pin(prepare(doing))).await {
            Ok((writers, begun)) if is_background => {
                let at_work = start(context, step, scope, writers);
                background.insert(step.label.to_string(), at_work);
                return under_way(step, begun).await;
            }
            Ok((writers, _)) => Box::pin(writers.write(doing)),
            Err(failure) => Box::pin(ready(Err(failure))),
        },
    };
    let done = doing.within(work).await;
    let done = expect::end(doing, done).await;
    if is_background && done.is_ok() {
        // It has failed before its writers could be left alone, as it must.
        let over = AbortOnDropHandle::new(tokio::spawn(async { Ok(()) }));
        background.insert(step.label.to_string(), over);
    }
    scope.finish(done)
}

/// Writers that wait for their start.
enum Writers {
    Dd(Dd, Vec<dd::Writer>),
    Witnesses(Write, Vec<write::Writer>),
}

impl Writers {
    async fn write(self, doing: Doing<'_>) -> Result<(), Failure> {
        match self {
            Self::Dd(dd, writers) => dd::write(doing, &dd, writers).await,
            Self::Witnesses(write, writers) => write::write(doing, &write, writers).await,
        }
    }
}

/// Leaves the step's writers behind that wait.
async fn prepare(doing: Doing<'_>) -> Result<(Writers, Option<write::Begun>), Failure> {
    match &doing.step.action {
        Action::Dd(dd) => {
            let writers = dd::prepare(doing, dd).await?;
            Ok((Writers::Dd(dd.clone(), writers), None))
        }
        Action::Write(write) => {
            let (writers, begun) = write::prepare(doing, write).await?;
            Ok((Writers::Witnesses(write.clone(), writers), Some(begun)))
        }
        other => Err(Failure::internal(format!("write with {other:?}"))),
    }
}

/// The steps that follow find every writer at its blocks: what happens to a file's making is another matter. A writer
/// that ends before is found out when it is waited for.
async fn under_way(step: &Step, begun: Option<write::Begun>) -> Result<(), PhaseFailure> {
    let Some(begun) = begun else { return Ok(()) };
    tokio::time::timeout(step.deadline, begun.come())
        .await
        .map_err(|_| PhaseFailure {
            phase: PhaseName::step(&step.label),
            failure: Cause::StepTimedOut {
                after: step.deadline,
                so_far: Some("not every writer has begun".to_owned()),
            }
            .into(),
        })
}

/// Joins the steps that nobody waited for.
pub(crate) async fn join_all(background: &mut Background) -> Result<(), PhaseFailure> {
    while let Some((label, work)) = background.pop_first() {
        joined(&label, work).await?;
    }
    Ok(())
}

/// Lets prepared writers write while the scenario goes on.
fn start(
    context: &Arc<RunContext>,
    step: &Step,
    scope: Scope,
    writers: Writers,
) -> AbortOnDropHandle<Result<(), PhaseFailure>> {
    let (context, step) = (Arc::clone(context), step.clone());
    AbortOnDropHandle::new(tokio::spawn(async move {
        let doing = Doing {
            context: &context,
            step: &step,
            scope: &scope,
        };
        let done = doing.within(Box::pin(writers.write(doing))).await;
        let done = expect::end(doing, done).await;
        scope.finish(done)
    }))
}

/// What became of a step in the background.
async fn joined(
    label: &str,
    work: AbortOnDropHandle<Result<(), PhaseFailure>>,
) -> Result<(), PhaseFailure> {
    work.await.unwrap_or_else(|error| {
        let text = format!("the step in the background ended without a result: {error}");
        Err(PhaseFailure {
            phase: PhaseName::step(label),
            failure: Cause::LabPanicked(text).into(),
        })
    })
}

impl Doing<'_> {
    /// Keeps what a step that does its work once moved and cost.
    fn measured(&self, meter: &Meter, work: Work, bytes: u64) {
        let (event_log, step) = (&self.context.event_log, self.step.label.as_str());
        if let Some(measured) = meter.measured(event_log, step, Round::ONLY, work, bytes) {
            self.scope.measured(measured);
        }
    }

    /// Its folder in guests.
    fn folder(&self) -> String {
        format!("/run/sanlab/steps/{}", file_name(self.step.label.as_str()))
    }

    /// What is left of the step's time, to the tenth of a second.
    fn left(&self) -> Duration {
        let left = self.step.deadline.saturating_sub(self.scope.elapsed());
        Duration::from_secs_f64((left.as_secs_f64() * 10.0).ceil() / 10.0)
    }

    /// Ends the wait for `work` shortly after the step's deadline.
    async fn within<T>(&self, work: Pending<'_, Result<T, Failure>>) -> Result<T, Failure> {
        let deadline = self.step.deadline;
        tokio::time::timeout(self.left() + GRACE, work)
            .await
            .unwrap_or_else(|_| {
                Err(Cause::StepTimedOut {
                    after: deadline,
                    so_far: None,
                }
                .into())
            })
    }

    /// Begins a fault of nodes with a script on each.
    async fn break_nodes(&self, fault: NodeFault<'_>, script: &str) -> Result<(), Failure> {
        let broken = async |node: NodeName| self.exec(&node, script).await;
        nodes::begin(self.context, fault, broken).await
    }

    /// Runs a script on a node within what is left of the step's time. Its failures name the node and the command.
    ///
    /// Of a node that was ended on purpose they say how it was.
    async fn exec(&self, node: &NodeName, script: &str) -> Result<Ended, Failure> {
        let ended = self.context.backend.exec(node, script, self.left()).await;
        self.ended(node, script, ended).await
    }

    /// The same with a command of the scenario's, in the guest's own shell.
    async fn command(&self, node: &NodeName, command: &str) -> Result<Ended, Failure> {
        let ended = self
            .context
            .backend
            .command(node, command, self.left())
            .await;
        self.ended(node, command, ended).await
    }

    async fn ended(
        &self,
        node: &NodeName,
        script: &str,
        ended: Result<Ended, Failure>,
    ) -> Result<Ended, Failure> {
        let kept = tasks::kept(self.scope, node, script, ended).await;
        let Err(failure) = kept else { return kept };
        if matches!(
            failure.kind(),
            FailureKind::GuestReset | FailureKind::GuestPanicked | FailureKind::QemuDead
        ) {
            fencing::news(self.context, node).await;
        }
        Err(match self.context.down(node) {
            Some(down) => Cause::NodeDown {
                node: node.clone(),
                why: Some(down.reason),
                failure: Some(failure),
            }
            .into(),
            None => failure,
        })
    }
}
