//! A plan from boot to teardown.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use sanlab_plan::NodeName;
use sanlab_record::{EventKind, Failure, Outcome, Timeline};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use crate::journal::Journal;
use crate::scene::{Scene, Setback};
use crate::site::{Notice, Teardown};
use crate::timeline::Sampling;
use crate::{Fault, collect, drive::drive, kernel_log, power};

/// For everything that is collected from all nodes.
const COLLECT: Duration = Duration::from_secs(45);
/// The same when somebody waits for the end.
const COLLECT_INTERRUPTED: Duration = Duration::from_secs(5);
/// From a guest's loss to the error of the command that ran there.
const LAST_WORDS: Duration = Duration::from_secs(3);
/// For ending the whole fleet.
const END: Duration = Duration::from_secs(60);

/// How many lines of each console a record keeps of a run that did not pass.
const CONSOLE_LINES: usize = 40;

/// A plan that was carried out.
pub(crate) struct Conducted {
    pub(crate) outcome: Outcome,
    pub(crate) teardown: Teardown,
    pub(crate) timeline: Option<Timeline>,
    /// Of a run that did not pass, the end of each node's console.
    pub(crate) console_tail: BTreeMap<String, Vec<String>>,
}

/// Drives the plan, watches the guests meanwhile, collects if it went wrong, and ends the guests.
pub(crate) async fn conduct(
    scene: Scene,
    mut notices: UnboundedReceiver<Notice>,
    out_dir: &Path,
    cancel: CancellationToken,
) -> Conducted {
    let scene = Arc::new(scene);
    let (site, journal) = (Arc::clone(&scene.site), &scene.journal);
    let sampling = Sampling::begin(Arc::clone(&site), journal.clone());
    let (mut setback, interrupted) = match fs_err::create_dir_all(out_dir) {
        Ok(()) => watch(&scene, &mut notices, &cancel).await,
        Err(error) => (Some(broken(journal, error.to_string())), false),
    };
    // What the guests said last is on its way still.
    while let Ok(notice) = notices.try_recv() {
        if let Some(fault) = attend(&scene, notice) {
            setback = setback.or(Some(Setback {
                phase: phase_now(journal),
                fault,
            }));
        }
    }
    let mut setback = testify(setback, &scene);
    collect::ledgers(&scene, out_dir).await;
    if let Some(Setback { phase, fault }) = &setback {
        journal.tell(
            Some(phase.clone()),
            None,
            EventKind::Failed {
                message: fault.to_string(),
            },
        );
        let scope = journal.phase("collect");
        let deadline = if interrupted {
            COLLECT_INTERRUPTED
        } else {
            COLLECT
        };
        collect::collect(&scene, &scope, out_dir, deadline).await;
        scope.end();
    }
    let timeline = sampling.end();
    let scope = journal.phase("teardown");
    let teardown = tokio::time::timeout(END, site.end())
        .await
        .unwrap_or_else(|_| Teardown {
            errors: vec![format!("end the fleet: not done after {} s", END.as_secs())],
            ..Teardown::default()
        });
    for error in &teardown.errors {
        scope.say(
            None,
            EventKind::Failed {
                message: error.clone(),
            },
        );
    }
    if let Some(error) = teardown.errors.first() {
        let fault = Fault::Lab(error.clone());
        setback = setback.or_else(|| {
            Some(Setback {
                phase: scope.name().to_owned(),
                fault,
            })
        });
    } else {
        scope.end();
    }
    let outcome = setback.map_or(Outcome::Passed, |Setback { phase, fault }| match fault {
        Fault::Stack(message) => Outcome::Failed(Failure { phase, message }),
        Fault::Lab(message) => Outcome::Broken(Failure { phase, message }),
    });
    let console_tail = match outcome {
        Outcome::Passed => BTreeMap::new(),
        _ => console_tail(&scene),
    };
    Conducted {
        outcome,
        teardown,
        timeline,
        console_tail,
    }
}

/// The last lines of every node's console.
fn console_tail(scene: &Scene) -> BTreeMap<String, Vec<String>> {
    let consoles = scene.site.consoles().into_iter();
    let words = consoles.map(|(node, log)| {
        let lines: Vec<&str> = log.lines().collect();
        let last = &lines[lines.len().saturating_sub(CONSOLE_LINES)..];
        let last = last.iter().map(|line| (*line).to_owned()).collect();
        (node.to_string(), last)
    });
    words.collect()
}

/// Drives the plan in a task of its own, so that neither a panic there nor an end from outside can reach past it.
/// The flag tells whether somebody interrupted it.
async fn watch(
    scene: &Arc<Scene>,
    notices: &mut UnboundedReceiver<Notice>,
    cancel: &CancellationToken,
) -> (Option<Setback>, bool) {
    let journal = &scene.journal;
    let mut driving = AbortOnDropHandle::new(tokio::spawn(drive(Arc::clone(scene))));
    let (setback, interrupted) = tokio::select! {
        biased;
        done = &mut driving => match done {
            Ok(done) => return (done.err(), false),
            Err(error) => return (Some(broken(journal, panic_message(error))), false),
        },
        fault = alarm(scene, notices) => {
            let setback = Setback { phase: phase_now(journal), fault };
            // What was being done may tell more of it, or be its very cause.
            match tokio::time::timeout(LAST_WORDS, &mut driving).await {
                Ok(Ok(Err(told))) => return (Some(told), false),
                Ok(_) => return (Some(setback), false),
                Err(_) => (setback, false),
            }
        }
        () = cancel.cancelled() => (broken(journal, "interrupted".to_owned()), true),
    };
    driving.abort();
    // The task lets go of the guests at its next wait; the guests are needed afterwards.
    let _ = (&mut driving).await;
    (Some(setback), interrupted)
}

/// Turns what the guests do by themselves into events and does what they ask, until one of it is the end of the run.
async fn alarm(scene: &Arc<Scene>, notices: &mut UnboundedReceiver<Notice>) -> Fault {
    let mut answers: JoinSet<Result<(), Fault>> = JoinSet::new();
    loop {
        tokio::select! {
            Some(answered) = answers.join_next() => {
                let answered = answered.unwrap_or_else(|error| {
                    Err(Fault::Lab(panic_message(error)))
                });
                if let Err(fault) = answered {
                    return fault;
                }
            }
            Some(notice) = notices.recv() => {
                if let Some(request) = power::request(&scene.plan, &notice) {
                    answers.spawn(power::answer(Arc::clone(scene), request));
                }
                if let Some(fault) = attend(scene, notice) {
                    return fault;
                }
            }
            // Nobody is left to tell anything; the drive ends by itself.
            else => std::future::pending().await,
        }
    }
}

fn attend(scene: &Scene, notice: Notice) -> Option<Fault> {
    let journal = &scene.journal;
    match notice {
        Notice::Waiting { what } => journal.note(None, EventKind::Waiting { what }),
        Notice::Discarded { kind, key, reason } => {
            journal.note(None, EventKind::Discarded { kind, key, reason });
        }
        Notice::Resumed { seconds } => journal.note(None, EventKind::Resumed { seconds }),
        Notice::Progress { node, text } => {
            journal.note(node.as_deref(), EventKind::Progress { text });
        }
        Notice::Answered { node, seconds } => {
            journal.note(Some(&node), EventKind::Answered { seconds });
        }
        Notice::Console { node, line } => {
            // A panic that was made on purpose is told here too.
            let expected = NodeName::parse(&node).is_ok_and(|node| scene.absence(&node).is_some());
            if let Some(finding) = scene.judge.judge(&line).filter(|_| !expected) {
                return Some(Fault::Stack(format!("the kernel of {node} says {finding}")));
            }
            if let Some(line) = kernel_log::news(&line) {
                journal.note(
                    Some(&node),
                    EventKind::KernelSaid {
                        line: line.to_owned(),
                    },
                );
            }
        }
        Notice::Panicked { node } => {
            return Some(Fault::Stack(format!("the kernel of {node} panicked")));
        }
        Notice::Lost { fault } => return Some(fault),
    }
    None
}

/// The consoles have the last word: a kernel in trouble is the stack's failure, whatever else seemed to be wrong.
fn testify(setback: Option<Setback>, scene: &Scene) -> Option<Setback> {
    let consoles = scene.consoles();
    let found = consoles
        .iter()
        .find_map(|(node, log)| Some((node, scene.judge.first_finding(log)?)));
    let Some((node, finding)) = found else {
        return setback;
    };
    let says = format!("the kernel of {node} says {finding}");
    Some(match setback {
        None => Setback {
            phase: phase_now(&scene.journal),
            fault: Fault::Stack(says),
        },
        Some(setback) if setback.fault.to_string().contains(&says) => setback,
        Some(Setback { phase, fault }) => Setback {
            phase,
            fault: Fault::Stack(format!("{fault}\n{says}")),
        },
    })
}

fn broken(journal: &Journal, message: String) -> Setback {
    Setback {
        phase: phase_now(journal),
        fault: Fault::Lab(message),
    }
}

fn phase_now(journal: &Journal) -> String {
    journal.current().unwrap_or_else(|| "start".to_owned())
}

fn panic_message(error: tokio::task::JoinError) -> String {
    let Ok(payload) = error.try_into_panic() else {
        return "the run was ended from outside".to_owned();
    };
    let text = payload
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| payload.downcast_ref::<String>().map(String::as_str));
    format!("the lab panicked: {}", text.unwrap_or("without words"))
}

#[cfg(test)]
mod tests;
