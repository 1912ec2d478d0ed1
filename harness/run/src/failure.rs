//! What ends a run early: whose fault it is, where it happened and what it was. It stays typed to the end; text is made of it
//! for the record, and nobody decides by that text.

use std::error::Error;
use std::fmt;
use std::io;
use std::time::Duration;

use sanlab_fleet::{ExecError, FleetError, ImageError, Printed, Status, VmError};
use sanlab_plan::NodeName;
use sanlab_record::{EventKind, FailureKind, Finding, FindingKind, LostBlocks, Outcome};

use crate::engine::absence::Cause as AbsenceCause;

/// How many differences, findings, or groups of lost blocks, a message names.
const NAMED: usize = 8;

/// Whose fault it is: the record's `failed` and `broken`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Blame {
    /// The stack under test did not do what the scenario says.
    UnderTest,
    /// The lab did not do its part.
    Infrastructure,
}

/// Why a phase could not be ended well.
#[derive(Debug)]
pub(crate) struct Failure(Box<Inner>);

#[derive(Debug)]
struct Inner {
    cause: Cause,
    node: Option<NodeName>,
    /// What was being done, the innermost first.
    during: Vec<String>,
    /// What was found besides.
    findings: Vec<Finding>,
    /// The files where all is that the commands printed of which it tells.
    printed_in: Vec<String>,
}

/// What went wrong.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Cause {
    /// A command ended badly.
    #[error("{status}: {said}")]
    CommandFailed { status: Status, said: String },
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
        why: Option<AbsenceCause>,
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

fn off(node: &NodeName, why: Option<&AbsenceCause>) -> String {
    why.map_or_else(|| format!("{node} is down"), ToString::to_string)
}

/// The first of them, a line each.
fn lines(all: &[impl fmt::Display]) -> String {
    let mut lines: Vec<String> = all.iter().take(NAMED).map(ToString::to_string).collect();
    if let Some(more @ 1..) = all.len().checked_sub(NAMED) {
        lines.push(format!("and {more} more"));
    }
    lines.join("\n")
}

impl Cause {
    fn blame(&self) -> Blame {
        match self {
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

    fn kind(&self) -> FailureKind {
        match self {
            Self::CommandFailed { .. } => FailureKind::CommandFailed,
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
    fn node(&self) -> Option<&str> {
        match self {
            Self::Exec(error) => Some(exec_node(error)),
            Self::NodeLost { node, .. } => Some(node),
            Self::Evidence(findings) => findings.first().map(|first| first.node.as_str()),
            Self::NodeDown { node, .. } => Some(node.as_str()),
            _ => None,
        }
    }
}

/// The first finding decides.
fn evidence_kind(findings: &[Finding]) -> FailureKind {
    match findings.first() {
        Some(first) if first.kind == FindingKind::LayerState => FailureKind::ConditionNotMet,
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
        FleetError::Guest { source, .. } => exec_kind(source),
        FleetError::Machine { source, .. } => match &**source {
            VmError::DiedAtStart { full: Some(_), .. } => FailureKind::OutOfSpace,
            VmError::Guest(error) => exec_kind(error),
            _ => FailureKind::FleetFailed,
        },
        FleetError::Store(_) => FailureKind::StoreFailed,
        _ => FailureKind::FleetFailed,
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

impl<T: Into<Cause>> From<T> for Failure {
    fn from(cause: T) -> Self {
        Self(Box::new(Inner {
            cause: cause.into(),
            node: None,
            during: Vec::new(),
            findings: Vec::new(),
            printed_in: Vec::new(),
        }))
    }
}

impl From<FleetError> for Cause {
    fn from(error: FleetError) -> Self {
        Self::Fleet(Box::new(error))
    }
}

impl Failure {
    /// A state that the plan's checks or the engine's order rule out.
    pub(crate) fn internal(text: impl Into<String>) -> Self {
        Cause::Internal(text.into()).into()
    }

    /// A program in a guest did not say what it must.
    pub(crate) fn not_understood(text: impl Into<String>) -> Self {
        Cause::NotUnderstood(text.into()).into()
    }

    /// A command did not end as it must.
    pub(crate) fn unexpected(text: impl Into<String>) -> Self {
        Cause::UnexpectedResult(text.into()).into()
    }

    /// The host refused something.
    pub(crate) fn host(doing: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Cause::Host { doing, source }.into()
    }

    /// What an event means for the run that goes on by itself: nothing, or its end.
    pub(crate) fn of_event(node: Option<&str>, event: &EventKind) -> Option<Self> {
        let ends = matches!(
            event,
            EventKind::Panicked { .. }
                | EventKind::QemuExited { .. }
                | EventKind::DiskFailed { .. }
        );
        let lost = |node: &str| Cause::NodeLost {
            node: node.to_owned(),
            event: event.clone(),
        };
        node.filter(|_| ends).map(|node| lost(node).into())
    }

    /// The same failure, with what was being done in front: "format the volume on vix0: ...".
    pub(crate) fn during(mut self, what: impl fmt::Display) -> Self {
        self.0.during.push(what.to_string());
        self
    }

    /// The same failure, which happened on a node.
    pub(crate) fn on(mut self, node: &NodeName) -> Self {
        self.0.node = Some(node.clone());
        self
    }

    /// The same failure, of a run in which this was found and counts: that is the stack's, whatever else seemed to be wrong.
    pub(crate) fn and_findings(mut self, findings: Vec<Finding>) -> Self {
        if let Cause::Evidence(told) = &mut self.0.cause {
            *told = findings;
        } else {
            self.0.findings = findings;
        }
        self
    }

    /// Whether it is a state that did not come about, or a look at it that did not end.
    pub(crate) fn is_not_met(&self) -> bool {
        matches!(
            self.kind(),
            FailureKind::ConditionNotMet | FailureKind::CommandTimedOut
        )
    }

    /// The same failure; all that its commands printed is in these files of the record's folder.
    pub(crate) fn printed_in(mut self, files: impl IntoIterator<Item = String>) -> Self {
        self.0.printed_in.extend(files);
        self
    }

    /// What a command had printed that did not end in time, and what that time was.
    pub(crate) fn printed(&self) -> Option<(&Printed, Duration)> {
        match &self.0.cause {
            Cause::Exec(ExecError::TimedOut {
                printed, deadline, ..
            }) => Some((printed, *deadline)),
            _ => None,
        }
    }

    /// Whose fault it is.
    pub(crate) fn blame(&self) -> Blame {
        if self.0.findings.is_empty() {
            self.0.cause.blame()
        } else {
            Blame::UnderTest
        }
    }

    /// What kind it is: that of the findings where these alone make it the stack's.
    pub(crate) fn kind(&self) -> FailureKind {
        if self.blame() == self.0.cause.blame() {
            self.0.cause.kind()
        } else {
            evidence_kind(&self.0.findings)
        }
    }

    /// The node that it happened on, where it was one.
    pub(crate) fn node(&self) -> Option<&str> {
        match self.0.findings.first() {
            Some(first) if self.blame() != self.0.cause.blame() => Some(&first.node),
            _ => {
                let named = self.0.node.as_ref().map(NodeName::as_str);
                self.0.cause.node().or(named)
            }
        }
    }
}

/// One line for each thing that is known of it.
impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for what in self.0.during.iter().rev() {
            write!(f, "{what}: ")?;
        }
        write!(f, "{}", self.0.cause)?;
        if !self.0.printed_in.is_empty() {
            write!(f, "\nits whole output: {}", self.0.printed_in.join(", "))?;
        }
        if self.0.findings.is_empty() {
            return Ok(());
        }
        write!(f, "\n{}", lines(&self.0.findings))
    }
}

/// A failure and the phase it happened in.
#[derive(Debug)]
pub(crate) struct PhaseFailure {
    pub(crate) phase: String,
    pub(crate) failure: Failure,
}

impl PhaseFailure {
    /// How the run ends by it.
    pub(crate) fn outcome(self) -> Outcome {
        let Self { phase, failure } = self;
        let recorded = sanlab_record::Failure {
            node: failure.node().map(str::to_owned),
            ..sanlab_record::Failure::new(phase, failure.kind(), failure.to_string())
        };
        let blame = failure.blame();
        let recorded = match failure.0.cause {
            Cause::BlocksLost(lost_blocks) => sanlab_record::Failure {
                lost_blocks,
                ..recorded
            },
            _ => recorded,
        };
        match blame {
            Blame::UnderTest => Outcome::Failed(recorded),
            Blame::Infrastructure => Outcome::Broken(recorded),
        }
    }
}

#[cfg(test)]
mod tests {
    use sanlab_fleet::FileSystem;

    use super::*;

    fn died(node: &str, status: Status, cause: Option<&str>) -> Failure {
        Failure::from(ExecError::QemuDead {
            node: node.to_owned(),
            command: "true".to_owned(),
            status,
            cause: cause.map(Into::into),
            full: None,
            stderr_tail: String::new(),
        })
    }

    #[test]
    fn blame_does_not_depend_on_words() {
        let killed = died("guest-reset", Status::Signalled(9), None);
        assert!(killed.to_string().contains("guest-reset"), "{killed}");
        assert_eq!(killed.blame(), Blame::Infrastructure);
        assert_eq!(killed.kind(), FailureKind::QemuDead);
        let fenced = died("vix1", Status::Exited(0), Some("guest-reset"));
        assert_eq!(fenced.blame(), Blame::UnderTest);
        assert_eq!(fenced.kind(), FailureKind::GuestReset);
        let quit = died("vix1", Status::Exited(0), Some("host-qmp-quit"));
        assert_eq!(quit.blame(), Blame::Infrastructure);
    }

    #[test]
    fn a_full_disk_is_told_by_its_kind() {
        let full = || io::Error::from(io::ErrorKind::StorageFull);
        let kind = |failure: Failure| (failure.blame(), failure.kind());
        let no_space = (Blame::Infrastructure, FailureKind::OutOfSpace);
        assert_eq!(kind(Failure::host("prepare")(full())), no_space);
        let runtime = FleetError::Runtime { source: full() };
        assert_eq!(kind(runtime.into()), no_space);
        let source = Box::new(VmError::DiedAtStart {
            node: "vix0".to_owned(),
            status: Status::Signalled(7),
            full: Some(Box::new(FileSystem {
                place: "/dev/shm/vix0".into(),
                mount_point: "/dev/shm".into(),
                kind: "tmpfs".to_owned(),
                bytes: 1 << 30,
                free_bytes: 0,
            })),
            stderr_tail: String::new(),
        });
        let start = FleetError::Machine {
            node: "vix0".to_owned(),
            doing: "start",
            source,
        };
        let start = Failure::from(start);
        assert_eq!(
            start.to_string(),
            "start node vix0: start vix0: QEMU was ended by SIGBUS: there is no space left on the tmpfs at /dev/shm (0 of 1024 MiB \
             free by now), where /dev/shm/vix0 lies; make room there, or choose other folders by SANLAB_CACHE (the store) and \
             SANLAB_RUNTIME (running fleets)"
        );
        assert_eq!(kind(start), no_space);
        let ended = FleetError::Ended;
        let failed = (Blame::Infrastructure, FailureKind::FleetFailed);
        assert_eq!(kind(ended.into()), failed);
    }

    #[test]
    fn what_was_found_is_told_once() {
        let finding = |node: &str, kind| Finding {
            at: 12.1,
            until: 14.0,
            count: 14,
            node: node.to_owned(),
            phase: None,
            kind,
            about: None,
            source: sanlab_record::Source::KernelLog,
            text: "Oops: 0002".to_owned(),
            excuse: None,
        };
        let one = finding("vix0", FindingKind::Oops);
        let other = finding("vix1", FindingKind::Oops);
        let told = || Failure::from(Cause::Evidence(vec![one.clone()]));
        let again = told().and_findings(vec![one.clone()]);
        assert_eq!(again.to_string(), told().to_string());
        let both = told().and_findings(vec![one.clone(), other]);
        assert_eq!(both.to_string().lines().count(), 2);
        assert_eq!(
            (both.kind(), both.node()),
            (FailureKind::KernelComplaint, Some("vix0"))
        );
        let nothing = Failure::from(Cause::NothingAcknowledged).and_findings(vec![one.clone()]);
        assert_eq!(nothing.kind(), FailureKind::NothingAcknowledged);
        assert_eq!(nothing.node(), None);
        let dead = died("vix1", Status::Signalled(9), None).and_findings(vec![one]);
        assert_eq!(dead.blame(), Blame::UnderTest);
        assert_eq!(
            (dead.kind(), dead.node()),
            (FailureKind::KernelComplaint, Some("vix0"))
        );
        let state = Failure::from(Cause::Evidence(vec![finding(
            "vix0",
            FindingKind::LayerState,
        )]));
        assert_eq!(state.kind(), FailureKind::ConditionNotMet);
    }
}
