//! `clock`: nodes whose clocks are wrong, or go wrong.

use std::time::Duration;

use super::{FaultRole, PlannedStep, StepTable, Walk, names};
use crate::diagnostic::{Diagnostic, Span};
use crate::document::table::table;
use crate::document::value::Nodes;
use crate::steps::topology::Must;
use crate::steps::topology::open_faults::Part;
use crate::values::clocks::{Drift, TimeShift};
use crate::values::names::{NodeName, StepLabel};

table! {
    /// Sets the clocks of nodes forward or back, or lets them run fast or slow. The lab's own times and deadlines are the host's.
    Written, "`clock`", r#"{ on = "vix1", jump = "-60m" }"# {
        /// Whose.
        on: Nodes, required r#""vix1""#;
        /// The wall clock is set by so much forward, or back with `-`; at most a day.
        jump: TimeShift, optional;
        /// All clocks run so much too fast, or too slow with `-`; at most 100000ppm, a tenth.
        drift: Drift, optional;
        /// It ends by itself after this time. Default: with a step `heal` or the node's power.
        lasts: Duration, optional;
    }
}

/// Clocks that are wrong, or go wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Clock {
    /// Whose; never empty.
    pub on: Vec<NodeName>,
    /// By how much the wall clock is set.
    pub jump: TimeShift,
    /// By how much all clocks are too fast from then on.
    pub drift: Drift,
    /// When it ends by itself.
    pub lasts: Option<Duration>,
}

impl StepTable for Written {
    type Planned = Clock;

    fn lower(&self, span: &Span, label: &StepLabel, walk: &mut Walk<'_>) -> Option<Clock> {
        walk.check_lasts(self.lasts.as_ref());
        let on = walk
            .topology
            .choose(self.on.as_ref(), Must::BeThere, span, walk.mistakes)?;
        let none = self.jump.is_none() && self.drift.is_none();
        let none = none && !walk.mistakes.any_within(span);
        let mut right = true;
        let mut wrong = |span: &Span, title: &str, label: &str, help: &str| {
            right = false;
            walk.mistakes
                .note(Diagnostic::at(span, title).label(label).help(help));
        };
        if none {
            wrong(
                span,
                "a clock that is right",
                "nothing is wrong with it",
                r#"give `jump`, such as "-60m", or `drift`, such as "500ppm""#,
            );
        }
        if let Some(jump) = &self.jump {
            if jump.value == TimeShift::NONE {
                wrong(
                    &jump.span,
                    "a jump of no time",
                    "the clock would stay right",
                    r#"give a time, such as "60m", or "-60m" for one back"#,
                );
            } else if jump.size() > TimeShift::MOST {
                wrong(
                    &jump.span,
                    "impossible `jump`",
                    "out of range",
                    "give at most 1440m, a day",
                );
            }
        }
        if let Some(drift) = &self.drift {
            if drift.value == Drift::NONE {
                wrong(
                    &drift.span,
                    "no drift",
                    "the clock would stay right",
                    r#"give millionths, such as "500ppm", or "-500ppm" for a slow clock"#,
                );
            } else if !drift.is_possible() {
                wrong(
                    &drift.span,
                    "impossible `drift`",
                    "out of range",
                    "give at most 100000ppm, the most that a kernel corrects its clock by",
                );
            }
        }
        if !right || walk.mistakes.any_within(span) {
            return None;
        }
        walk.begin_node_fault(Part::Clock, &on, span, label)?;
        Some(Clock {
            on,
            jump: self.jump.as_ref().map_or(TimeShift::NONE, |it| it.value),
            drift: self.drift.as_ref().map_or(Drift::NONE, |it| it.value),
            lasts: self.lasts.as_ref().map(|lasts| lasts.value),
        })
    }
}

impl PlannedStep for Clock {
    fn deadline(&self, _walk: &Walk<'_>) -> Duration {
        Duration::from_secs(60)
    }

    fn fault_role(&self) -> FaultRole {
        FaultRole::Breaks
    }

    fn describe(&self) -> String {
        let mut done = Vec::new();
        let of = names(&self.on);
        if self.jump != TimeShift::NONE {
            let way = if self.jump.is_back() {
                "back"
            } else {
                "forward"
            };
            let seconds = self.jump.size().as_secs_f32();
            done.push(format!("set the clock of {of} {way} by {seconds} s"));
        }
        if self.drift != Drift::NONE {
            done.push(format!("let the clock of {of} run wrong by {}", self.drift));
        }
        format!("{}{}", done.join(", "), super::for_a_time(self.lasts))
    }
}
