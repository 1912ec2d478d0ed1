//! Checkpoints of a plan: after each layer, and after every step that asks for one. What leads to a checkpoint is its key, so
//! that a later run can fork it.

mod durable;
pub(crate) mod proof;
pub(crate) mod saved;
pub(crate) mod session;

use std::collections::BTreeSet;
use std::fmt::Write as _;

use sanlab_plan::{Action, ByteSize, CheckpointName, LayerKind, Network, NodeName, Plan};
use sanlab_record::PhaseName;
use sanlab_stack::{Present, Probe, Stack, Task, Work};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::engine::state::EngineState;

/// What the engine does that is not in the texts below, such as how it runs a step, or what it does to guests between steps: a
/// digest of this crate's sources, made by its build script.
const SOURCES: &str = env!("SOURCE_DIGEST");

/// A moment at which the fleet can be kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Checkpoint {
    /// The name that a step gives it; `layers` for all layers, `layers up to gnbd` for some.
    pub(crate) name: String,
    /// How much of the plan is done.
    pub(crate) done: Progress,
    /// Everything of the plan that led to it: part of the key.
    pub(crate) text: String,
    /// Whether this run makes it if it is not in the store; it may be forked in any case.
    pub(crate) keep: bool,
}

/// How far a plan has come.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Progress {
    /// So many of the works of [`Stack::up`].
    pub(crate) layers: usize,
    /// So many steps; all layers are up then.
    pub(crate) steps: usize,
}

/// What a kept fleet needs beside its machines, so that a run can go on with it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct CheckpointMeta {
    /// What the engine knew.
    pub(crate) state: EngineState,
    /// What had been done until then, in order.
    pub(crate) phases: Vec<Done>,
}

/// A phase that ended well.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Done {
    pub(crate) name: PhaseName,
    /// What it took.
    pub(crate) seconds: f64,
}

/// Which checkpoints below the topmost layer a run keeps. Those with all layers, and those that steps ask for, are always
/// kept; the default is to keep no others.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KeepPolicy {
    /// Digests of what leads to them.
    shared: BTreeSet<String>,
}

impl KeepPolicy {
    /// For plans that are run under the same circumstances: of any two, the last checkpoint that both pass.
    pub fn of<'a>(plans: impl IntoIterator<Item = &'a Plan>) -> Self {
        let all: Vec<Vec<String>> = plans.into_iter().map(layer_checkpoints).collect();
        let mut shared = BTreeSet::new();
        for (place, one) in all.iter().enumerate() {
            for other in &all[..place] {
                let common = one
                    .iter()
                    .zip(other)
                    .take_while(|(one, other)| one == other);
                shared.extend(common.last().map(|(digest, _)| digest.clone()));
            }
        }
        Self { shared }
    }
}

/// The digest of each of a plan's checkpoints of layers, lowest first; of a plan that wants everything fresh there is none. Plans that
/// have one in common can share that checkpoint on one host. Only whether digests are equal means something: they change with the lab.
pub fn layer_checkpoints(plan: &Plan) -> Vec<String> {
    let stack = sanlab_stack::compose(plan);
    let all = checkpoints(plan, &stack, &KeepPolicy::default());
    let layers = all.iter().filter(|one| one.done.steps == 0);
    layers.map(|one| digest(plan, &one.text)).collect()
}

/// The checkpoint's text, and what of the plan makes guests what they are before the first layer.
fn digest(plan: &Plan, text: &str) -> String {
    let disk = plan.disk().map_or(0, ByteSize::bytes);
    let images = plan.nodes.iter().map(|node| plan.image_of(node).as_str());
    let images: Vec<&str> = images.collect();
    let shared: Vec<_> = plan
        .layers
        .iter()
        .filter(|placed| placed.layer.kind() == LayerKind::SharedDisk)
        .collect();
    let guests = format!(
        "{} {disk} {shared:?} {:?}\n",
        images.join(" "),
        plan.artefacts
    );
    let digest = Sha256::new().chain_update(guests).chain_update(text);
    hex::encode(digest.finalize())
}

/// The checkpoints of a plan, in the order in which they are reached. A plan that wants everything fresh has none.
pub(crate) fn checkpoints(plan: &Plan, stack: &Stack, policy: &KeepPolicy) -> Vec<Checkpoint> {
    if plan.fresh {
        return Vec::new();
    }
    course(plan, stack, policy).0
}

/// Its checkpoints, and the text of all that it does.
fn course(plan: &Plan, stack: &Stack, policy: &KeepPolicy) -> (Vec<Checkpoint>, String) {
    let mut text = groundwork(plan);
    let mut found = Vec::new();
    let works = stack.up();
    for (number, work) in (1..).zip(&works) {
        add(&mut text, work);
        let is_last = number == works.len();
        // What nothing has proved yet is proved in the next work.
        if work.probes.is_empty() && !is_last {
            continue;
        }
        found.push(Checkpoint {
            name: if is_last {
                CheckpointName::layers().to_string()
            } else {
                format!("layers up to {}", work.kind)
            },
            done: Progress {
                layers: number,
                steps: 0,
            },
            text: text.clone(),
            keep: is_last || policy.shared.contains(&digest(plan, &text)),
        });
    }
    for (number, step) in (1..).zip(&plan.steps) {
        line(
            &mut text,
            format_args!("step {}: {:?} {:?}", step.label, step.after, step.action),
        );
        if let Action::AddNode(added) = &step.action {
            let works = stack.join(&added.node, &at_start(plan));
            for work in &works {
                add(&mut text, work);
            }
        }
        if let Action::Start(start) = &step.action {
            let present = at_start(plan);
            for node in &start.on {
                add(&mut text, &stack.start(start.layer, node, &present));
            }
        }
        if let Some(name) = &step.checkpoint {
            found.push(Checkpoint {
                name: name.to_string(),
                done: Progress {
                    layers: works.len(),
                    steps: number,
                },
                text: text.clone(),
                keep: true,
            });
        }
    }
    (found, text)
}

/// Nodes and network. Of the layers every command counts, but no layer above: the same commands give the same fleet.
fn groundwork(plan: &Plan) -> String {
    let mut text = format!("sources {SOURCES}\n");
    for network in &plan.networks {
        let Network {
            name,
            subnet,
            mtu,
            on,
            capture: _,
        } = network;
        line(
            &mut text,
            format_args!("network {name} {subnet} {mtu:?} {on:?}"),
        );
    }
    for node in &plan.nodes {
        line(&mut text, format_args!("{node:?}"));
    }
    text
}

/// The commands and the probes; not the titles, which name other nodes of a layer and are for people.
fn add(text: &mut String, work: &Work) {
    for stage in &work.stages {
        line(text, format_args!("{} stage", work.kind));
        for Task {
            node,
            files,
            script,
            ..
        } in &stage.tasks
        {
            line(text, format_args!("{node} {files:?} {script:?}"));
        }
    }
    for Probe {
        node,
        script,
        expect,
        ..
    } in &work.probes
    {
        line(text, format_args!("{node} {script:?} {expect:?}"));
    }
}

fn at_start(plan: &Plan) -> Present {
    let there: Vec<NodeName> = plan.at_start().map(|node| node.name.clone()).collect();
    Present::all(&there)
}

fn line(text: &mut String, line: std::fmt::Arguments<'_>) {
    // A String takes everything.
    let _ = writeln!(text, "{line}");
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    /// Two nodes with these lines of layers above `nbd`.
    fn plan(above: &[&str]) -> Plan {
        let mut text = r#"
name = "a stack"
nodes = { "vix[0-1]" = { arch = "x86" }, vc = { arch = "x86", joins = "later" } }
[[layer]]
nbd = { disk = "64MiB" }
"#
        .to_owned();
        for layer in above {
            line(&mut text, format_args!("[[layer]]\n{layer}"));
        }
        sanlab_plan::parse(Path::new("a.toml"), &text).unwrap()
    }

    const STRIPED: &str = r#"striped = { name = "san" }"#;
    const O2CB: &str = r#"o2cb = { cluster = "san" }"#;

    fn ocfs2(slots: u8) -> String {
        format!("ocfs2 = {{ slots = {slots}, at = \"/mnt\", journal = \"4MiB\" }}")
    }

    /// The names of the checkpoints that a plan passes, those that are not kept in brackets.
    fn passed(plan: &Plan, policy: &KeepPolicy) -> Vec<String> {
        let stack = sanlab_stack::compose(plan);
        let all = checkpoints(plan, &stack, policy).into_iter();
        let name = |one: Checkpoint| {
            if one.keep {
                one.name
            } else {
                format!("({})", one.name)
            }
        };
        all.map(name).collect()
    }

    #[test]
    fn of_two_plans_the_last_checkpoint_that_both_pass_is_kept() {
        let two = plan(&[STRIPED, O2CB, &ocfs2(2)]);
        let three = plan(&[STRIPED, O2CB, &ocfs2(3)]);
        let linear = plan(&[r#"linear = { name = "san" }"#]);
        let fresh = Plan {
            fresh: true,
            ..two.clone()
        };
        let alone = KeepPolicy::of([&two, &fresh]);
        assert_eq!(alone, KeepPolicy::default());
        assert_eq!(
            passed(&two, &alone),
            [
                "(layers up to nbd)",
                "(layers up to striped)",
                "(layers up to o2cb)",
                "(layers up to ocfs2)",
                "layers"
            ]
        );
        let together = KeepPolicy::of([&two, &three, &linear]);
        assert_eq!(
            passed(&three, &together),
            [
                "layers up to nbd",
                "(layers up to striped)",
                "layers up to o2cb",
                "(layers up to ocfs2)",
                "layers"
            ]
        );
        assert_eq!(passed(&linear, &together), ["layers up to nbd", "layers"]);
    }

    #[test]
    fn a_plan_that_ends_where_another_goes_on_shares_its_last() {
        let (short, long) = (plan(&[STRIPED]), plan(&[STRIPED, O2CB]));
        let policy = KeepPolicy::of([&short, &long]);
        assert_eq!(
            passed(&long, &policy),
            ["(layers up to nbd)", "layers up to striped", "layers"]
        );
    }

    #[test]
    fn other_guests_share_nothing() {
        let one = plan(&[STRIPED]);
        let mut other = one.clone();
        other.networks[0].mtu = Some(1500);
        assert_eq!(KeepPolicy::of([&one, &other]), KeepPolicy::default());
    }
}
