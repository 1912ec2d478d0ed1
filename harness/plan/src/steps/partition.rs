//! `partition`: groups of nodes that do not reach each other.

use std::time::Duration;

use super::{FaultRole, PlannedStep, StepTable, Walk, names};
use crate::diagnostic::{Diagnostic, Span};
use crate::document::read::At;
use crate::document::table::table;
use crate::document::value::Nodes;
use crate::steps::topology::Must;
use crate::steps::topology::open_faults::{Broken, OpenFault};
use crate::values::names::{NetworkName, NodeName, StepLabel};

table! {
    /// Cuts groups of nodes off from each other. A node of no group reaches all of them.
    Written, "`partition`", r#"{ groups = ["vix0", ["vix1", "vix2"]] }"# {
        /// Two groups or more, each a node, a range or a list of them.
        groups: Vec<At<Nodes>>, required r#"["vix0", ["vix1", "vix2"]]"#;
        /// Of two groups: only what the first sends to the second is lost.
        one_way: bool, default false;
        /// The one network that is cut. Default: all of them.
        network: NetworkName, optional;
        /// It ends by itself after this time. Default: with a step `heal`, else when the layers are taken down.
        lasts: Duration, optional;
    }
}

/// Groups of nodes that do not reach each other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Partition {
    /// At least two; no node is in two of them.
    pub groups: Vec<Vec<NodeName>>,
    /// Only what the first sends to the second is lost.
    pub one_way: bool,
    /// The one network that is cut; nothing: all of them.
    pub network: Option<NetworkName>,
    /// When it ends by itself.
    pub lasts: Option<Duration>,
}

impl StepTable for Written {
    type Planned = Partition;

    fn lower(&self, span: &Span, label: &StepLabel, walk: &mut Walk<'_>) -> Option<Partition> {
        walk.check_lasts(self.lasts.as_ref());
        let given = self.groups.as_ref()?;
        let one_way = self.one_way.as_ref()?.value;
        if given.value.len() < 2 {
            walk.mistakes.note(
                Diagnostic::at(&given.span, "a partition of fewer than two groups")
                    .label("apart from whom?")
                    .help(
                        r#"give two groups or more, such as `groups = ["vix0", ["vix1", "vix2"]]`"#,
                    ),
            );
            return None;
        }
        if one_way && given.value.len() > 2 {
            walk.mistakes.note(
                Diagnostic::at(&given.span, "`one_way` with more than two groups")
                    .label("which way?")
                    .help("give two groups: what the first sends to the second is lost"),
            );
        }
        let mut groups: Vec<Vec<NodeName>> = Vec::new();
        for members in &given.value {
            let group = walk
                .topology
                .choose(Some(members), Must::BeThere, span, walk.mistakes)?;
            if let Some(twice) = group
                .iter()
                .find(|node| groups.iter().flatten().any(|one| one == *node))
            {
                walk.mistakes.note(
                    Diagnostic::at(&members.span, format!("`{twice}` is in two groups"))
                        .label("it would be cut off from itself")
                        .help("name each node once; leave out a node that is to reach all groups"),
                );
                return None;
            }
            groups.push(group);
        }
        let nodes: Vec<NodeName> = groups.iter().flatten().cloned().collect();
        let networks = walk.networks(self.network.as_ref(), &nodes)?;
        let lasts = self.lasts.as_ref().map(|lasts| lasts.value);
        walk.topology.silence(&nodes);
        walk.topology.open_faults.begin(OpenFault {
            label: label.clone(),
            span: span.clone(),
            what: Broken::Network(networks),
        });
        Some(Partition {
            groups,
            one_way,
            network: self.network.as_ref().map(|name| name.value.clone()),
            lasts,
        })
    }
}

impl PlannedStep for Partition {
    fn deadline(&self, _walk: &Walk<'_>) -> Duration {
        Duration::from_secs(60)
    }

    fn fault_role(&self) -> FaultRole {
        FaultRole::Breaks
    }

    fn describe(&self) -> String {
        let groups: Vec<String> = self.groups.iter().map(|group| names(group)).collect();
        let cut = if self.one_way {
            format!("lose what {}", groups.join(" sends to "))
        } else {
            format!("cut {}", groups.join(" off from "))
        };
        let network = super::on_network(self.network.as_ref());
        format!("{cut}{network}{}", super::for_a_time(self.lasts))
    }
}
