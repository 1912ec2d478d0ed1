//! What a row of the table of steps gives: what is written and what is planned of them, and the words.

use std::time::Duration;

use super::Walk;
use crate::diagnostic::Span;
use crate::document::read::Value;
use crate::values::names::StepLabel;

/// An action as written: the table under its key.
pub(crate) trait StepTable: Value {
    /// What is decided of it.
    type Planned: PlannedStep;

    /// Checks it where the walk stands, and takes it. `None` after a noted mistake.
    fn lower(&self, span: &Span, label: &StepLabel, walk: &mut Walk<'_>) -> Option<Self::Planned>;

    /// Whether it goes on while the next steps are taken, as far as can be told from what is written.
    fn is_background(&self) -> bool {
        false
    }
}

/// What an action has to do with faults.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FaultRole {
    /// Nothing.
    None,
    /// It breaks something.
    Breaks,
    /// It mends what another broke.
    Mends,
}

/// The figures that an action leaves in a run's record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Figures {
    /// None of its own.
    None,
    /// Samples of each writer, but no cost: it cannot be told from that of the steps beside it.
    Samples,
    /// Samples, and the cost of work that is done once, whatever it is done for.
    Once,
    /// The same each time the work is repeated, after warm-ups: a scenario that has them is there for its figures.
    Repeated,
}

/// An action as decided.
pub(crate) trait PlannedStep {
    /// For a step that does not give its own; generous, since guests may be emulated.
    fn deadline(&self, walk: &Walk<'_>) -> Duration;

    /// In a few words.
    fn describe(&self) -> String;

    /// What it has to do with faults.
    fn fault_role(&self) -> FaultRole {
        FaultRole::None
    }

    /// Whether it goes on while the next steps are taken.
    fn is_background(&self) -> bool {
        false
    }

    /// What it measures.
    fn figures(&self) -> Figures {
        Figures::None
    }
}

/// `key => Action, what else its file makes public;` for each action, in the order of the guide.
macro_rules! catalog {
    ($($(#[$doc:meta])+ $key:ident => $name:ident $(, $also:ident)*;)+) => {
        $(pub use self::$key::{$name, $($also),*};)+

        /// What a step does.
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub enum Action {
            $($(#[$doc])+ $name($name),)+
        }

        impl Action {
            /// In a few words.
            pub fn describe(&self) -> String {
                match self {
                    $(Self::$name(action) => action.describe(),)+
                }
            }

            /// Whether it breaks something, or mends it.
            pub fn fault_role(&self) -> FaultRole {
                match self {
                    $(Self::$name(action) => action.fault_role(),)+
                }
            }

            /// Whether it goes on while the next steps are taken.
            pub fn is_background(&self) -> bool {
                match self {
                    $(Self::$name(action) => PlannedStep::is_background(action),)+
                }
            }

            /// What it measures.
            pub fn figures(&self) -> Figures {
                match self {
                    $(Self::$name(action) => action.figures(),)+
                }
            }

            fn deadline(&self, walk: &Walk<'_>) -> Duration {
                match self {
                    $(Self::$name(action) => action.deadline(walk),)+
                }
            }
        }

        $crate::document::table::choice! {
            /// What a step does, as written.
            WrittenAction, "action", "actions" {
                $($key => $name(self::$key::Written),)+
            }
        }

        impl WrittenAction {
            /// Its key in a scenario file.
            pub(crate) const fn word(&self) -> &'static str {
                match self {
                    $(Self::$name(_) => stringify!($key),)+
                }
            }

            fn lower(&self, span: &Span, label: &StepLabel, walk: &mut Walk<'_>) -> Option<Action> {
                match self {
                    $(Self::$name(action) => action.lower(span, label, walk).map(Action::$name),)+
                }
            }

            fn is_background(&self) -> bool {
                match self {
                    $(Self::$name(action) => StepTable::is_background(action),)+
                }
            }
        }
    };
}

pub(crate) use catalog;

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::Figures;

    #[test]
    fn what_steps_measure_and_which_go_on_meanwhile() {
        let of = |text: &str, label: &str| {
            let plan = crate::parse(Path::new("scenario.toml"), text).unwrap();
            let mut steps = plan.steps.iter();
            let step = steps.find(|step| step.label.as_str() == label).unwrap();
            (step.action.figures(), step.action.is_background())
        };
        let throughput = include_str!("../../../../fixtures/accepted/throughput.toml");
        assert_eq!(of(throughput, "random"), (Figures::Repeated, false));
        assert_eq!(of(throughput, "load"), (Figures::Samples, true));
        assert_eq!(of(throughput, "add_node"), (Figures::None, false));
        assert_eq!(of(throughput, "dip"), (Figures::None, false));
        let expect = include_str!("../../../../fixtures/accepted/expect.toml");
        assert_eq!(of(expect, "load"), (Figures::Samples, true));
        assert_eq!(of(expect, "dd"), (Figures::Once, false));
        let md = include_str!("../../../../fixtures/accepted/md.toml");
        assert_eq!(of(md, "write"), (Figures::Once, false));
    }
}
