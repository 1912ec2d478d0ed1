//! Lowers each `[[step]]`, in order. A step is one file here (its keys, what is planned of it, its
//! checks), one in the run crate, and one row in the table below.

mod add_node;
mod catalog;
mod check;
pub(crate) mod checkpoints;
mod clock;
mod crash;
mod dd;
mod degrade;
mod dip;
mod disk_fault;
mod expect;
mod heal;
mod link;
mod memory_pressure;
mod mount;
mod partition;
mod pause;
mod remove_node;
mod restart;
mod run;
mod start;
mod stop_process;
mod throughput;
pub(crate) mod topology;
mod unmount;
mod verify;
mod wait;
mod wait_for;
mod write;
pub(crate) mod writes;

use std::collections::BTreeSet;
use std::time::Duration;

use self::catalog::catalog;
pub use self::catalog::{FaultRole, Figures};
pub(crate) use self::catalog::{PlannedStep, StepTable};
use crate::devices::resolved_stack::ResolvedStack;
use crate::diagnostic::{Diagnostic, Mistakes, Span};
use crate::document::read::At;
use crate::document::{Document, StepEntry};
use crate::lower::node_set::NodeSet;
use crate::lower::patterns;
use crate::plan::Step;
use crate::steps::checkpoints::Checkpoints;
use crate::steps::expect::InForce;
use crate::steps::topology::Topology;
use crate::steps::topology::open_faults::{Broken, OpenFault, Part};
use crate::values::names::{NetworkName, NodeName, StepLabel, names};

catalog! {
    /// Mounts the volume.
    mount => Mount;
    /// Unmounts the volume.
    unmount => Unmount;
    /// Writes with dd.
    dd => Dd, Source;
    /// Waits for a step that runs in the background.
    wait => Wait;
    /// Boots a further node and brings it into the cluster.
    add_node => AddNode;
    /// Takes a node out of the cluster for good.
    remove_node => RemoveNode;
    /// Compares what the nodes see.
    check => Check;
    /// Runs a command.
    run => Run;
    /// Writes numbered blocks and keeps a journal of what was acknowledged.
    write => Write;
    /// Ends a node without warning.
    crash => Crash, CacheFate, CrashKind;
    /// Brings a crashed node back, with its disk.
    restart => Restart;
    /// Ends a process.
    stop_process => StopProcess, Signal;
    /// Starts a layer's daemons again.
    start => Start;
    /// Cuts groups of nodes off from each other.
    partition => Partition;
    /// Pulls a node's network cable, or plugs it in again.
    link => Link, LinkState;
    /// Makes the network late, slow or lossy.
    degrade => Degrade, Direction;
    /// Lets nodes' own disks fail or be slow.
    disk_fault => DiskFault, DiskFaultKind, Requests;
    /// Sets nodes' clocks wrong, or lets them go wrong.
    clock => Clock;
    /// Takes memory away from nodes.
    memory_pressure => MemoryPressure;
    /// Ends faults.
    heal => Heal;
    /// Lets nodes stand still for a time.
    pause => Pause;
    /// Waits for a state of a layer.
    wait_for => WaitFor, Awaited;
    /// Reads every acknowledged block back.
    verify => Verify;
    /// Measures throughput: warm-ups, then repetitions.
    throughput => Throughput, AccessPattern, Sync, Target, Tool;
    /// Looks at what a hot addition did to those who wrote meanwhile.
    dip => Dip;
}

const DEADLINES: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(24 * 3600));

pub(crate) fn lower(
    document: &Document,
    node_set: &NodeSet,
    resolved_stack: &ResolvedStack,
    mistakes: &mut Mistakes,
) -> Vec<Step> {
    let Some(entries) = &document.step else {
        return Vec::new();
    };
    // Those that are left out keep the others' labels what they are.
    let labels = label_all(entries, mistakes);
    let is_taken = |entry: &StepEntry| entry.skip.as_ref().is_none_or(|skip| !skip.value);
    let taken = entries.value.iter().cloned().zip(labels);
    let (entries, labels): (Vec<At<StepEntry>>, Vec<StepLabel>) =
        taken.filter(|(entry, _)| is_taken(entry)).unzip();
    let topology = Topology::at_start(node_set, resolved_stack, mistakes);
    let mut walk = Walk {
        entries: &entries,
        labels: &labels,
        topology,
        checkpoints: Checkpoints::new(document.fresh.as_ref()),
        in_force: InForce::default(),
        mistakes,
        taken: Vec::new(),
        now: 0,
    };
    for (now, (entry, label)) in entries.iter().zip(&labels).enumerate() {
        walk.now = now;
        let Some(action) = &entry.action else {
            walk.topology.lose_track();
            continue;
        };
        walk.check_deadline(entry);
        walk.check_after(entry.after.as_ref());
        let before = walk.topology.state();
        let lowered = action.lower(&action.span, label, &mut walk);
        if walk.expects_failure() {
            walk.topology.put_back(&before);
        }
        let expect = walk.expect(&before.there, lowered.as_ref());
        let apart = is_background(entry).then_some(label);
        walk.checkpoints
            .check(entry, apart, &walk.topology, walk.mistakes);
        if let Some(lowered) = lowered {
            let deadline = entry
                .deadline
                .as_ref()
                .map_or_else(|| lowered.deadline(&walk), |given| given.value);
            walk.taken.push(Step {
                label: label.clone(),
                after: entry
                    .after
                    .as_ref()
                    .map_or(Duration::ZERO, |after| after.value),
                deadline,
                checkpoint: entry.checkpoint.as_ref().map(|name| name.value.clone()),
                expect,
                action: lowered,
            });
        }
    }
    walk.taken
}

/// Given labels as they are, each once; the others from the action's word.
fn label_all(entries: &[At<StepEntry>], mistakes: &mut Mistakes) -> Vec<StepLabel> {
    let mut given: Vec<&At<StepLabel>> = Vec::new();
    for label in entries.iter().filter_map(|entry| entry.label.as_ref()) {
        if let Some(first) = given.iter().find(|other| other.value == label.value) {
            mistakes.note(
                Diagnostic::at(&label.span, format!("two steps labelled `{}`", label.value))
                    .label("the same label")
                    .also(&first.span, "the first one")
                    .help("give each step a label of its own, or leave it out"),
            );
        }
        given.push(label);
    }
    let words: Vec<_> = entries
        .iter()
        .map(|entry| {
            let label = entry.label.as_ref().map(|label| label.value.clone());
            (
                label,
                entry.action.as_ref().map_or("step", |action| action.word()),
            )
        })
        .collect();
    complete_labels(&words)
}

/// The labels of all steps: given ones as they are, the others from the action's word.
pub(crate) fn complete_labels(steps: &[(Option<StepLabel>, &str)]) -> Vec<StepLabel> {
    let mut taken: BTreeSet<StepLabel> = steps
        .iter()
        .filter_map(|(label, _)| label.clone())
        .collect();
    steps
        .iter()
        .map(|(label, word)| label.clone().unwrap_or_else(|| fresh(word, &mut taken)))
        .collect()
}

fn fresh(word: &str, taken: &mut BTreeSet<StepLabel>) -> StepLabel {
    let numbered = (2..).map(|n| format!("{word}-{n}"));
    let mut candidates = std::iter::once(word.to_owned()).chain(numbered);
    candidates
        .find_map(|text| {
            StepLabel::parse(&text)
                .ok()
                .filter(|label| taken.insert(label.clone()))
        })
        .expect("some number is free")
}

/// The steps on their way.
pub(crate) struct Walk<'a> {
    entries: &'a [At<StepEntry>],
    labels: &'a [StepLabel],
    topology: Topology<'a>,
    checkpoints: Checkpoints<'a>,
    in_force: InForce,
    mistakes: &'a mut Mistakes,
    taken: Vec<Step>,
    /// The place of the present step among the entries.
    now: usize,
}

/// The longest time after which a fault ends by itself.
const LASTS: Duration = Duration::from_secs(3600);

impl Walk<'_> {
    /// A fault that ends by itself does so within an hour.
    fn check_lasts(&mut self, lasts: Option<&At<Duration>>) {
        if let Some(lasts) = lasts.filter(|lasts| lasts.value.is_zero() || lasts.value > LASTS) {
            self.mistakes.note(
                Diagnostic::at(&lasts.span, "impossible `lasts`")
                    .label("out of range")
                    .help("give a time of more than 0s and at most 60m"),
            );
        }
    }

    /// The present step breaks that part of these nodes. `None` after a noted mistake: an earlier step has it, and may go on.
    fn begin_node_fault(
        &mut self,
        part: Part,
        on: &[NodeName],
        span: &Span,
        label: &StepLabel,
    ) -> Option<()> {
        let open_faults = &mut self.topology.open_faults;
        if !open_faults.check_free(part, on, span, self.mistakes) {
            return None;
        }
        open_faults.begin(OpenFault {
            label: label.clone(),
            span: span.clone(),
            what: Broken::Nodes(part, on.to_vec()),
        });
        Some(())
    }

    /// The networks that a fault concerns, which must join all of `nodes` if one is named. `None` after a noted mistake.
    fn networks(
        &mut self,
        network: Option<&At<NetworkName>>,
        nodes: &[NodeName],
    ) -> Option<Vec<NetworkName>> {
        let networks = &self.topology.node_set.networks;
        if let Some(name) = network {
            networks.find(name, self.mistakes)?;
            let joins = networks.check_joins(name, nodes, "the fault is one of", self.mistakes);
            if !joins {
                return None;
            }
        }
        Some(networks.chosen(network.map(|name| &name.value)))
    }

    fn check_after(&mut self, after: Option<&At<Duration>>) {
        if let Some(after) = after.filter(|after| after.value > LASTS) {
            self.mistakes.note(
                Diagnostic::at(&after.span, "impossible `after`")
                    .label("out of range")
                    .help("give at most 60m"),
            );
        }
    }

    fn require_volume(&mut self, to: &str, span: &Span) -> Option<()> {
        let resolved_stack = self.topology.resolved_stack;
        if resolved_stack.file_system.is_none() {
            self.topology.lose_track();
            if resolved_stack.whole {
                self.mistakes.note(
                    Diagnostic::at(span, format!("there is no volume to {to}"))
                        .label("needs a file system")
                        .help(r#"add the layers `o2cb = { cluster = "san" }` and `ocfs2 = { slots = 4, at = "/mnt/san" }`, or `dlm = {}` and `gfs2 = { journals = 4, at = "/mnt/san" }`"#),
                );
            }
            return None;
        }
        Some(())
    }

    fn check_pattern(&mut self, pattern: Option<&At<String>>) {
        if let Some(pattern) = pattern {
            patterns::check(pattern, self.mistakes);
        }
    }

    fn check_deadline(&mut self, entry: &StepEntry) {
        let (least, most) = DEADLINES;
        if let Some(deadline) = &entry.deadline
            && !(least..=most).contains(&deadline.value)
        {
            self.mistakes.note(
                Diagnostic::at(&deadline.span, "impossible deadline")
                    .label("out of range")
                    .help("give 1s to 1440m, a day"),
            );
        }
    }
}

fn is_background(entry: &StepEntry) -> bool {
    let action = entry.action.as_ref();
    action.is_some_and(|action| action.is_background())
}

/// What is said of a fault that ends by itself.
fn for_a_time(lasts: Option<Duration>) -> String {
    lasts.map_or_else(String::new, |lasts| {
        format!(" for {} s", lasts.as_secs_f32())
    })
}

/// What is said of a fault of one network; of all, nothing.
fn on_network(network: Option<&NetworkName>) -> String {
    network.map_or_else(String::new, |network| format!(" on network {network}"))
}
