//! Who takes part, and on which networks: `[nodes]` lowered, and the names that the rest of the scenario uses looked up in it.

use crate::diagnostic::suggest::{did_you_mean, quoted};
use crate::diagnostic::{Diagnostic, Mistakes, Span};
use crate::document::NodeTable;
use crate::document::pattern::Pattern;
use crate::document::read::At;
use crate::document::value::Nodes;
use crate::lower::network_set::NetworkSet;
use crate::plan::node::Written as WrittenNode;
use crate::plan::{Joins, NicModel, Node};
use crate::values::names::NodeName;

/// What a network of 24 bits has addresses for. Layers have limits of their own.
const MOST_NODES: usize = 240;

/// All nodes of a scenario, and where each was written.
#[derive(Debug, Default)]
pub(crate) struct NodeSet {
    pub(crate) nodes: Vec<Node>,
    spans: Vec<Span>,
    /// What joins them.
    pub(crate) networks: NetworkSet,
    /// Nothing in `[nodes]` was wrong. If something was, a name that is missing here proves nothing.
    whole: bool,
}

impl NodeSet {
    pub(crate) fn lower(table: Option<&At<NodeTable>>, mistakes: &mut Mistakes) -> Self {
        let Some(table) = table else {
            return Self::default();
        };
        let mut node_set = Self {
            whole: true,
            ..Self::default()
        };
        for (pattern, entry) in &table.0 {
            let (Some(pattern), Some(entry)) = (pattern, entry) else {
                node_set.whole = false;
                continue;
            };
            entry.check(mistakes);
            node_set.whole &= entry.joins.is_some();
            for name in pattern.names() {
                node_set.add(name, &pattern.span, entry, mistakes);
            }
        }
        node_set.check_whole(&table.span, mistakes);
        node_set
    }

    fn add(&mut self, name: &NodeName, span: &Span, entry: &WrittenNode, mistakes: &mut Mistakes) {
        if name.as_str() == "localhost" {
            mistakes.note(
                Diagnostic::at(span, "`localhost` cannot be a node's name")
                    .label("it means the guest itself")
                    .help("choose another name"),
            );
        }
        if let Some(first) = self.position(name) {
            mistakes.note(
                Diagnostic::at(span, format!("two nodes named `{name}`"))
                    .label(format!("`{name}` again"))
                    .also(&self.spans[first], format!("`{name}` is already here"))
                    .help("rename one of them, or narrow the range"),
            );
            return;
        }
        self.nodes.push(Node {
            name: name.clone(),
            number: u8::try_from(self.nodes.len()).unwrap_or(u8::MAX),
            hardware: entry.hardware(),
            nic: entry
                .nic
                .as_ref()
                .map_or(NicModel::VirtioNet, |nic| nic.value),
            nice: entry.nice.as_ref().map_or(0, |nice| nice.value),
            joins: entry
                .joins
                .as_ref()
                .map_or(Joins::AtStart, |joins| joins.value),
            image: entry.image.as_ref().map(|image| image.value.clone()),
        });
        self.spans.push(span.clone());
    }

    fn check_whole(&self, span: &Span, mistakes: &mut Mistakes) {
        if let Some(beyond) = self.spans.get(MOST_NODES) {
            mistakes.note(
                Diagnostic::at(beyond, format!("too many nodes: {}", self.nodes.len()))
                    .label("beyond the limit")
                    .help(format!("a scenario has at most {MOST_NODES} nodes")),
            );
        }
        if self.whole && self.at_start() == 0 {
            mistakes.note(
                Diagnostic::at(span, "no node is there from the start")
                    .label("no node is there from the start")
                    .help(r#"add a node without `joins = "later"`, such as `vix0 = { arch = "x86_64" }`"#),
            );
        }
    }

    pub(crate) fn position(&self, name: &NodeName) -> Option<usize> {
        self.nodes.iter().position(|node| node.name == *name)
    }

    pub(crate) fn get(&self, name: &NodeName) -> Option<&Node> {
        self.position(name).map(|at| &self.nodes[at])
    }

    pub(crate) fn span(&self, node: &Node) -> &Span {
        &self.spans[usize::from(node.number)]
    }

    /// How many nodes boot before the first layer.
    pub(crate) fn at_start(&self) -> usize {
        self.nodes
            .iter()
            .filter(|node| node.joins == Joins::AtStart)
            .count()
    }

    pub(crate) fn is_whole(&self) -> bool {
        self.whole
    }

    /// The node, or a noted mistake.
    pub(crate) fn find(&self, name: &At<NodeName>, mistakes: &mut Mistakes) -> Option<&Node> {
        let node = self.get(name);
        if node.is_none() {
            self.note_unknown(&[&name.value], &name.span, mistakes);
        }
        node
    }

    fn find_all(&self, pattern: &At<Pattern>, mistakes: &mut Mistakes) -> bool {
        let unknown: Vec<_> = pattern
            .names()
            .iter()
            .filter(|name| self.get(name).is_none())
            .collect();
        if !unknown.is_empty() {
            self.note_unknown(&unknown, &pattern.span, mistakes);
        }
        unknown.is_empty()
    }

    fn note_unknown(&self, unknown: &[&NodeName], span: &Span, mistakes: &mut Mistakes) {
        if !self.whole {
            return;
        }
        let list = quoted(unknown.iter().copied());
        let plural = if unknown.len() == 1 { "" } else { "s" };
        let names = self.nodes.iter().map(|node| node.name.as_str());
        mistakes.note(
            Diagnostic::at(span, format!("unknown node{plural} {list}"))
                .label("not in `[nodes]`")
                .help(did_you_mean(unknown[0].as_str(), "nodes", names)),
        );
    }

    /// Every node that the list names, each once, with the place that named it. `None` after a noted mistake.
    pub(crate) fn expand(
        &self,
        list: &At<Nodes>,
        mistakes: &mut Mistakes,
    ) -> Option<Vec<At<NodeName>>> {
        let mut found: Vec<At<NodeName>> = Vec::new();
        let mut right = true;
        if list.0.is_empty() {
            mistakes.note(
                Diagnostic::at(&list.span, "a list of no nodes")
                    .label("no node")
                    .help("name a node, or leave the key out"),
            );
            right = false;
        }
        for pattern in &list.0 {
            right &= self.find_all(pattern, mistakes);
            for name in pattern.names() {
                if let Some(first) = found.iter().find(|other| other.value == *name) {
                    mistakes.note(
                        Diagnostic::at(&pattern.span, format!("`{name}` is named twice"))
                            .label(format!("`{name}` again"))
                            .also(&first.span, format!("`{name}` is already here"))
                            .help("name each node once"),
                    );
                    right = false;
                } else {
                    found.push(At {
                        value: name.clone(),
                        span: pattern.span.clone(),
                    });
                }
            }
        }
        right.then_some(found)
    }
}
