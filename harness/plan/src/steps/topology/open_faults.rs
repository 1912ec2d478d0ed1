//! What steps have broken for a time: the network, disks, clocks, memory. Each goes on until a step ends it.

use crate::diagnostic::{Diagnostic, Mistakes, Span};
use crate::values::names::{NetworkName, NodeName, StepLabel};

/// A fault that a step has begun.
#[derive(Debug, Clone)]
pub(crate) struct OpenFault {
    pub(crate) label: StepLabel,
    pub(crate) span: Span,
    pub(crate) what: Broken,
}

/// What it has broken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Broken {
    /// What passes between nodes on these networks.
    Network(Vec<NetworkName>),
    /// The connections of a node whose cables to these networks are pulled.
    Cables(NodeName, Vec<NetworkName>),
    /// Something of nodes themselves; it ends with the power of each.
    Nodes(Part, Vec<NodeName>),
}

/// A part of a node that a step can break. One step at a time has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    Disk,
    Clock,
    Memory,
}

impl Part {
    const fn word(self) -> &'static str {
        match self {
            Self::Disk => "disk",
            Self::Clock => "clock",
            Self::Memory => "memory",
        }
    }
}

/// Those that go on, or may: one that ends by itself does so at a time that no step knows.
#[derive(Debug, Default)]
pub(crate) struct OpenFaults(Vec<OpenFault>);

impl OpenFaults {
    pub(crate) fn begin(&mut self, fault: OpenFault) {
        self.0.push(fault);
    }

    pub(crate) fn end(&mut self, label: &StepLabel) {
        self.0.retain(|fault| fault.label != *label);
    }

    /// The labels of the steps.
    pub(crate) fn labels(&self) -> Vec<StepLabel> {
        self.0.iter().map(|fault| fault.label.clone()).collect()
    }

    /// The labels of those that broke that network and no other.
    pub(crate) fn labels_of(&self, network: &NetworkName) -> Vec<StepLabel> {
        let of = |fault: &&OpenFault| match &fault.what {
            Broken::Network(networks) | Broken::Cables(_, networks) => {
                *networks == std::slice::from_ref(network)
            }
            Broken::Nodes(..) => false,
        };
        let all = self.0.iter().filter(of);
        all.map(|fault| fault.label.clone()).collect()
    }

    /// What pulled that node's cables to any of these networks, and to which.
    pub(crate) fn pulled(
        &self,
        node: &NodeName,
        networks: &[NetworkName],
    ) -> Vec<(OpenFault, Vec<NetworkName>)> {
        let cables = |fault: &OpenFault| match &fault.what {
            Broken::Cables(one, pulled) if one == node => {
                let meant = pulled.iter().any(|name| networks.contains(name));
                meant.then(|| (fault.clone(), pulled.clone()))
            }
            _ => None,
        };
        self.0.iter().filter_map(cables).collect()
    }

    /// Whether no earlier step has that part of one of these nodes; otherwise a mistake is noted.
    pub(crate) fn check_free(
        &self,
        part: Part,
        on: &[NodeName],
        step: &Span,
        mistakes: &mut Mistakes,
    ) -> bool {
        let taken = self.0.iter().find_map(|fault| match &fault.what {
            Broken::Nodes(other, nodes) if *other == part => {
                Some((fault, nodes.iter().find(|node| on.contains(node))?))
            }
            _ => None,
        });
        let Some((before, node)) = taken else {
            return true;
        };
        let word = part.word();
        mistakes.note(
            Diagnostic::at(step, format!("two faults of the {word} of `{node}` at a time"))
                .label("the first may still go on")
                .also(&before.span, "begins here")
                .help(format!(
                    "put a step `heal = {{ step = \"{}\" }}` between them; it may end one that has ended by itself",
                    before.label
                )),
        );
        false
    }

    /// The node has lost its power: what is broken on it comes up whole.
    pub(crate) fn powered_off(&mut self, node: &NodeName) {
        self.0.retain_mut(|fault| match &mut fault.what {
            Broken::Nodes(_, nodes) => {
                nodes.retain(|one| one != node);
                !nodes.is_empty()
            }
            Broken::Network(_) | Broken::Cables(..) => true,
        });
    }

    /// A fleet is kept whole only.
    pub(super) fn check_whole(&self, checkpoint: &Span, mistakes: &mut Mistakes) {
        if let Some(fault) = self.0.first() {
            mistakes.note(
                Diagnostic::at(checkpoint, "a checkpoint while a fault goes on")
                    .label("faults are not kept")
                    .also(&fault.span, "goes on here")
                    .help("put a step `heal = {}` before it, or give the checkpoint to an earlier step"),
            );
        }
    }
}
