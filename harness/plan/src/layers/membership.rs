//! `membership` lowered.

use super::{Limits, plain, sorted};
use crate::diagnostic::{Diagnostic, Mistakes, Span};
use crate::document;
use crate::names::{ClusterName, NodeName};
use crate::plan::{Joins, Membership, Transport};
use crate::read::At;
use crate::roster::Roster;

/// The clusters so far.
#[derive(Debug, Default)]
pub(crate) struct Clusters(Vec<Cluster>);

#[derive(Debug)]
struct Cluster {
    name: At<ClusterName>,
    on: Vec<At<NodeName>>,
}

impl Clusters {
    /// Whether one of the clusters has all of these nodes.
    pub(crate) fn one_has(&self, nodes: &[NodeName]) -> bool {
        self.0
            .iter()
            .any(|cluster| nodes.iter().all(|node| cluster.has(node).is_some()))
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

/// The layer, and its nodes.
pub(crate) fn membership(
    layer: &document::Membership,
    span: &Span,
    roster: &Roster,
    clusters: &mut Clusters,
    mistakes: &mut Mistakes,
) -> Option<(Vec<NodeName>, Membership)> {
    Limits::seconds(1, 300).check("token", layer.token.as_ref(), mistakes);
    if let (Some(crypto), Some(transport)) = (&layer.crypto, &layer.transport)
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
    let on = if let Some(list) = &layer.on {
        sorted(roster, roster.expand(list, mistakes)?)
    } else {
        let all = roster.nodes.iter().map(|node| At {
            value: node.name.clone(),
            span: span.clone(),
        });
        all.collect()
    };
    if roster.is_whole() && !on.iter().any(|node| at_start(roster, &node.value)) {
        mistakes.note(
            Diagnostic::at(span, "a cluster of which no member is there from the start")
                .label("nobody to begin it")
                .help(r#"name a node without `joins = "later"`"#),
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
    let name = layer.cluster.as_ref()?;
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
    let members = plain(&on);
    clusters.0.push(Cluster {
        name: name.clone(),
        on,
    });
    let membership = Membership {
        cluster: name.value.clone(),
        transport: layer.transport.as_ref()?.value,
        crypto: layer.crypto.as_ref()?.value,
        token: layer.token.as_ref()?.value,
    };
    Some((members, membership))
}

pub(super) fn at_start(roster: &Roster, name: &NodeName) -> bool {
    roster
        .get(name)
        .is_some_and(|node| node.joins == Joins::AtStart)
}
