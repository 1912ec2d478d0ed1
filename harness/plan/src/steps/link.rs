//! `link`: the network cables of a node, pulled and plugged in again.

use std::time::Duration;

use super::{FaultRole, PlannedStep, StepTable, Walk};
use crate::diagnostic::{Diagnostic, Span};
use crate::document::table::table;
use crate::document::word::words;
use crate::steps::topology::open_faults::{Broken, OpenFault};
use crate::values::names::{NetworkName, NodeName, StepLabel};

table! {
    /// Pulls the network cables of a node, or plugs them in again. The node's drivers see it.
    Written, "`link`", r#"{ node = "vix1" }"# {
        /// Whose.
        node: NodeName, required r#""vix1""#;
        /// `down` or `up`.
        state: LinkState, default LinkState::Down;
        /// Only the cable to this network. Default: those to all of its networks.
        network: NetworkName, optional;
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

/// The network cables of a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// Whose.
    pub node: NodeName,
    /// What becomes of them.
    pub state: LinkState,
    /// The one network that is meant; nothing: all of the node's.
    pub network: Option<NetworkName>,
    /// Of [`LinkState::Down`]: when they are up again by themselves.
    pub lasts: Option<Duration>,
    /// Of [`LinkState::Up`]: the steps that pulled them.
    pub ends: Vec<StepLabel>,
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
        let mut networks =
            walk.networks(self.network.as_ref(), std::slice::from_ref(&node.value))?;
        let network_set = &walk.topology.node_set.networks;
        networks.retain(|name| network_set.joins(name, &node.value));
        let pulled = walk.topology.open_faults.pulled(&node.value, &networks);
        let key = self.network.as_ref().map_or_else(String::new, |name| {
            format!(", network = \"{}\"", name.value)
        });
        let link = format!(
            "link of `{}`{}",
            node.value,
            super::on_network(self.network.as_ref().map(|name| &name.value))
        );
        let wrong = |title: String| Diagnostic::at(span, title);
        match (state, pulled.as_slice()) {
            (LinkState::Down, [(before, _), ..]) => {
                walk.mistakes.note(
                    wrong(format!("the {link} is down already"))
                        .label("cannot be pulled twice")
                        .also(&before.span, "pulled here")
                        .help(format!(
                            "put a step `link = {{ node = \"{}\", state = \"up\" }}` before it",
                            node.value
                        )),
                );
                return None;
            }
            (LinkState::Up, []) => {
                walk.mistakes.note(
                    wrong(format!("the {link} is up at this step"))
                        .label("nothing has pulled it")
                        .help(format!(
                            "put a step `link = {{ node = \"{}\"{key} }}` before it",
                            node.value
                        )),
                );
                return None;
            }
            _ => {}
        }
        if let Some((before, _)) = pulled
            .iter()
            .find(|(_, of)| of.iter().any(|name| !networks.contains(name)))
        {
            walk.mistakes.note(
                wrong(format!("the {link} was pulled with others"))
                    .label("plugged in alone")
                    .also(&before.span, "pulls all of them")
                    .help("drop `network`, or pull each with a step of its own"),
            );
            return None;
        }
        let ends: Vec<StepLabel> = pulled.into_iter().map(|(fault, _)| fault.label).collect();
        if let (LinkState::Up, Some(lasts)) = (state, &self.lasts) {
            walk.mistakes.note(
                Diagnostic::at(&lasts.span, "`lasts` of a link that is up")
                    .label("until it is pulled again?")
                    .help("give `lasts` to the step that pulls it"),
            );
        }
        for step in &ends {
            walk.topology.open_faults.end(step);
        }
        if state == LinkState::Down {
            walk.topology.silence(std::slice::from_ref(&node.value));
            walk.topology.open_faults.begin(OpenFault {
                label: label.clone(),
                span: span.clone(),
                what: Broken::Cables(node.value.clone(), networks),
            });
        }
        Some(Link {
            node: node.value.clone(),
            state,
            network: self.network.as_ref().map(|name| name.value.clone()),
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
            "{done} the network cable of {}{}{}",
            self.node,
            super::on_network(self.network.as_ref()),
            super::for_a_time(self.lasts)
        )
    }
}
