//! `wait_for`: a state that some layer of the scenario knows, seen by nodes that can see it.

use std::time::Duration;

use super::{PlannedStep, StepTable, Walk, names};
use crate::diagnostic::suggest::{did_you_mean, quoted};
use crate::diagnostic::{Diagnostic, Span};
use crate::document::read::At;
use crate::document::table::table;
use crate::document::value::Nodes;
use crate::layers::{Layer, LayerKind};
use crate::plan::PlacedLayer;
use crate::steps::topology::Must;
use crate::values::names::{ClusterName, NodeName, ResourceName, StepLabel};

/// DRBD 8.4's connection states.
const CONNECTIONS: [&str; 24] = [
    "StandAlone",
    "Disconnecting",
    "Unconnected",
    "Timeout",
    "BrokenPipe",
    "NetworkFailure",
    "ProtocolError",
    "TearDown",
    "WFConnection",
    "WFReportParams",
    "Connected",
    "StartingSyncS",
    "StartingSyncT",
    "WFBitMapS",
    "WFBitMapT",
    "WFSyncUUID",
    "SyncSource",
    "SyncTarget",
    "VerifyS",
    "VerifyT",
    "PausedSyncS",
    "PausedSyncT",
    "Ahead",
    "Behind",
];

/// DRBD 8.4's disk states.
const DISKS: [&str; 9] = [
    "Diskless",
    "Attaching",
    "Failed",
    "Negotiating",
    "Inconsistent",
    "Outdated",
    "DUnknown",
    "Consistent",
    "UpToDate",
];

table! {
    /// Paths of multipath.
    Paths, "`paths`", "{ active = 4 }" {
        /// Those that carry requests.
        active: u32, required "4";
        /// Those that do not.
        failed: u32, default 0;
    }
}

table! {
    /// Waits until nodes see a state: of multipath's `paths`, of a `drbd` resource, or of a `cluster`.
    Written, "`wait_for`", "{ paths = { active = 4 } }" {
        /// Who must see it. Default: every node that is there and can.
        on: Nodes, optional;
        /// So many paths, those of all maps together.
        paths: Paths, optional;
        /// A DRBD resource, whose `connection` or `disk` or both are given.
        drbd: ResourceName, optional;
        /// Its connection, in DRBD's words: `Connected`, `WFConnection`, `SyncTarget`, ...
        connection: String, optional;
        /// Its disks, the node's own and its peer's: `UpToDate/UpToDate`, ...
        disk: String, optional;
        /// A cluster of `membership`, whose `members` are given.
        cluster: ClusterName, optional;
        /// Exactly these.
        members: Nodes, optional;
    }
}

/// A state that nodes must come to see within the step's deadline.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WaitFor {
    /// Who must see it; never empty.
    pub on: Vec<NodeName>,
    /// What.
    pub state: Awaited,
}

/// What can be waited for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Awaited {
    /// So many paths of multipath maps, all maps together.
    Paths {
        /// That carry requests.
        active: u32,
        /// That do not.
        failed: u32,
    },
    /// A DRBD resource as the node sees it.
    Drbd {
        /// Which.
        resource: ResourceName,
        /// `drbdadm cstate`: `Connected`, `WFConnection`, `SyncTarget`, ...
        connection: Option<String>,
        /// `drbdadm dstate`: `UpToDate/UpToDate`, ...
        disk: Option<String>,
    },
    /// Exactly these nodes are members of the cluster.
    Members {
        /// Which cluster.
        cluster: ClusterName,
        /// Its members, in the order of their numbers.
        members: Vec<NodeName>,
    },
}

impl StepTable for Written {
    type Planned = WaitFor;

    fn lower(&self, span: &Span, _label: &StepLabel, walk: &mut Walk<'_>) -> Option<WaitFor> {
        let (placed, state) = match (&self.paths, &self.drbd, &self.cluster) {
            (Some(_), None, None) | (None, Some(_), None) | (None, None, Some(_)) => {
                walk.check_companions(self);
                if self.paths.is_some() {
                    walk.paths(self, span)?
                } else if self.drbd.is_some() {
                    walk.drbd(self)?
                } else {
                    walk.members(self)?
                }
            }
            given => {
                if !walk.mistakes.any_within(span) {
                    let title = match given {
                        (None, None, None) => "`wait_for` without a state",
                        _ => "`wait_for` with several states",
                    };
                    walk.mistakes.note(
                        Diagnostic::at(span, title)
                            .label("needs one of `paths`, `drbd` and `cluster`")
                            .help(r#"write `paths = { active = 4 }`, `drbd = "r0", connection = "Connected"` or `cluster = "storage0", members = [...]`"#),
                    );
                }
                return None;
            }
        };
        let on = walk.seers(self, &placed, span)?;
        Some(WaitFor { on, state })
    }
}

impl PlannedStep for WaitFor {
    fn deadline(&self, _walk: &Walk<'_>) -> Duration {
        Duration::from_secs(120)
    }

    fn describe(&self) -> String {
        format!(
            "wait for {}, seen by {}",
            shown(&self.state),
            names(&self.on)
        )
    }
}

/// What is waited for, in a few words.
fn shown(state: &Awaited) -> String {
    match state {
        Awaited::Paths { active, failed } => format!("{active} active and {failed} failed paths"),
        Awaited::Drbd {
            resource,
            connection,
            disk,
        } => {
            let words: Vec<&str> = connection.iter().chain(disk).map(String::as_str).collect();
            format!("{resource} {}", words.join(" "))
        }
        Awaited::Members { cluster, members } => {
            format!("the members {} of {cluster}", names(members))
        }
    }
}

impl Walk<'_> {
    /// Keys that belong to a state that is not asked for.
    fn check_companions(&mut self, entry: &Written) {
        let keys = [
            (
                "connection",
                "drbd",
                entry.connection.as_ref().map(|key| &key.span),
                entry.drbd.is_some(),
            ),
            (
                "disk",
                "drbd",
                entry.disk.as_ref().map(|key| &key.span),
                entry.drbd.is_some(),
            ),
            (
                "members",
                "cluster",
                entry.members.as_ref().map(|key| &key.span),
                entry.cluster.is_some(),
            ),
        ];
        for (key, of, span, fits) in keys {
            if let Some(span) = span.filter(|_| !fits) {
                self.mistakes.note(
                    Diagnostic::at(span, format!("`{key}` without `{of}`"))
                        .label(format!("a state of which `{of}`?"))
                        .help(format!("add `{of}`, or give this state a step of its own")),
                );
            }
        }
    }

    /// Those of the layer's nodes that are asked, or all that are there.
    fn seers(
        &mut self,
        entry: &Written,
        placed: &PlacedLayer,
        span: &Span,
    ) -> Option<Vec<NodeName>> {
        let mut on = self
            .topology
            .choose(entry.on.as_ref(), Must::BeThere, span, self.mistakes)?;
        let kind = placed.layer.kind();
        let Some(list) = &entry.on else {
            on.retain(|node| placed.on.contains(node));
            if on.is_empty() {
                self.mistakes.note(
                    Diagnostic::at(
                        span,
                        format!("no node of this `{kind}` is there at this step"),
                    )
                    .label("no node can see it")
                    .help("put a `restart` step before it, or drop this one"),
                );
            }
            return (!on.is_empty()).then_some(on);
        };
        if let Some(other) = on.iter().find(|node| !placed.on.contains(node)) {
            self.mistakes.note(
                Diagnostic::at(&list.span, format!("`{other}` cannot see that"))
                    .label(format!("not of this `{kind}`"))
                    .help(format!("name nodes that can: {}", quoted(&placed.on))),
            );
            return None;
        }
        Some(on)
    }

    fn paths(&mut self, entry: &Written, span: &Span) -> Option<(PlacedLayer, Awaited)> {
        let paths = entry.paths.as_ref()?;
        let resolved_stack = self.topology.resolved_stack;
        let Some(placed) = resolved_stack.placed(LayerKind::Multipath) else {
            self.unknown(&paths.span, LayerKind::Multipath, "paths", "multipath = {}");
            return None;
        };
        let (active, failed) = (paths.active.as_ref()?.value, paths.failed.as_ref()?.value);
        let all = match &placed.layer {
            Layer::Multipath(multipath) => multipath.maps.iter().map(|map| map.paths.len()).sum(),
            _ => 0,
        };
        if u32::try_from(all).is_ok_and(|all| active.saturating_add(failed) > all)
            && resolved_stack.whole
        {
            self.mistakes.note(
                Diagnostic::at(&paths.span, format!("more paths than there are: {all}"))
                    .label(format!("{active} and {failed}"))
                    .help("a node has one path for each export of `gnbd`, or those of each shared disk, of all maps together"),
            );
        } else if active == 0 && failed == 0 {
            self.mistakes.note(
                Diagnostic::at(span, "no paths to wait for")
                    .label("neither active nor failed ones")
                    .help("give the number of those that carry requests, such as `active = 4`"),
            );
        }
        Some((placed.clone(), Awaited::Paths { active, failed }))
    }

    fn drbd(&mut self, entry: &Written) -> Option<(PlacedLayer, Awaited)> {
        let resource = entry.drbd.as_ref()?;
        self.check_states("connection", entry.connection.as_ref(), &CONNECTIONS, 1);
        self.check_states("disk", entry.disk.as_ref(), &DISKS, 2);
        if entry.connection.is_none() && entry.disk.is_none() {
            self.mistakes.note(
                Diagnostic::at(&resource.span, "a resource without a state")
                    .label("`connection` or `disk` is missing")
                    .help(r#"add `connection = "Connected"`, or `disk = "UpToDate/UpToDate"`, or both"#),
            );
        }
        let resolved_stack = self.topology.resolved_stack;
        let named = |placed: &&PlacedLayer| matches!(&placed.layer, Layer::Drbd(drbd) if drbd.resource == resource.value);
        let Some(placed) = resolved_stack.layers.iter().find(named) else {
            let resources = resolved_stack
                .layers
                .iter()
                .filter_map(|placed| match &placed.layer {
                    Layer::Drbd(drbd) => Some(drbd.resource.as_str()),
                    _ => None,
                });
            self.unknown_name(
                &resource.span,
                "resource",
                resource.as_str(),
                resources.collect(),
            );
            return None;
        };
        let state = Awaited::Drbd {
            resource: resource.value.clone(),
            connection: entry.connection.as_ref().map(|state| state.value.clone()),
            disk: entry.disk.as_ref().map(|state| state.value.clone()),
        };
        Some((placed.clone(), state))
    }

    fn members(&mut self, entry: &Written) -> Option<(PlacedLayer, Awaited)> {
        let cluster = entry.cluster.as_ref()?;
        let resolved_stack = self.topology.resolved_stack;
        let named = |placed: &&PlacedLayer| matches!(&placed.layer, Layer::Membership(membership) if membership.cluster == cluster.value);
        let Some(placed) = resolved_stack.layers.iter().find(named) else {
            let clusters = resolved_stack
                .layers
                .iter()
                .filter_map(|placed| match &placed.layer {
                    Layer::Membership(membership) => Some(membership.cluster.as_str()),
                    _ => None,
                });
            self.unknown_name(
                &cluster.span,
                "cluster",
                cluster.as_str(),
                clusters.collect(),
            );
            return None;
        };
        let Some(list) = &entry.members else {
            self.mistakes.note(
                Diagnostic::at(&cluster.span, "a cluster without its members")
                    .label("`members` is missing")
                    .help(format!("add `members = [\"{}\"]`", placed.on[0])),
            );
            return None;
        };
        let node_set = self.topology.node_set;
        let mut members = node_set.expand(list, self.mistakes)?;
        members.sort_by_key(|name| node_set.position(&name.value));
        for member in members
            .iter()
            .filter(|member| !placed.on.contains(&member.value))
        {
            self.mistakes.note(
                Diagnostic::at(
                    &member.span,
                    format!(
                        "`{}` is never a member of `{}`",
                        member.value, cluster.value
                    ),
                )
                .label("not of this cluster")
                .help(format!("its nodes are {}", quoted(&placed.on))),
            );
        }
        let state = Awaited::Members {
            cluster: cluster.value.clone(),
            members: members.into_iter().map(|member| member.value).collect(),
        };
        Some((placed.clone(), state))
    }

    /// DRBD's words, so many of them with `/` between.
    fn check_states(
        &mut self,
        key: &str,
        states: Option<&At<String>>,
        known: &[&str],
        count: usize,
    ) {
        let Some(states) = states else { return };
        let words: Vec<&str> = states.split('/').collect();
        if words.len() != count {
            self.mistakes.note(
                Diagnostic::at(
                    &states.span,
                    format!("`{}` is not the state of both disks", states.value),
                )
                .label("the node's own and its peer's, with `/` between")
                .help("write for instance `UpToDate/DUnknown`"),
            );
            return;
        }
        for word in words.into_iter().filter(|word| !known.contains(word)) {
            self.mistakes.note(
                Diagnostic::at(&states.span, format!("unknown state `{word}` in `{key}`"))
                    .label("not a state of DRBD")
                    .help(did_you_mean(word, "states", known.iter().copied())),
            );
        }
    }

    fn unknown(&mut self, span: &Span, kind: LayerKind, what: &str, example: &str) {
        if self.topology.resolved_stack.whole {
            self.mistakes.note(
                Diagnostic::at(span, format!("no layer of this scenario knows `{what}`"))
                    .label(format!("a state of `{kind}`"))
                    .help(format!(
                        "add a `[[layer]]` with `{example}`, or drop this step"
                    )),
            );
        }
    }

    fn unknown_name(&mut self, span: &Span, what: &str, name: &str, known: Vec<&str>) {
        if self.topology.resolved_stack.whole {
            let plural = format!("{what}s");
            self.mistakes.note(
                Diagnostic::at(span, format!("unknown {what} `{name}`"))
                    .label("no layer of this scenario has it")
                    .help(did_you_mean(name, &plural, known)),
            );
        }
    }
}
