//! What the fake fleet shows when a layer is looked at: what the layer's own probes expect.

use std::collections::BTreeMap;

use sanlab_plan::{NodeName, Plan};
use sanlab_stack::{LayerProbe, Present, Stack};

/// The answers to all probes of a plan.
pub(crate) struct Looks {
    /// By node and script.
    expected: BTreeMap<(String, String), String>,
    /// What end checks expect, by who is there then.
    at_end: BTreeMap<Vec<NodeName>, Vec<LayerProbe>>,
}

impl Looks {
    pub(crate) fn new(plan: &Plan, stack: &Stack) -> Self {
        let probes = stack.up().into_iter().flat_map(|work| work.probes);
        let expected = probes.map(|probe| {
            let look = (probe.node.to_string(), probe.script);
            (look, probe.expect.0.join("\n"))
        });
        let names: Vec<NodeName> = plan.nodes.iter().map(|node| node.name.clone()).collect();
        let volume = stack.volume();
        let at_end = (0_u32..1 << names.len()).map(|those| {
            let there = (0..).zip(&names).filter(|(bit, _)| those >> bit & 1 == 1);
            let there: Vec<NodeName> = there.map(|(_, name)| name.clone()).collect();
            let has_it = |name: &&NodeName| volume.is_some_and(|it| it.on.contains(name));
            let present = Present {
                mounted: there.iter().filter(has_it).cloned().collect(),
                ..Present::all(&there)
            };
            (there, stack.end_probes(&present))
        });
        Self {
            expected: expected.collect(),
            at_end: at_end.collect(),
        }
    }

    /// What one look at a node shows while `there` run.
    pub(crate) fn expected(&self, there: &[NodeName], node: &NodeName, script: &str) -> String {
        let mut at_end = self.at_end.get(there).into_iter().flatten();
        let at_end = at_end.find(|it| it.probe.node == *node && it.probe.script == script);
        if let Some(found) = at_end {
            return found.probe.expect.0.join("\n");
        }
        let look = (node.to_string(), script.to_owned());
        self.expected.get(&look).cloned().unwrap_or_default()
    }
}

/// The looks of an end check, of which one script makes many.
pub(crate) fn parts(script: &str) -> Vec<&str> {
    let parts = script.split("(\nset -e\n").skip(1);
    let parts = parts.filter_map(|part| Some(part.split_once("\n) </dev/null")?.0));
    parts.collect()
}

/// How that script answers for one of them.
pub(crate) fn answer(number: usize, code: i32, said: &str) -> String {
    format!("{said}\nsanlab: probe {number} {code}\n")
}
