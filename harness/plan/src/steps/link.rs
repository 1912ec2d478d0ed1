//! `link`: the network cable of a node, pulled and plugged in again.

use std::time::Duration;

use super::{FaultRole, PlannedStep, StepTable, Walk};
use crate::diagnostic::{Diagnostic, Span};
use crate::document::table::table;
use crate::document::word::words;
use crate::steps::topology::open_faults::{Broken, OpenFault};
use crate::values::names::{NodeName, StepLabel};

table! {
    /// Pulls the network cable of a node, or plugs it in again. The node's driver sees it.
    Written, "`link`", r#"{ node = "vix1" }"# {
        /// Whose.
        node: NodeName, required r#""vix1""#;
        /// `down` or `up`.
        state: LinkState, default LinkState::Down;
        /// Of `down`: it is up again after this time. Default: with `state = "up"` or a step `heal`.
        lasts: Duration, optional;
    }
}

words! {
    /// A network cable.
    pub LinkState, "state of a link", "states of a link", "a state of a link", r#""down""# {
        /// Pulled.
        Down = "down",
        /// Plugged in.
        Up = "up",
    }
}

/// The network cable of a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// Whose.
    pub node: NodeName,
    /// What becomes of it.
    pub state: LinkState,
    /// Of [`LinkState::Down`]: when it is up again by itself.
    pub lasts: Option<Duration>,
    /// Of [`LinkState::Up`]: the step that pulled it.
    pub ends: Option<StepLabel>,
}

impl StepTable for Written {
    type Planned = Link;

    fn lower(&self, span: &Span, label: &StepLabel, walk: &mut Walk<'_>) -> Option<Link> {
        walk.check_lasts(self.lasts.as_ref());
        let node = self.node.as_ref()?;
        let state = self.state.as_ref()?.value;
        walk.topology.node_set.find(node, walk.mistakes)?;
        if !walk.topology.check_there(node, walk.mistakes) {
            return None;
        }
        let lasts = self.lasts.as_ref().map(|lasts| lasts.value);
        let pulled = walk.topology.open_faults.pulled(&node.value);
        let wrong = |title: String| Diagnostic::at(span, title);
        let ends = match (state, pulled) {
            (LinkState::Down, Some(before)) => {
                walk.mistakes.note(
                    wrong(format!("the link of `{}` is down already", node.value))
                        .label("cannot be pulled twice")
                        .also(&before.span, "pulled here")
                        .help(format!(
                            "put a step `link = {{ node = \"{}\", state = \"up\" }}` before it",
                            node.value
                        )),
                );
                return None;
            }
            (LinkState::Up, None) => {
                walk.mistakes.note(
                    wrong(format!("the link of `{}` is up at this step", node.value))
                        .label("nothing has pulled it")
                        .help(format!(
                            "put a step `link = {{ node = \"{}\" }}` before it",
                            node.value
                        )),
                );
                return None;
            }
            (LinkState::Up, Some(before)) => Some(before.label.clone()),
            (LinkState::Down, None) => None,
        };
        if let (LinkState::Up, Some(lasts)) = (state, &self.lasts) {
            walk.mistakes.note(
                Diagnostic::at(&lasts.span, "`lasts` of a link that is up")
                    .label("until it is pulled again?")
                    .help("give `lasts` to the step that pulls it"),
            );
        }
        match &ends {
            Some(step) => walk.topology.open_faults.end(step),
            None => walk.topology.open_faults.begin(OpenFault {
                label: label.clone(),
                span: span.clone(),
                what: Broken::Cable(node.value.clone()),
            }),
        }
        Some(Link {
            node: node.value.clone(),
            state,
            lasts,
            ends,
        })
    }
}

impl PlannedStep for Link {
    fn deadline(&self, _walk: &Walk<'_>) -> Duration {
        Duration::from_secs(60)
    }

    fn fault_role(&self) -> FaultRole {
        match self.state {
            LinkState::Down => FaultRole::Breaks,
            LinkState::Up => FaultRole::Mends,
        }
    }

    fn describe(&self) -> String {
        let done = match self.state {
            LinkState::Down => "pull",
            LinkState::Up => "plug in",
        };
        format!(
            "{done} the network cable of {}{}",
            self.node,
            super::for_a_time(self.lasts)
        )
    }
}
