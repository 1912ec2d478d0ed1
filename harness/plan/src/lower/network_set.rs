//! `[network]` and `[networks]` lowered, and the names that the rest of the scenario uses looked up in them.

use crate::diagnostic::suggest::{did_you_mean, quoted};
use crate::diagnostic::{Diagnostic, Mistakes, Span};
use crate::document::Document;
use crate::document::read::At;
use crate::document::value::Nodes;
use crate::lower::node_set::NodeSet;
use crate::plan::Network;
use crate::plan::network::WrittenFurther;
use crate::values::names::{NetworkName, NodeName};
use crate::values::subnet::Subnet;

/// The limits of IPv4's minimum and of the virtio network card.
const MTU: std::ops::RangeInclusive<u32> = 576..=65535;

/// The first among them. Each is a card in every guest, and a switch.
const MOST_NETWORKS: usize = 4;

/// All networks of a scenario, the first first, and where each was written.
#[derive(Debug, Default)]
pub(crate) struct NetworkSet {
    pub(crate) networks: Vec<Network>,
    /// Of each: its name and its subnet; of what was left out, its table.
    spans: Vec<(Span, Span)>,
    /// Nothing in `[networks]` was wrong. If something was, a name that is missing here proves nothing.
    whole: bool,
}

impl NetworkSet {
    pub(crate) fn lower(document: &Document, node_set: &NodeSet, mistakes: &mut Mistakes) -> Self {
        let mut network_set = Self {
            whole: true,
            ..Self::default()
        };
        let first = document.network.as_ref();
        let subnet = first.and_then(|first| first.subnet.as_ref());
        let (mtu, capture) = first.map_or((None, None), |first| {
            (first.mtu.as_ref(), first.capture.as_ref())
        });
        let place = subnet.map_or(0..0, |subnet| subnet.span.clone());
        check_room(subnet, &everyone(node_set), node_set, mistakes);
        network_set.networks.push(Network {
            name: NetworkName::main(),
            subnet: subnet.map_or(Subnet::of_place(0), |subnet| subnet.value),
            mtu: check_mtu(mtu, mistakes),
            on: everyone(node_set),
            capture: expand(capture, node_set, mistakes).unwrap_or_default(),
        });
        network_set.spans.push((place.clone(), place));
        for (name, further) in document.networks.iter().flat_map(|table| &table.value.0) {
            network_set.add(name.as_ref(), further.as_ref(), node_set, mistakes);
        }
        if let Some((beyond, _)) = network_set.spans.get(MOST_NETWORKS) {
            let count = network_set.networks.len();
            mistakes.note(
                Diagnostic::at(beyond, format!("too many networks: {count}"))
                    .label("beyond the limit")
                    .help(format!(
                        "a scenario has at most {MOST_NETWORKS} networks, `{}` among them",
                        NetworkName::main()
                    )),
            );
        }
        network_set
    }

    fn add(
        &mut self,
        name: Option<&At<NetworkName>>,
        further: Option<&At<WrittenFurther>>,
        node_set: &NodeSet,
        mistakes: &mut Mistakes,
    ) {
        let (Some(name), Some(further)) = (name, further) else {
            self.whole = false;
            return;
        };
        if name.value == NetworkName::main() {
            self.whole = false;
            mistakes.note(
                Diagnostic::at(&name.span, format!("`{}` in `[networks]`", name.value))
                    .label("the first network's name")
                    .help("write the keys of the first network in `[network]`, or choose another name"),
            );
            return;
        }
        let on = further.on.as_ref();
        let on = on.map_or_else(
            || Some(everyone(node_set)),
            |list| expand(Some(list), node_set, mistakes),
        );
        self.whole &= on.is_some();
        let on = on.unwrap_or_default();
        let capture = captured(further, &name.value, &on, node_set, mistakes);
        let place = u8::try_from(self.networks.len()).unwrap_or(u8::MAX);
        let subnet = further.subnet.as_ref();
        check_room(subnet, &on, node_set, mistakes);
        let span = subnet.map_or(&name.span, |subnet| &subnet.span);
        let subnet = subnet.map_or(Subnet::of_place(place), |subnet| subnet.value);
        self.check_apart(&name.value, subnet, span, mistakes);
        self.networks.push(Network {
            name: name.value.clone(),
            subnet,
            mtu: check_mtu(further.mtu.as_ref(), mistakes),
            on,
            capture,
        });
        self.spans.push((name.span.clone(), span.clone()));
    }

    /// An address belongs to one network.
    fn check_apart(
        &self,
        name: &NetworkName,
        subnet: Subnet,
        span: &Span,
        mistakes: &mut Mistakes,
    ) {
        let both = self.networks.iter().zip(&self.spans);
        let Some((other, (_, place))) = both
            .into_iter()
            .find(|(other, _)| other.subnet.overlaps(subnet))
        else {
            return;
        };
        let mut diagnostic = Diagnostic::at(
            span,
            format!("the subnets of `{}` and `{name}` overlap", other.name),
        )
        .label(format!(
            "{subnet}, and `{}` has {}",
            other.name, other.subnet
        ));
        if !place.is_empty() {
            diagnostic = diagnostic.also(place, format!("that of `{}`", other.name));
        }
        mistakes.note(diagnostic.help(
            r#"give each network addresses of its own, such as `subnet = "192.168.7.0/24"`, or leave the key out"#,
        ));
    }

    /// The network, or a noted mistake.
    pub(crate) fn find(&self, name: &At<NetworkName>, mistakes: &mut Mistakes) -> Option<&Network> {
        let network = self.get(&name.value);
        if network.is_none() && self.whole {
            let names = self.networks.iter().map(|network| network.name.as_str());
            mistakes.note(
                Diagnostic::at(&name.span, format!("unknown network `{}`", name.value))
                    .label("not in `[networks]`")
                    .help(did_you_mean(name.as_str(), "networks", names)),
            );
        }
        network
    }

    fn get(&self, name: &NetworkName) -> Option<&Network> {
        self.networks.iter().find(|network| network.name == *name)
    }

    /// Whether a network joins a node.
    pub(crate) fn joins(&self, name: &NetworkName, node: &NodeName) -> bool {
        self.get(name)
            .is_some_and(|network| network.on.contains(node))
    }

    /// Whether a network joins all of these nodes, which `what` has to do with, or that cannot be known; otherwise a mistake is noted.
    pub(crate) fn check_joins(
        &self,
        name: &At<NetworkName>,
        nodes: &[NodeName],
        what: &str,
        mistakes: &mut Mistakes,
    ) -> bool {
        let mut places = self.networks.iter().zip(&self.spans);
        let found = places.find(|(network, _)| network.name == name.value);
        let Some((network, (place, _))) = found.filter(|_| self.whole) else {
            return true;
        };
        let Some(apart) = nodes.iter().find(|node| !network.on.contains(node)) else {
            return true;
        };
        mistakes.note(
            Diagnostic::at(
                &name.span,
                format!("`{apart}` is not on network `{}`", name.value),
            )
            .label(format!("{what} `{apart}`"))
            .also(place, format!("joins {}", quoted(&network.on)))
            .help(format!(
                "add `{apart}` to the `on` of `[networks.{}]`, or name another network",
                name.value
            )),
        );
        false
    }

    /// What a fault of that network concerns: without a name all of them.
    pub(crate) fn chosen(&self, name: Option<&NetworkName>) -> Vec<NetworkName> {
        let names = self.networks.iter().map(|network| &network.name);
        names
            .filter(|one| name.is_none_or(|name| name == *one))
            .cloned()
            .collect()
    }
}

fn everyone(node_set: &NodeSet) -> Vec<NodeName> {
    node_set
        .nodes
        .iter()
        .map(|node| node.name.clone())
        .collect()
}

/// In the order of the nodes' numbers. `None`: a mistake was noted.
fn expand(
    list: Option<&At<Nodes>>,
    node_set: &NodeSet,
    mistakes: &mut Mistakes,
) -> Option<Vec<NodeName>> {
    let names = node_set.expand(list?, mistakes)?;
    let mut names: Vec<NodeName> = names.into_iter().map(|name| name.value).collect();
    names.sort_by_key(|name| node_set.position(name));
    Some(names)
}

/// A node's address follows from its number among all nodes, also of those that the network does not join.
fn check_room(
    subnet: Option<&At<Subnet>>,
    on: &[NodeName],
    node_set: &NodeSet,
    mistakes: &mut Mistakes,
) {
    let numbers = on.iter().filter_map(|name| node_set.position(name));
    let (Some(subnet), Some(last)) = (subnet, numbers.max()) else {
        return;
    };
    let room = subnet.value.room();
    if last >= usize::try_from(room).unwrap_or(usize::MAX) {
        mistakes.note(
            Diagnostic::at(
                &subnet.span,
                format!("no address for `{}`", node_set.nodes[last].name),
            )
            .label(format!("{} has addresses for {room} nodes", subnet.value))
            .help(format!(
                "it is node {} of the scenario; give a shorter prefix length",
                last + 1
            )),
        );
    }
}

fn captured(
    further: &WrittenFurther,
    name: &NetworkName,
    on: &[NodeName],
    node_set: &NodeSet,
    mistakes: &mut Mistakes,
) -> Vec<NodeName> {
    let Some(list) = &further.capture else {
        return Vec::new();
    };
    let capture = expand(Some(list), node_set, mistakes).unwrap_or_default();
    if let Some(apart) = capture
        .iter()
        .find(|node| !on.contains(node))
        .filter(|_| !on.is_empty())
    {
        mistakes.note(
            Diagnostic::at(&list.span, format!("`{apart}` is not on network `{name}`"))
                .label("no traffic to capture")
                .help(format!("name nodes that it joins: {}", quoted(on))),
        );
    }
    capture
}

fn check_mtu(mtu: Option<&At<u32>>, mistakes: &mut Mistakes) -> Option<u32> {
    if let Some(mtu) = mtu.filter(|mtu| !MTU.contains(&mtu.value)) {
        mistakes.note(
            Diagnostic::at(&mtu.span, format!("impossible MTU: {}", mtu.value))
                .label("no network carries that")
                .help(format!("give {} to {}", MTU.start(), MTU.end())),
        );
    }
    mtu.map(|mtu| mtu.value)
}
