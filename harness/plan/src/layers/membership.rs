//! A cluster of corosync: who is a member.

use std::time::Duration;

use super::{Building, LayerTable, Limits, Planned, Property, network_parameter, show, sorted};
use crate::diagnostic::{Diagnostic, Mistakes, Span};
use crate::document::read::{At, values};
use crate::document::table::table;
use crate::document::value::{Networks, Nodes};
use crate::document::word::words;
use crate::lower::node_set::NodeSet;
use crate::plan::Joins;
use crate::values::names::{ClusterName, NetworkName, NodeName};

table! {
    /// A cluster of corosync, cman's successor: who is a member.
    Written, "`membership`", r#"{ cluster = "storage0" }"# {
        /// Its name, at most 16 letters and digits.
        cluster: ClusterName, required r#""storage0""#;
        /// The members, those that join later too. Default: every node.
        on: Nodes, optional;
        /// How they talk: `knet`, corosync's own, or `udpu`, plain UDP.
        transport: Transport, default Transport::Knet;
        /// Whether their messages are encrypted and signed; `knet` only.
        crypto: bool, default false;
        /// Silence after which a member is suspected, 1s to 5m, and 0.65 s more for each member beyond the second; after 2.2 times all
        /// of that it is declared dead.
        token: Duration, default Duration::from_secs(5);
        /// Of two members either goes on alone. Default: `true` of two members; of more it must not be given.
        two_node: bool, optional;
        /// A member that starts has quorum only when it has seen all the others at once.
        wait_for_all: bool, default false;
        /// The network on which they talk. With `knet` it may be a list: each is a link, and one that works is enough.
        network: Networks, default Networks::main();
    }
}

/// corosync, cman's successor. Its members are the layer's nodes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Membership {
    /// `cluster_name`.
    pub cluster: ClusterName,
    /// How the members talk.
    pub transport: Transport,
    /// Whether messages are encrypted and signed (AES-256, SHA-256); needs knet.
    pub crypto: bool,
    /// `token`: silence after which a member of two is suspected; see [`silence`](Self::silence).
    pub token: Duration,
    /// `two_node`: as long as the configuration names two members at most, either goes on alone.
    pub two_node: bool,
    /// `wait_for_all`: who starts has quorum only when it has seen all members at once.
    pub wait_for_all: bool,
    /// The networks on which they talk, a link each; never empty.
    pub networks: Vec<NetworkName>,
}

/// corosync's `token_coefficient`: what it adds to `token` for each member beyond the second (corosync.conf(5)).
const FOR_EACH_FURTHER: Duration = Duration::from_millis(650);

impl Membership {
    /// The silence after which one of that many members is suspected. It is declared dead after 2.2 times that: corosync waits for
    /// the token, and 1.2 times as long for the others' consent (corosync.conf(5): `token`, `consensus`).
    pub fn silence(&self, members: usize) -> Duration {
        silence(self.token, members)
    }
}

fn silence(token: Duration, members: usize) -> Duration {
    let further = u32::try_from(members.saturating_sub(2)).unwrap_or(u32::MAX);
    token + FOR_EACH_FURTHER * further
}

words! {
    /// corosync's transport.
    pub Transport, "transport", "transports", "a transport", r#""knet""# {
        /// Kronosnet, corosync 3's own.
        Knet = "knet",
        /// Plain UDP to each member.
        Udpu = "udpu",
    }
}

impl Planned for Membership {
    fn parameters(&self) -> Vec<(&'static str, String)> {
        let mut all = vec![
            ("cluster", show(&self.cluster)),
            ("transport", show(&self.transport)),
            ("crypto", show(&self.crypto)),
            ("token", show(&self.token)),
            ("two_node", show(&self.two_node)),
            ("wait_for_all", show(&self.wait_for_all)),
        ];
        all.extend(network_parameter(&self.networks));
        all
    }

    fn networks(&self) -> &[NetworkName] {
        &self.networks
    }
}

impl LayerTable for Written {
    type Planned = Membership;
    const PROPERTIES: &'static [Property] = &[Property::Several, Property::Daemons];

    fn networks(&self) -> Vec<&At<NetworkName>> {
        self.network.iter().flat_map(|names| &names.0).collect()
    }

    fn lower(
        &self,
        span: &Span,
        building: &mut Building<'_>,
        mistakes: &mut Mistakes,
    ) -> Option<(Vec<NodeName>, Membership)> {
        let (node_set, clusters) = (building.device_map.node_set, &mut building.clusters);
        Limits::seconds(1, 300).check("token", self.token.as_ref(), mistakes);
        if let (Some(crypto), Some(transport)) = (&self.crypto, &self.transport)
            && crypto.value
            && transport.value == Transport::Udpu
        {
            mistakes.note(
                Diagnostic::at(&crypto.span, "`udpu` with `crypto`")
                    .label("corosync encrypts over knet alone")
                    .also(&transport.span, "plain UDP")
                    .help(r#"drop `crypto`, or give `transport = "knet"`"#),
            );
        }
        let on = if let Some(list) = &self.on {
            sorted(node_set, node_set.expand(list, mistakes)?)
        } else {
            let all = node_set.nodes.iter().map(|node| At {
                value: node.name.clone(),
                span: span.clone(),
            });
            all.collect()
        };
        if node_set.is_whole() && !on.iter().any(|node| at_start(node_set, &node.value)) {
            mistakes.note(
                Diagnostic::at(span, "a cluster of which no member is there from the start")
                    .label("no member is there from the start")
                    .help(r#"name a node without `joins = "later"`"#),
            );
        }
        if let Some(two_node) = self
            .two_node
            .as_ref()
            .filter(|given| given.value && on.len() > 2)
        {
            let title = format!("`two_node` of a cluster of {}", on.len());
            mistakes.note(
                Diagnostic::at(&two_node.span, title)
                    .label("corosync ignores it")
                    .help("drop it, or name two members in `on`"),
            );
        }
        for node in &on {
            if let Some((cluster, first)) = clusters.place(&node.value) {
                mistakes.note(
                    Diagnostic::at(&node.span, format!("`{}` in two clusters", node.value))
                        .label("a node runs one corosync")
                        .also(first, format!("a member of `{}`", cluster.name.value))
                        .help("name each node in one `membership` layer"),
                );
            }
        }
        let name = self.cluster.as_ref()?;
        if let Some(first) = clusters
            .0
            .iter()
            .find(|other| other.name.value == name.value)
        {
            mistakes.note(
                Diagnostic::at(&name.span, format!("two clusters named `{}`", name.value))
                    .label("the same name")
                    .also(&first.name.span, "the first one")
                    .help("give each cluster a name of its own"),
            );
        }
        let networks = self.links(mistakes);
        let members = values(&on);
        let token = self.token.as_ref()?.value;
        clusters.0.push(Cluster {
            name: name.clone(),
            on,
            token,
        });
        let membership = Membership {
            cluster: name.value.clone(),
            transport: self.transport.as_ref()?.value,
            crypto: self.crypto.as_ref()?.value,
            token,
            two_node: self.two_node.as_ref().is_none_or(|given| given.value),
            wait_for_all: self.wait_for_all.as_ref()?.value,
            networks: networks?,
        };
        Some((members, membership))
    }
}

impl Written {
    /// The networks of the links. `None` after a noted mistake.
    fn links(&self, mistakes: &mut Mistakes) -> Option<Vec<NetworkName>> {
        let network = self.network.as_ref()?;
        let names: Vec<NetworkName> = network.0.iter().map(|name| name.value.clone()).collect();
        let wrong = |span: &Span, title: String| Diagnostic::at(span, title);
        let twice = network.0.iter().enumerate().find_map(|(at, name)| {
            let first = network.0[..at]
                .iter()
                .find(|other| other.value == name.value)?;
            Some((name, first))
        });
        if names.is_empty() {
            mistakes.note(
                wrong(&network.span, "a list of no networks".to_owned())
                    .label("no network")
                    .help("name a network, or leave the key out"),
            );
            return None;
        }
        if let Some((name, first)) = twice {
            mistakes.note(
                wrong(
                    &name.span,
                    format!("network `{}` is named twice", name.value),
                )
                .label("a second link on it")
                .also(&first.span, "already here")
                .help("name each network once"),
            );
            return None;
        }
        if let Some(transport) = &self.transport
            && transport.value == Transport::Udpu
            && names.len() > 1
        {
            mistakes.note(
                wrong(&network.span, "`udpu` with several networks".to_owned())
                    .label("corosync has several links over knet alone")
                    .also(&transport.span, "plain UDP")
                    .help(r#"name one network, or give `transport = "knet"`"#),
            );
        }
        Some(names)
    }
}

/// The clusters so far.
#[derive(Debug, Default)]
pub(crate) struct Clusters(Vec<Cluster>);

/// One of them.
#[derive(Debug)]
pub(crate) struct Cluster {
    pub(crate) name: At<ClusterName>,
    on: Vec<At<NodeName>>,
    pub(crate) token: Duration,
}

impl Cluster {
    /// After which a member is suspected when all are there.
    pub(crate) fn silence(&self) -> Duration {
        silence(self.token, self.on.len())
    }
}

impl Clusters {
    /// The cluster that has all of these nodes.
    pub(crate) fn with_all(&self, nodes: &[NodeName]) -> Option<&Cluster> {
        self.0
            .iter()
            .find(|cluster| nodes.iter().all(|node| cluster.has(node).is_some()))
    }

    /// The first of these nodes that is in no cluster.
    pub(crate) fn lone<'a>(&self, nodes: &'a [NodeName]) -> Option<&'a NodeName> {
        nodes.iter().find(|node| self.place(node).is_none())
    }

    fn place(&self, node: &NodeName) -> Option<(&Cluster, &Span)> {
        self.0
            .iter()
            .find_map(|cluster| cluster.has(node).map(|span| (cluster, span)))
    }
}

impl Cluster {
    fn has(&self, node: &NodeName) -> Option<&Span> {
        let mut members = self.on.iter();
        members
            .find(|member| member.value == *node)
            .map(|member| &member.span)
    }
}

pub(crate) fn at_start(node_set: &NodeSet, name: &NodeName) -> bool {
    node_set
        .get(name)
        .is_some_and(|node| node.joins == Joins::AtStart)
}
