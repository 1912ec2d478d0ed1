//! How the program ends.

use sanlab_record::Outcome;
use sanlab_report::verdict::Verdict;
use tokio_util::sync::CancellationToken;

/// The program's exit codes, from the mildest to the gravest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Exit {
    /// Everything that was asked for was done, every scenario passed or failed as it says is known, and nothing that was compared
    /// got worse.
    Success,
    /// What was compared may have got worse or not: the runs do not tell.
    Undecided,
    /// A scenario failed: the stack under test did not do what the scenario says. Or what was compared got worse.
    Failed,
    /// A run of a comparison failed, so that nothing can be said of its sides.
    SideFailed,
    /// The input or the command line is wrong; nothing was run.
    BadInput,
    /// The lab could not do its part: a tool is missing, a guest did not start, ...
    Broken,
    /// A signal (Ctrl-C, SIGTERM) ended the work early.
    Interrupted,
    /// As the command did that was run in a guest.
    OfCommand(u8),
}

impl Exit {
    /// That of a run with this outcome, unless somebody ended the command.
    pub(crate) fn of(outcome: &Outcome, cancel: &CancellationToken) -> Self {
        match outcome {
            _ if cancel.is_cancelled() => Self::Interrupted,
            Outcome::Passed | Outcome::KnownFailure { .. } | Outcome::Skipped { .. } => {
                Self::Success
            }
            Outcome::Failed(_) => Self::Failed,
            Outcome::Broken(_) => Self::Broken,
        }
    }

    /// The number given to the operating system.
    pub const fn code(self) -> u8 {
        match self {
            Self::Success => 0,
            Self::Undecided => 5,
            Self::Failed => 1,
            Self::BadInput => 2,
            Self::Broken => 3,
            Self::Interrupted => 4,
            Self::SideFailed => 6,
            Self::OfCommand(code) => code,
        }
    }
}

impl From<Verdict> for Exit {
    fn from(verdict: Verdict) -> Self {
        match verdict {
            Verdict::NoChange | Verdict::Improved => Self::Success,
            Verdict::Undecided => Self::Undecided,
            Verdict::Regressed => Self::Failed,
        }
    }
}

impl From<Exit> for std::process::ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

#[cfg(test)]
mod tests {
    use sanlab_record::{Failure, FailureKind, KnownBy};

    use super::*;

    #[test]
    fn a_verdict_has_an_exit_code_and_the_gravest_wins() {
        let code = |verdict: Verdict| Exit::from(verdict).code();
        let verdicts = [
            Verdict::NoChange,
            Verdict::Improved,
            Verdict::Regressed,
            Verdict::Undecided,
        ];
        assert_eq!(verdicts.map(code), [0, 0, 1, 5]);
        assert_eq!(Exit::Undecided.max(Exit::Failed), Exit::Failed);
        assert_eq!(Exit::Undecided.max(Exit::Success), Exit::Undecided);
    }

    #[test]
    fn a_failure_that_is_known_is_a_success_unless_somebody_ended_it() {
        let failure = Failure::new("step verify", FailureKind::BlocksLost, "2 of 158");
        let known = Outcome::KnownFailure {
            failure: failure.clone(),
            known: KnownBy {
                because: String::new(),
                source: String::new(),
            },
        };
        let cancel = CancellationToken::new();
        assert_eq!(Exit::of(&known, &cancel), Exit::Success);
        assert_eq!(Exit::of(&Outcome::Failed(failure), &cancel), Exit::Failed);
        cancel.cancel();
        assert_eq!(Exit::of(&known, &cancel), Exit::Interrupted);
    }
}
