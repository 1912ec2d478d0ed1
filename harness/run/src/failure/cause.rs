//! What went wrong, typed: whose fault it is, what kind, and on which node.

use std::error::Error;
use std::fmt;
use std::io;
use std::time::Duration;

use sanlab_fleet::{ExecError, FleetError, ImageError, Status, VmError};
use sanlab_plan::NodeName;
use sanlab_record::{EventKind, FailureKind, Finding, FindingKind, LostBlocks};

use super::{Blame, Failure};
use crate::engine::faults::down::DownReason;
use crate::evidence::complaint::classify;
use crate::evidence::kernel_log;

/// How many differences, findings, or groups of lost blocks, a message names.
const NAMED: usize = 8;

/// What went wrong.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Cause {
    /// A command ended badly.
    #[error("{0}")]
    CommandFailed(Status),
    /// A command gave no answer.
    #[error(transparent)]
    Exec(#[from] ExecError),
    /// A command did not end as the scenario says, or its program did not do what it was told.
    #[error("{0}")]
    UnexpectedResult(String),
    #[error("not so after {} s: {seen}", after.as_secs_f64())]
    ConditionNotMet { after: Duration, seen: String },
    #[error("not done after {} s{}", after.as_secs_f64(), part(.so_far.as_deref()))]
    StepTimedOut {
        after: Duration,
        so_far: Option<String>,
    },
    #[error("{0}")]
    WrongState(&'static str),
    /// The node was ended on purpose; what became of the command there, if there was one.
    #[error("{}{}", before(.failure.as_ref()), off(.node, .why.as_ref()))]
    NodeDown {
        node: NodeName,
        why: Option<DownReason>,
        failure: Option<Failure>,
    },
    #[error("{what}: error {said}; {progress}")]
    WriteFailed {
        what: String,
        said: String,
        progress: String,
    },
    #[error("{}", lines(.0))]
    BlocksLost(Vec<LostBlocks>),
    #[error("no block was ever acknowledged")]
    NothingAcknowledged,
    #[error("{what}:\n{}", lines(.found))]
    Differences { what: String, found: Vec<String> },
    #[error("{0}")]
    LimitExceeded(String),
    /// What kernels and layers show, and nothing excuses; never empty.
    #[error("{}", lines(.0))]
    Evidence(Vec<Finding>),
    /// What did not come; never empty.
    #[error("{}", lines(.0))]
    ExpectationNotMet(Vec<String>),
    /// Something happened to a node by itself, after which the run cannot go on.
    #[error("{}", .event.about(Some(.node)))]
    NodeLost { node: String, event: EventKind },
    #[error(transparent)]
    Fleet(Box<FleetError>),
    #[error(transparent)]
    Store(#[from] ImageError),
    #[error("{doing}: {source}")]
    Host {
        doing: &'static str,
        source: io::Error,
    },
    #[error("{0}")]
    ProgramMissing(String),
    #[error("{0}")]
    NotUnderstood(String),
    #[error("end the fleet: not done after {} s", after.as_secs())]
    NotEnded { after: Duration },
    #[error("wait for checkpoint {key}: another run still makes it after {} s", .waited.as_secs())]
    CheckpointAwaited { key: String, waited: Duration },
    #[error("interrupted")]
    Interrupted,
    #[error("the lab panicked: {0}")]
    LabPanicked(String),
    /// What the plan's checks or the engine's order rule out.
    #[error("{0}")]
    Internal(String),
}

fn part(text: Option<&str>) -> String {
    text.map(|text| format!(": {text}")).unwrap_or_default()
}

fn before(failure: Option<&Failure>) -> String {
    let text = failure.map(|failure| format!("{failure}: "));
    text.unwrap_or_default()
}

fn off(node: &NodeName, why: Option<&DownReason>) -> String {
    why.map_or_else(|| format!("{node} is down"), ToString::to_string)
}

/// The first of them, a line each.
pub(super) fn lines(all: &[impl fmt::Display]) -> String {
    let mut lines: Vec<String> = all.iter().take(NAMED).map(ToString::to_string).collect();
    if let Some(more @ 1..) = all.len().checked_sub(NAMED) {
        lines.push(format!("and {more} more"));
    }
    lines.join("\n")
}

impl Cause {
    pub(super) fn blame(&self) -> Blame {
        match self {
            Self::Fleet(error) if is_of_artefacts(error) => Blame::UnderTest,
            Self::Exec(ExecError::AgentDead { .. })
            | Self::Fleet(_)
            | Self::Store(_)
            | Self::CheckpointAwaited { .. }
            | Self::Host { .. }
            | Self::ProgramMissing(_)
            | Self::NotUnderstood(_)
            | Self::NotEnded { .. }
            | Self::Interrupted
            | Self::LabPanicked(_)
            | Self::Internal(_) => Blame::Infrastructure,
            Self::Exec(ExecError::QemuDead { cause, .. }) => of_lost_qemu(cause.as_deref()),
            Self::NodeLost { event, .. } => match event {
                EventKind::QemuExited { cause, .. } => of_lost_qemu(cause.as_deref()),
                EventKind::DiskFailed { .. } => Blame::Infrastructure,
                _ => Blame::UnderTest,
            },
            _ => Blame::UnderTest,
        }
    }

    pub(super) fn kind(&self) -> FailureKind {
        match self {
            Self::CommandFailed(_) => FailureKind::CommandFailed,
            Self::Exec(error) => exec_kind(error),
            Self::UnexpectedResult(_) => FailureKind::UnexpectedResult,
            Self::ConditionNotMet { .. } => FailureKind::ConditionNotMet,
            Self::StepTimedOut { .. } => FailureKind::StepTimedOut,
            Self::WrongState(_) => FailureKind::WrongState,
            Self::NodeDown { .. } => FailureKind::NodeDown,
            Self::WriteFailed { .. } => FailureKind::WriteFailed,
            Self::BlocksLost(_) => FailureKind::BlocksLost,
            Self::NothingAcknowledged => FailureKind::NothingAcknowledged,
            Self::Differences { .. } => FailureKind::Differences,
            Self::LimitExceeded(_) => FailureKind::LimitExceeded,
            Self::Evidence(findings) => evidence_kind(findings),
            Self::ExpectationNotMet(_) => FailureKind::ExpectationNotMet,
            Self::NodeLost { event, .. } => match event {
                EventKind::QemuExited { cause, full, .. } => {
                    qemu_kind(cause.as_deref(), full.is_some())
                }
                EventKind::DiskFailed { no_space: true, .. } => FailureKind::OutOfSpace,
                EventKind::DiskFailed { .. } => FailureKind::DiskFailed,
                _ => FailureKind::GuestPanicked,
            },
            Self::Fleet(error) => fleet_kind(error),
            Self::Store(error) if is_storage_full(error) => FailureKind::OutOfSpace,
            Self::Store(_) | Self::CheckpointAwaited { .. } => FailureKind::StoreFailed,
            Self::Host { source, .. } if is_storage_full(source) => FailureKind::OutOfSpace,
            Self::Host { .. } => FailureKind::HostFailed,
            Self::ProgramMissing(_) => FailureKind::ProgramMissing,
            Self::NotUnderstood(_) => FailureKind::NotUnderstood,
            Self::NotEnded { .. } => FailureKind::NotEnded,
            Self::Interrupted => FailureKind::Interrupted,
            Self::LabPanicked(_) => FailureKind::LabPanicked,
            Self::Internal(_) => FailureKind::Internal,
        }
    }

    /// The node that it is about by itself.
    pub(super) fn node(&self) -> Option<&str> {
        match self {
            Self::Exec(error) => Some(exec_node(error)),
            Self::NodeLost { node, .. } => Some(node),
            Self::Evidence(findings) => gravest(findings).map(|gravest| gravest.node.as_str()),
            Self::NodeDown { node, .. } => Some(node.as_str()),
            _ => None,
        }
    }

    /// What it is without what guests and QEMU printed of it.
    pub(super) fn sentence(&self) -> String {
        match self {
            Self::Exec(error) => {
                // What was printed stands in lines of its own.
                let text = error.to_string();
                let first = text.lines().next().unwrap_or_default();
                first.trim_end_matches(':').to_owned()
            }
            Self::NodeLost {
                node,
                event: EventKind::Panicked { .. },
            } => {
                let console_tail = String::new();
                EventKind::Panicked { console_tail }.about(Some(node))
            }
            Self::NodeDown { node, why, failure } => {
                let failed = failure.as_ref().map(|it| format!("{}: ", it.sentence()));
                let failed = failed.unwrap_or_default();
                format!("{failed}{}", off(node, why.as_ref()))
            }
            _ => self.to_string(),
        }
    }

    /// Of a guest that panicked, the lines of its console in which the kernel says so.
    pub(super) fn panic(&self) -> Option<String> {
        let (Self::Exec(ExecError::GuestPanicked { console_tail, .. })
        | Self::NodeLost {
            event: EventKind::Panicked { console_tail },
            ..
        }) = self
        else {
            return None;
        };
        let lines = console_tail.lines().map(kernel_log::without_time);
        let says_so = |line: &&str| classify(line).is_some_and(|it| it.kind == FindingKind::Panic);
        Some(lines.filter(says_so).collect::<Vec<_>>().join("\n"))
    }
}

/// The finding that decides: a panic, or the first.
pub(super) fn gravest(findings: &[Finding]) -> Option<&Finding> {
    let mut all = findings.iter();
    let panic = all.find(|finding| finding.kind == FindingKind::Panic);
    panic.or_else(|| findings.first())
}

pub(super) fn evidence_kind(findings: &[Finding]) -> FailureKind {
    match gravest(findings).map(|gravest| gravest.kind) {
        Some(FindingKind::Panic) => FailureKind::GuestPanicked,
        Some(FindingKind::LayerState) => FailureKind::ConditionNotMet,
        _ => FailureKind::KernelComplaint,
    }
}

/// A guest that resets itself or shuts itself down, as one that fences itself does, is not the lab's fault. The words are
/// QEMU's (`ShutdownCause` in its QMP reference).
fn by_the_guest(cause: Option<&str>) -> bool {
    matches!(cause, Some("guest-reset" | "guest-shutdown"))
}

fn of_lost_qemu(cause: Option<&str>) -> Blame {
    if by_the_guest(cause) {
        Blame::UnderTest
    } else {
        Blame::Infrastructure
    }
}

fn qemu_kind(cause: Option<&str>, full: bool) -> FailureKind {
    match (by_the_guest(cause), full) {
        (true, _) => FailureKind::GuestReset,
        (false, true) => FailureKind::OutOfSpace,
        (false, false) => FailureKind::QemuDead,
    }
}

fn exec_kind(error: &ExecError) -> FailureKind {
    match error {
        ExecError::CommandFailed { .. } => FailureKind::CommandFailed,
        ExecError::TimedOut { .. } => FailureKind::CommandTimedOut,
        ExecError::AgentDead { .. } => FailureKind::AgentDead,
        ExecError::GuestHangs { .. } => FailureKind::GuestHangs,
        ExecError::QemuDead { cause, full, .. } => qemu_kind(cause.as_deref(), full.is_some()),
        ExecError::GuestPanicked { .. } => FailureKind::GuestPanicked,
    }
}

fn exec_node(error: &ExecError) -> &str {
    match error {
        ExecError::CommandFailed { node, .. }
        | ExecError::TimedOut { node, .. }
        | ExecError::AgentDead { node, .. }
        | ExecError::GuestHangs { node, .. }
        | ExecError::QemuDead { node, .. }
        | ExecError::GuestPanicked { node, .. } => node,
    }
}

fn fleet_kind(error: &FleetError) -> FailureKind {
    if is_storage_full(error) {
        return FailureKind::OutOfSpace;
    }
    match error {
        FleetError::Guest { source, .. } | FleetError::Artefacts { source, .. } => {
            exec_kind(source)
        }
        FleetError::Machine { source, .. } | FleetError::BootUnderTest { source, .. } => {
            match &**source {
                VmError::DiedAtStart { full: Some(_), .. } => FailureKind::OutOfSpace,
                VmError::Guest(error) => exec_kind(error),
                _ => FailureKind::FleetFailed,
            }
        }
        FleetError::Store(_) => FailureKind::StoreFailed,
        _ => FailureKind::FleetFailed,
    }
}

/// Whether a guest did not take what is under test, or did not come up with it.
fn is_of_artefacts(error: &FleetError) -> bool {
    match error {
        FleetError::BootUnderTest { .. } => true,
        FleetError::Artefacts { source, .. } => {
            !matches!(&**source, ExecError::QemuDead { cause, .. } if of_lost_qemu(cause.as_deref()) == Blame::Infrastructure)
        }
        _ => false,
    }
}

fn is_storage_full(error: &(dyn Error + 'static)) -> bool {
    let mut next = Some(error);
    while let Some(error) = next {
        let kind = error.downcast_ref::<io::Error>().map(io::Error::kind);
        if kind == Some(io::ErrorKind::StorageFull) {
            return true;
        }
        next = error.source();
    }
    false
}

impl From<FleetError> for Cause {
    fn from(error: FleetError) -> Self {
        Self::Fleet(Box::new(error))
    }
}
