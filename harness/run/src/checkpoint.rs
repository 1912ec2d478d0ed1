//! The moments of a plan at which the whole fleet is kept, so that a later run begins there: once the layers are up, and
//! after every step that says so.

use std::fmt::Write as _;

use sanlab_plan::{Action, CheckpointName, NodeName, Plan};
use sanlab_stack::Stack;
use serde::{Deserialize, Serialize};

use crate::scene::Memory;

/// To be counted up whenever the engine does anything differently that is not in the texts below: how it runs a step,
/// what it does to guests between steps.
const PROVISIONING: u32 = 2;

/// A moment at which the fleet is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Checkpoint {
    /// The step's word for it, or `layers`.
    pub(crate) name: String,
    /// How many of the plan's steps are done by then.
    pub(crate) steps: usize,
    /// Everything of the plan that decides what the fleet is by then: part of the key.
    pub(crate) text: String,
}

/// What a kept fleet needs beside its machines, so that a run can go on with it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Story {
    /// What the engine knew.
    pub(crate) memory: Memory,
    /// What had been done until then, in order.
    pub(crate) phases: Vec<Done>,
}

/// A phase that ended well.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Done {
    pub(crate) name: String,
    /// What it took.
    pub(crate) seconds: f64,
}

/// The checkpoints of a plan, in the order in which they are reached. A plan that wants everything fresh has none.
pub(crate) fn checkpoints(plan: &Plan, stack: &Stack) -> Vec<Checkpoint> {
    if plan.fresh {
        return Vec::new();
    }
    let mut text = groundwork(plan, stack);
    let mut found = Vec::new();
    if !plan.layers.is_empty() {
        found.push(Checkpoint {
            name: CheckpointName::layers().to_string(),
            steps: 0,
            text: text.clone(),
        });
    }
    for (index, step) in plan.steps.iter().enumerate() {
        line(
            &mut text,
            format_args!("step {}: {:?}", step.label, step.action),
        );
        if let Action::AddNode(add) = &step.action {
            line(
                &mut text,
                format_args!("{:?}", joining(stack, &add.node, plan)),
            );
        }
        if let Action::Start(start) = &step.action {
            let there = at_start(plan);
            for node in &start.on {
                let work = stack.start(start.layer, node, &there);
                line(&mut text, format_args!("{work:?}"));
            }
        }
        if let Some(name) = &step.checkpoint {
            found.push(Checkpoint {
                name: name.to_string(),
                steps: index + 1,
                text: text.clone(),
            });
        }
    }
    found
}

/// Nodes, network and layers, with every command that brings them up.
fn groundwork(plan: &Plan, stack: &Stack) -> String {
    let mut text = format!("provisioning {PROVISIONING}\n");
    line(&mut text, format_args!("{:?}", plan.network.mtu));
    for node in &plan.nodes {
        line(&mut text, format_args!("{node:?}"));
    }
    for layer in &plan.layers {
        line(&mut text, format_args!("{layer:?}"));
    }
    for work in stack.up() {
        line(&mut text, format_args!("{work:?}"));
    }
    text
}

/// What brings the layers up on a newcomer.
fn joining(stack: &Stack, node: &NodeName, plan: &Plan) -> Vec<sanlab_stack::Work> {
    stack.join(node, &at_start(plan))
}

fn at_start(plan: &Plan) -> Vec<NodeName> {
    plan.at_start().map(|node| node.name.clone()).collect()
}

fn line(text: &mut String, line: std::fmt::Arguments<'_>) {
    // A String takes everything.
    let _ = writeln!(text, "{line}");
}
