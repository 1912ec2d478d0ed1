//! What ends a run early: whose fault it is, where it happened and what it was. It stays typed to the end; text is made of it
//! for the record, and nobody decides by that text.

mod cause;

use std::fmt;
use std::io;
use std::time::Duration;

use regex::Regex;
use sanlab_fleet::{ExecError, Printed};
use sanlab_plan::NodeName;
use sanlab_record::{EventKind, FailureKind, Finding, FindingKind, Outcome, PhaseName};

pub(crate) use self::cause::Cause;
use self::cause::{evidence_kind, gravest, lines};

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
    /// What the command printed that failed.
    said: Option<Said>,
    /// What was found besides.
    findings: Vec<Finding>,
    /// The files where all is that the commands printed of which it tells.
    printed_in: Vec<String>,
    /// What failed beside it, on other nodes or because of it.
    others: Vec<Failure>,
}

/// What a failed command printed.
#[derive(Debug)]
pub(crate) struct Said {
    /// The lines that a message shows.
    pub(crate) shown: String,
    /// All that may tell why it failed.
    pub(crate) reason: String,
}

impl<T: Into<Cause>> From<T> for Failure {
    fn from(cause: T) -> Self {
        Self(Box::new(Inner {
            cause: cause.into(),
            node: None,
            during: Vec::new(),
            said: None,
            findings: Vec::new(),
            printed_in: Vec::new(),
            others: Vec::new(),
        }))
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
        // They are told once.
        let told = |other: &Self| matches!(other.0.cause, Cause::Evidence(_));
        self.0.others.retain(|other| !told(other));
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

    /// The same failure, of a command that printed this.
    pub(crate) fn saying(mut self, said: Said) -> Self {
        self.0.said = Some(said);
        self
    }

    /// Several that came of one piece of work as one: first a guest's panic, then a guest or a part of the lab that was lost,
    /// of which the others may be consequences. Nothing: there is none.
    pub(crate) fn together(failures: impl IntoIterator<Item = Self>) -> Option<Self> {
        let mut failures: Vec<Self> = failures.into_iter().flat_map(Self::apart).collect();
        let first = (0..failures.len()).min_by_key(|place| failures[*place].rank())?;
        let first = failures.remove(first);
        Some(failures.into_iter().fold(first, Self::and))
    }

    /// The same failure; the other is told beside it.
    pub(crate) fn and(mut self, other: Self) -> Self {
        self.0.others.extend(other.apart());
        self
    }

    /// It and what failed beside it, each by itself.
    pub(crate) fn apart(mut self) -> Vec<Self> {
        let others = std::mem::take(&mut self.0.others);
        let mut all = vec![self];
        all.extend(others);
        all
    }

    fn rank(&self) -> u8 {
        match self.kind() {
            FailureKind::GuestPanicked => 0,
            FailureKind::GuestReset | FailureKind::GuestHangs => 1,
            _ if self.blame() == Blame::Infrastructure => 1,
            _ => 2,
        }
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

    /// What kind it is: that of the findings where these show a panic, or alone make it the stack's.
    pub(crate) fn kind(&self) -> FailureKind {
        if self.is_made_by_findings() {
            evidence_kind(&self.0.findings)
        } else {
            self.0.cause.kind()
        }
    }

    /// The node that it happened on, where it was one.
    pub(crate) fn node(&self) -> Option<&str> {
        if self.is_made_by_findings() {
            gravest(&self.0.findings).map(|gravest| gravest.node.as_str())
        } else {
            let named = self.0.node.as_ref().map(NodeName::as_str);
            self.0.cause.node().or(named)
        }
    }

    fn is_made_by_findings(&self) -> bool {
        let panics = |finding: &Finding| finding.kind == FindingKind::Panic;
        self.blame() != self.0.cause.blame()
            || self.0.cause.kind() != FailureKind::GuestPanicked
                && self.0.findings.iter().any(panics)
    }

    /// What was being done, and what went wrong, in the lab's words.
    fn sentence(&self) -> String {
        let during = self.0.during.iter().rev().cloned();
        let words: Vec<String> = during.chain([self.0.cause.sentence()]).collect();
        words.join(": ")
    }

    /// Whether a pattern describes all that failed: of each failure its sentence, or the reason that its command printed; and
    /// each finding.
    pub(crate) fn is_described_by(&self, pattern: &Regex) -> bool {
        let of_all = |findings: &[Finding]| findings.iter().all(|it| pattern.is_match(&it.text));
        let itself = if let Cause::Evidence(findings) = &self.0.cause {
            of_all(findings)
        } else {
            let said = self.0.said.as_ref();
            let mut words = [
                Some(self.sentence()),
                said.map(|said| said.reason.clone()),
                self.0.cause.panic(),
            ]
            .into_iter()
            .flatten();
            self.is_made_by_findings() || words.any(|words| pattern.is_match(&words))
        };
        let mut others = self.0.others.iter();
        itself && of_all(&self.0.findings) && others.all(|other| other.is_described_by(pattern))
    }
}

/// One line for each thing that is known of it.
impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for what in self.0.during.iter().rev() {
            write!(f, "{what}: ")?;
        }
        write!(f, "{}", self.0.cause)?;
        if let Some(Said { shown, .. }) = &self.0.said {
            write!(f, ": {shown}")?;
        }
        if !self.0.printed_in.is_empty() {
            write!(f, "\nits whole output: {}", self.0.printed_in.join(", "))?;
        }
        if !self.0.others.is_empty() {
            write!(f, "\n{}", lines(&self.0.others))?;
        }
        if !self.0.findings.is_empty() {
            write!(f, "\n{}", lines(&self.0.findings))?;
        }
        Ok(())
    }
}

/// A failure and the phase it happened in.
#[derive(Debug)]
pub(crate) struct PhaseFailure {
    pub(crate) phase: PhaseName,
    pub(crate) failure: Failure,
}

impl PhaseFailure {
    /// A guest that panicked is the failure, whatever else failed before it was known or because of it; otherwise this one is.
    #[must_use]
    pub(crate) fn unless_panic(self, other: Self) -> Self {
        let panicked = |it: &Self| it.failure.kind() == FailureKind::GuestPanicked;
        if panicked(&self) || !panicked(&other) {
            return self;
        }
        Self {
            phase: other.phase,
            failure: other.failure.and(self.failure),
        }
    }

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
mod tests;
