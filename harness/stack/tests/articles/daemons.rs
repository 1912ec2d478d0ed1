//! The daemons of layers: what `check` and the reference say of them, and what the layers themselves do.

use std::any::type_name;
use std::collections::BTreeSet;

use sanlab_plan::{LayerKind, each_layer_type};
use sanlab_stack::{Peers, compose};

use crate::fixture::parsed;

/// Scenarios that together have every layer, and every role that a node can have in one.
const SCENARIOS: [&str; 7] = [
    include_str!("../../../../fixtures/accepted/every-layer.toml"),
    include_str!("../../../../fixtures/accepted/iscsi.toml"),
    include_str!("../../../../fixtures/accepted/linear-lvm.toml"),
    include_str!("../../../../fixtures/accepted/md.toml"),
    include_str!("../../../../fixtures/accepted/nbd-clients.toml"),
    include_str!("../../../../fixtures/accepted/shared-disk.toml"),
    include_str!("../../../../fixtures/accepted/start-of-nbd.toml"),
];

const REFERENCE: &str = include_str!("../../../../docs/reference/scenarios.md");

/// If plan took a layer for startable that has nothing to start, `check` would pass, and the run end as the lab's own fault.
#[test]
fn a_layer_that_can_be_started_starts_its_daemons() {
    let (mut composed, mut started) = (BTreeSet::new(), BTreeSet::new());
    for plan in SCENARIOS.map(parsed) {
        let stack = compose(&plan);
        for (placed, layer) in plan.layers.iter().zip(stack.layers()) {
            let (kind, peers) = (layer.kind(), Peers::all(&placed.on));
            composed.insert(kind);
            for node in &placed.on {
                let starts = !layer.service(node, &peers, stack.topology()).is_empty();
                let expected = kind.is_startable() && !layer.daemons(node).is_empty();
                assert_eq!(starts, expected, "{kind} on {node} of `{}`", plan.name);
                started.extend(starts.then_some(kind));
            }
        }
    }
    let all = each_layer_type!(Layer => type_name::<Layer>());
    assert_eq!(
        composed.len(),
        all.len(),
        "{composed:?} of the layers {all:?}"
    );
    composed.retain(|kind: &LayerKind| kind.is_startable());
    assert_eq!(started, composed);
}

#[test]
fn the_reference_names_every_daemon() {
    let mut daemons: BTreeSet<&str> = BTreeSet::new();
    for plan in SCENARIOS.map(parsed) {
        let stack = compose(&plan);
        for (placed, layer) in plan.layers.iter().zip(stack.layers()) {
            daemons.extend(placed.on.iter().flat_map(|node| layer.daemons(node)));
        }
    }
    let (_, step) = REFERENCE
        .split_once("**`stop_process`**")
        .expect("a paragraph about the step");
    let (_, list) = step
        .split_once("a layer's daemon (")
        .expect("a list in parentheses");
    let (list, _) = list.split_once(')').expect("its end");
    let named: BTreeSet<&str> = list.split('`').skip(1).step_by(2).collect();
    assert_eq!(named, daemons);
}
