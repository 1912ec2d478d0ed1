//! A plan from boot to teardown.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use sanlab_fleet::FleetEvent;
use sanlab_plan::NodeName;
use sanlab_record::{EventKind, Finding, Outcome, PhaseName, Timeline};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};
use tokio_util::task::AbortOnDropHandle;

use crate::Failure;
use crate::backend::power;
use crate::backend::{Notice, Teardown};
use crate::engine::context::RunContext;
use crate::engine::drive::drive;
use crate::engine::event_log::EventLog;
use crate::engine::faults::fencing;
use crate::engine::hold::{self, HoldWhen};
use crate::engine::known::{self, Ending};
use crate::engine::saving;
use crate::evidence::{collect, kernel_log};
use crate::failure::{Cause, PhaseFailure};
use crate::measure::timeline::Sampling;

/// For everything that is collected from all nodes.
const COLLECT: Duration = Duration::from_secs(45);
/// The same after an interrupt, when the user waits for the end.
const COLLECT_INTERRUPTED: Duration = Duration::from_secs(5);
/// From the loss of a guest to the error of the command that ran there.
const GRACE: Duration = Duration::from_secs(3);
/// From a failure to the end of a guest that it may follow from.
const LAST_WORDS: Duration = Duration::from_millis(500);
/// How many requests of guests are answered at a time.
const ANSWERS: usize = 64;
/// For ending the whole fleet.
const END: Duration = Duration::from_secs(60);

/// A plan that was carried out.
pub(crate) struct Finished {
    pub(crate) outcome: Outcome,
    pub(crate) teardown: Teardown,
    pub(crate) timeline: Option<Timeline>,
    pub(crate) findings: Vec<Finding>,
    /// Of a run that did not pass, the end of each node's console.
    pub(crate) console_tail: BTreeMap<String, Vec<String>>,
}

/// Drives the plan, watches the guests meanwhile, collects if it went wrong, and ends the guests.
pub(crate) async fn run_plan(
    context: RunContext,
    mut notices: UnboundedReceiver<Notice>,
    out_dir: &Path,
) -> Finished {
    let context = Arc::new(context);
    let (backend, event_log) = (Arc::clone(&context.backend), &context.event_log);
    event_log.keep_output_in(out_dir);
    let sampling = Sampling::begin(Arc::clone(&backend), event_log.clone());
    let (mut failed, interrupted) = match fs_err::create_dir_all(out_dir) {
        Ok(()) => supervise(&context, &mut notices, out_dir).await,
        Err(error) => {
            let failure = Failure::host("prepare")(error);
            (Some(now(event_log, failure)), false)
        }
    };
    // What the guests said last is on its way still; of one that failed it may be the reason.
    let patience = match failed {
        Some(_) if !interrupted => LAST_WORDS,
        _ => Duration::ZERO,
    };
    let end = Instant::now() + patience;
    while let Some(notice) = next(&mut notices, end).await {
        if fencing::expected(&context, &notice).is_some() {
            continue;
        }
        if let Some(failure) = handle(&context, notice) {
            let late = now(event_log, failure);
            failed = Some(match failed {
                Some(failed) => failed.unless_panic(late),
                None => late,
            });
        }
    }
    let findings = context.close_evidence();
    let mut ending = if context.is_held() {
        None
    } else {
        let failed = with_findings(failed, findings, event_log);
        known::ending(&context, failed)
    };
    if let Some(ending) = &ending {
        let phase = ending.failed.phase.clone();
        event_log.tell(Some(phase), None, ending.event());
        if !ending.is_known() && !interrupted {
            saving::save_failed(&context, out_dir).await;
            hold_failed(&context, &mut notices).await;
        }
    }
    // Nobody listens any more: what consoles say does not wait for it.
    drop(notices);
    collect::ack_logs(&context, out_dir).await;
    if ending.is_some() {
        let scope = event_log.phase(PhaseName::Collect);
        let deadline = if interrupted {
            COLLECT_INTERRUPTED
        } else {
            COLLECT
        };
        collect::collect(&context, &scope, out_dir, deadline).await;
        scope.end();
    }
    if ending.is_none()
        && !context.is_held()
        && let Err(failure) = context.keep_proof(out_dir).await
    {
        ending = Some(now(event_log, failure).into());
    }
    let timeline = sampling.end();
    let scope = event_log.phase(PhaseName::Teardown);
    let mut teardown = tokio::time::timeout(END, backend.end())
        .await
        .unwrap_or_else(|_| Teardown {
            errors: vec![Cause::NotEnded { after: END }.into()],
            ..Teardown::default()
        });
    for error in &teardown.errors {
        let message = error.to_string();
        scope.say(None, EventKind::Failed { message });
    }
    if teardown.errors.is_empty() {
        scope.end();
    } else {
        let failure = teardown.errors.remove(0);
        let phase = scope.name().clone();
        ending = ending.or_else(|| Some(PhaseFailure { phase, failure }.into()));
    }
    let outcome = ending.map_or(Outcome::Passed, Ending::outcome);
    let console_tail = match outcome {
        Outcome::Passed => BTreeMap::new(),
        _ => backend.console_tails(),
    };
    Finished {
        outcome,
        teardown,
        timeline,
        findings: context.findings(),
        console_tail,
    }
}

/// Keeps the fleet of a run that has failed until it is released, or the run is interrupted, if that is wanted. The guests get
/// their answers meanwhile.
async fn hold_failed(context: &Arc<RunContext>, notices: &mut UnboundedReceiver<Notice>) {
    let hold = context.hold.as_ref();
    let wanted = hold.filter(|hold| hold.when() == HoldWhen::Failed && hold.has_nodes());
    let Some(hold) = wanted else { return };
    let scope = context.event_log.phase(PhaseName::Hold);
    hold.begin();
    tokio::select! {
        // Nothing ends a fleet that is held, but that nobody is left who speaks.
        _ = watch(context, notices) => {}
        () = hold.released() => {}
        () = context.options.cancel.cancelled() => {}
    }
    scope.end();
}

/// What the guests said next, if it comes by then.
async fn next(notices: &mut UnboundedReceiver<Notice>, end: Instant) -> Option<Notice> {
    match notices.try_recv() {
        Ok(notice) => Some(notice),
        Err(_) => timeout_at(end, notices.recv()).await.ok().flatten(),
    }
}

/// Drives the plan in a task of its own, so that neither a panic there nor an end from outside can reach past it.
/// The flag says whether it was interrupted.
async fn supervise(
    context: &Arc<RunContext>,
    notices: &mut UnboundedReceiver<Notice>,
    out_dir: &Path,
) -> (Option<PhaseFailure>, bool) {
    let event_log = &context.event_log;
    let driving = tokio::spawn(drive(Arc::clone(context), out_dir.to_owned()));
    let mut driving = AbortOnDropHandle::new(driving);
    let (failed, interrupted) = tokio::select! {
        biased;
        done = &mut driving => match done {
            Ok(done) => return (done.err(), false),
            Err(error) => return (Some(now(event_log, panicked(error))), false),
        },
        failure = watch(context, notices) => {
            let failed = now(event_log, failure);
            // The error of what was being done may say more, or be the cause.
            match tokio::time::timeout(GRACE, &mut driving).await {
                Ok(Ok(Err(told))) => return (Some(told.unless_panic(failed)), false),
                Ok(_) => return (Some(failed), false),
                Err(_) => (failed, false),
            }
        }
        () = context.options.cancel.cancelled() => (now(event_log, Cause::Interrupted.into()), true),
    };
    driving.abort();
    // The task lets go of the guests at its next wait; the guests are needed afterwards.
    let _ = (&mut driving).await;
    (Some(failed), interrupted)
}

/// Turns what the guests do by themselves into events and does what they ask, until one of it is the end of the run.
async fn watch(context: &Arc<RunContext>, notices: &mut UnboundedReceiver<Notice>) -> Failure {
    let mut answers: JoinSet<Result<(), Failure>> = JoinSet::new();
    loop {
        tokio::select! {
            Some(answered) = answers.join_next() => {
                let answered = answered.unwrap_or_else(|error| Err(panicked(error)));
                if let Err(failure) = answered {
                    if hold::only_tells(context) {
                        hold::tell(&context.event_log, &failure);
                        continue;
                    }
                    return failure;
                }
            }
            // A guest that asks without end waits for its answers.
            Some(notice) = notices.recv(), if answers.len() < ANSWERS => {
                if let Some(node) = fencing::expected(context, &notice) {
                    if let Notice::Event(FleetEvent { node, kind }) = notice {
                        context.event_log.note(node.as_deref(), kind);
                    }
                    answers.spawn(fencing::settle(Arc::clone(context), node));
                    continue;
                }
                if let Some(request) = power::request(&context.plan, &notice) {
                    answers.spawn(power::answer(Arc::clone(context), request));
                }
                if let Some(failure) = handle(context, notice) {
                    if hold::only_tells(context) {
                        hold::tell(&context.event_log, &failure);
                        continue;
                    }
                    return failure;
                }
            }
            // The sender is gone: no further notice comes; the drive ends by itself.
            else => std::future::pending().await,
        }
    }
}

/// Takes a notice into the record. What it gives back is the end of the run.
fn handle(context: &RunContext, notice: Notice) -> Option<Failure> {
    let event_log = &context.event_log;
    match notice {
        Notice::Event(FleetEvent { node, kind }) => {
            let failure = Failure::of_event(node.as_deref(), &kind);
            let name = node.as_deref().and_then(|name| NodeName::parse(name).ok());
            if let Some(name) = name.filter(|_| failure.is_some()) {
                context.lost(&name);
            }
            event_log.note(node.as_deref(), kind);
            failure
        }
        Notice::Console { node, at, line, .. } => {
            let name = NodeName::parse(&node).ok()?;
            let line = kernel_log::without_time(&line);
            if context.marks.take(&name, line) {
                return None;
            }
            if context.kernel_says(&name, at, line) {
                return Some(evidence(context));
            }
            if kernel_log::is_news(line)
                && let Some(kind) = context.news(&name, line)
            {
                event_log.note(Some(&node), kind);
            }
            None
        }
        Notice::Dump { node, at, line, .. } => {
            let name = NodeName::parse(&node).ok()?;
            let line = kernel_log::without_time(&line);
            let is_mark = context.marks.take(&name, line);
            let counts = !is_mark && context.kernel_says_in_dump(&name, at, line);
            counts.then(|| evidence(context))
        }
    }
}

/// What was just found and counts, with what was found before unless that has been told.
fn evidence(context: &RunContext) -> Failure {
    let mut found = context.counting();
    if context.is_held() {
        found.drain(..found.len().saturating_sub(1));
    }
    Cause::Evidence(found).into()
}

/// What was found and counts is a failure of the stack, whatever else seemed to be wrong.
fn with_findings(
    failed: Option<PhaseFailure>,
    findings: Vec<Finding>,
    event_log: &EventLog,
) -> Option<PhaseFailure> {
    let Some(first) = findings.first() else {
        return failed;
    };
    Some(match failed {
        None => {
            let phase = first.phase.clone();
            let failure = Failure::from(Cause::Evidence(findings));
            let now = now(event_log, failure);
            PhaseFailure {
                phase: phase.unwrap_or(now.phase),
                ..now
            }
        }
        Some(PhaseFailure { phase, failure }) => PhaseFailure {
            phase,
            failure: failure.and_findings(findings),
        },
    })
}

/// In the phase in the foreground.
fn now(event_log: &EventLog, failure: Failure) -> PhaseFailure {
    PhaseFailure {
        phase: event_log.current().unwrap_or(PhaseName::Start),
        failure,
    }
}

fn panicked(error: tokio::task::JoinError) -> Failure {
    let Ok(payload) = error.try_into_panic() else {
        return Failure::internal("the run was ended from outside");
    };
    let text = payload
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| payload.downcast_ref::<String>().map(String::as_str));
    Cause::LabPanicked(text.unwrap_or("without words").to_owned()).into()
}

#[cfg(test)]
mod tests;
