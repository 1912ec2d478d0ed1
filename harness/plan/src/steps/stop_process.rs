//! `stop_process`: a signal to all processes of a name.

use std::time::Duration;

use super::{FaultRole, PlannedStep, StepTable, Walk, names};
use crate::diagnostic::{Diagnostic, Span};
use crate::document::table::table;
use crate::document::value::Nodes;
use crate::document::word::words;
use crate::steps::topology::Must;
use crate::values::names::{NodeName, StepLabel};

table! {
    /// Sends a signal to all processes of a name.
    Written, "`stop_process`", r#"{ on = "storage0a", process = "gnbd_serv" }"# {
        /// Where.
        on: Nodes, required r#""storage0a""#;
        /// The program's name.
        process: String, required r#""gnbd_serv""#;
        /// `KILL`, `TERM`, `STOP` or `CONT`.
        signal: Signal, default Signal::Kill;
    }
}

/// A signal to all processes of a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StopProcess {
    /// Where; never empty.
    pub on: Vec<NodeName>,
    /// The name of the program.
    pub process: String,
    /// Which.
    pub signal: Signal,
}

words! {
    /// A signal, without `SIG`.
    pub Signal, "signal", "signals", "a signal", r#""KILL""# {
        /// The end.
        Kill = "KILL",
        /// The end, unless the process has other plans.
        Term = "TERM",
        /// It stands still.
        Stop = "STOP",
        /// It goes on.
        Cont = "CONT",
    }
}

impl StepTable for Written {
    type Planned = StopProcess;

    fn lower(&self, span: &Span, _label: &StepLabel, walk: &mut Walk<'_>) -> Option<StopProcess> {
        let letters = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        if let Some(process) = self
            .process
            .as_ref()
            .filter(|process| !process.chars().all(letters))
        {
            walk.mistakes.note(
                Diagnostic::at(
                    &process.span,
                    format!("`{}` is not a program's name", process.value),
                )
                .label("letters, digits, `-`, `_` and `.`")
                .help("write the name alone, without path and arguments, such as `gnbd_serv`"),
            );
        }
        let list = self.on.as_ref()?;
        let on = walk
            .topology
            .choose(Some(list), Must::BeThere, span, walk.mistakes)?;
        walk.topology.stop(&on);
        Some(StopProcess {
            on,
            process: self.process.as_ref()?.value.clone(),
            signal: self.signal.as_ref()?.value,
        })
    }
}

impl PlannedStep for StopProcess {
    fn deadline(&self, _walk: &Walk<'_>) -> Duration {
        Duration::from_secs(60)
    }

    fn fault_role(&self) -> FaultRole {
        if self.signal == Signal::Cont {
            FaultRole::Mends
        } else {
            FaultRole::Breaks
        }
    }

    fn describe(&self) -> String {
        format!(
            "send {} to every {} on {}",
            self.signal,
            self.process,
            names(&self.on)
        )
    }
}
