//! What steps have done to the network, and has not ended.

use crate::diagnostic::{Diagnostic, Mistakes, Span};
use crate::values::names::{NodeName, StepLabel};

/// A fault of the network that a step has begun.
#[derive(Debug, Clone)]
pub(crate) struct NetworkFault {
    pub(crate) label: StepLabel,
    pub(crate) span: Span,
    /// The node whose cable is pulled.
    pub(crate) pulled: Option<NodeName>,
}

/// Those that go on, or may: one that ends by itself does so at a time that no step knows.
#[derive(Debug, Default)]
pub(crate) struct Network(Vec<NetworkFault>);

impl Network {
    pub(crate) fn begin(&mut self, fault: NetworkFault) {
        self.0.push(fault);
    }

    pub(crate) fn end(&mut self, label: &StepLabel) {
        self.0.retain(|fault| fault.label != *label);
    }

    /// The labels of the steps.
    pub(crate) fn open(&self) -> Vec<StepLabel> {
        self.0.iter().map(|fault| fault.label.clone()).collect()
    }

    /// What pulled that node's cable.
    pub(crate) fn pulled(&self, node: &NodeName) -> Option<NetworkFault> {
        let mut all = self.0.iter();
        all.find(|fault| fault.pulled.as_ref() == Some(node))
            .cloned()
    }

    /// A fleet is kept with a whole network only.
    pub(super) fn check_whole(&self, checkpoint: &Span, mistakes: &mut Mistakes) {
        if let Some(fault) = self.0.first() {
            mistakes.note(
                Diagnostic::at(checkpoint, "a checkpoint of a broken network")
                    .label("the network's faults are not kept")
                    .also(&fault.span, "goes on here")
                    .help("put a step `heal = {}` before it, or give the checkpoint to an earlier step"),
            );
        }
    }
}
