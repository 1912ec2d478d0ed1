//! Who is there, who has crashed, who has the volume mounted and who is writing, as the steps go by.

mod faults;
mod journals;
pub(crate) mod open_faults;
mod removal;

use self::faults::Down;
use self::journals::Written;
use self::open_faults::OpenFaults;
use crate::devices::resolved_stack::ResolvedStack;
use crate::diagnostic::suggest::quoted;
use crate::diagnostic::{Diagnostic, Mistakes, Span};
use crate::document::read::At;
use crate::document::value::Nodes;
use crate::lower::node_set::NodeSet;
use crate::plan::{Joins, Mounts};
use crate::values::names::{NodeName, StepLabel};

const JOIN: &str =
    r#"join the devices with a layer `striped = { name = "san" }` or `linear = { name = "san" }`"#;
const NO_DEVICE: &str =
    r#"add layers such as `nbd = { disk = "1GiB" }` and `striped = { name = "san" }`"#;

/// What a step asks of its nodes; without a list it takes all that are so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Must {
    /// Have joined.
    BeThere,
    /// Have the volume mounted.
    HaveMounted,
    /// Have joined, and could mount the volume, but have not.
    NotHaveMounted,
    /// Have joined, and have one device of all layers together.
    HaveDevice,
}

/// A step in the background.
#[derive(Debug)]
pub(crate) struct Background {
    pub(crate) label: StepLabel,
    pub(crate) span: Span,
    pub(crate) on: Vec<NodeName>,
    /// A `write`, whose acknowledgements count even if its node crashes; otherwise a `dd`, which would have failed.
    pub(crate) journal: bool,
    /// It is expected to fail.
    pub(crate) fails: bool,
}

impl Background {
    fn in_the_way(&self, step: &Span, label: &str) -> Diagnostic {
        let title = format!("`{}` may still be writing", self.label);
        Diagnostic::at(step, title)
            .label(label)
            .also(&self.span, "it goes on in the background")
            .help(format!(
                "put a step `wait = {{ step = \"{}\" }}` before this one",
                self.label
            ))
    }
}

/// The fleet between two steps.
#[derive(Debug)]
pub(crate) struct Topology<'a> {
    pub(crate) node_set: &'a NodeSet,
    pub(crate) resolved_stack: &'a ResolvedStack,
    there: Vec<NodeName>,
    down: Vec<Down>,
    mounted: Vec<NodeName>,
    pub(crate) writing: Vec<Background>,
    written: Vec<Written>,
    /// Where processes were stopped, or who was cut off: such a node may have been fenced since.
    maybe_fenced: Vec<NodeName>,
    /// What steps have broken for a time.
    pub(crate) open_faults: OpenFaults,
    /// The first crash.
    crash: Option<Span>,
    /// How many nodes can have the volume mounted. `None`: not known, or an excess was noted already.
    mounts: Option<Mounts>,
    /// Every step so far was understood. If one was not, who is where is a guess, and guesses are no mistakes.
    sure: bool,
}

impl<'a> Topology<'a> {
    /// After the layers have come up.
    pub(crate) fn at_start(
        node_set: &'a NodeSet,
        resolved_stack: &'a ResolvedStack,
        mistakes: &mut Mistakes,
    ) -> Self {
        let there = node_set
            .nodes
            .iter()
            .filter(|node| node.joins == Joins::AtStart);
        let mut topology = Self {
            node_set,
            resolved_stack,
            there: there.map(|node| node.name.clone()).collect(),
            down: Vec::new(),
            mounted: Vec::new(),
            writing: Vec::new(),
            written: Vec::new(),
            maybe_fenced: Vec::new(),
            open_faults: OpenFaults::default(),
            crash: None,
            mounts: resolved_stack
                .file_system
                .as_ref()
                .map(|file_system| file_system.mounts)
                .filter(|mounts| mounts.most > 0),
            sure: node_set.is_whole() && resolved_stack.whole,
        };
        if let Some(layer) = resolved_stack
            .file_system
            .as_ref()
            .filter(|layer| layer.mount)
        {
            let mut all = topology.there.clone();
            all.retain(|name| resolved_stack.has_volume(name));
            topology.mount(&all, &layer.span, mistakes);
        }
        topology
    }

    /// From now on, absence of a node or a mount proves nothing.
    pub(crate) fn lose_track(&mut self) {
        self.sure = false;
    }

    /// A command may have changed how many nodes can mount.
    pub(crate) fn forget_mounts(&mut self) {
        self.mounts = None;
    }

    /// The nodes of a step: those listed, or all that are as they must be. `None` after a noted mistake.
    pub(crate) fn choose(
        &mut self,
        list: Option<&At<Nodes>>,
        must: Must,
        step: &Span,
        mistakes: &mut Mistakes,
    ) -> Option<Vec<NodeName>> {
        let chosen = match list {
            Some(list) => self.check_listed(list, must, mistakes),
            None if mistakes.any_within(step) => None,
            None => self.all(must, step, mistakes),
        };
        if chosen.is_none() {
            self.lose_track();
        }
        chosen
    }

    fn all(&self, must: Must, step: &Span, mistakes: &mut Mistakes) -> Option<Vec<NodeName>> {
        let all: Vec<_> = self
            .there
            .iter()
            .filter(|name| self.is_so(name, must))
            .cloned()
            .collect();
        if all.is_empty() && self.sure {
            let mount_later = format!(
                "set `mount = false` in the {} layer, or unmount first",
                self.volume_word()
            );
            let (what, help) = match must {
                Must::BeThere => ("no node is there", "add a node"),
                Must::HaveMounted => (
                    "no node has the volume mounted at this step",
                    "put a step `mount = {}` before it",
                ),
                Must::NotHaveMounted => (
                    "every node has the volume mounted already",
                    mount_later.as_str(),
                ),
                Must::HaveDevice if !self.holders().is_empty() => {
                    ("no node has one topmost device", JOIN)
                }
                Must::HaveDevice => ("no node has a device", NO_DEVICE),
            };
            mistakes.note(
                Diagnostic::at(step, what)
                    .label("no node can do this")
                    .help(help),
            );
        }
        (!all.is_empty()).then_some(all)
    }

    fn check_listed(
        &self,
        list: &At<Nodes>,
        must: Must,
        mistakes: &mut Mistakes,
    ) -> Option<Vec<NodeName>> {
        let names = self.node_set.expand(list, mistakes)?;
        let mut right = true;
        for name in &names {
            right &= self.check(name, must, mistakes);
        }
        right.then(|| names.into_iter().map(|name| name.value).collect())
    }

    fn check(&self, name: &At<NodeName>, must: Must, mistakes: &mut Mistakes) -> bool {
        let node = &name.value;
        if !self.sure || self.is_so(node, must) {
            return true;
        }
        let wrong = |title: String, label: &str, help: String| {
            Diagnostic::at(&name.span, title).label(label).help(help)
        };
        mistakes.note(if let Some(down) = self.find_down(node) {
            wrong(
                format!("`{node}` is down at this step"),
                "not there any more",
                if down.removed {
                    "do this step before it".to_owned()
                } else {
                    format!("put a step `restart = {{ node = \"{node}\" }}` before it")
                },
            )
            .also(&down.span, "ends it")
        } else if !self.is_there(node) {
            wrong(
                format!("`{node}` has not joined at this step"),
                "not there yet",
                format!("put a step `add_node = {{ node = \"{node}\" }}` before it"),
            )
        } else if must == Must::HaveDevice {
            let count = self.resolved_stack.devices(node).len();
            let holders = self.holders();
            if count > 1 {
                wrong(
                    format!("`{node}` has {count} topmost devices"),
                    "which of them?",
                    JOIN.to_owned(),
                )
            } else {
                let help = if holders.is_empty() {
                    NO_DEVICE.to_owned()
                } else {
                    format!("name nodes that have it: {}", quoted(holders))
                };
                wrong(
                    format!("`{node}` has no device"),
                    "the topmost device is not there",
                    help,
                )
            }
        } else if !self.resolved_stack.has_volume(node) {
            self.without_volume(node, &name.span)
        } else if must == Must::HaveMounted {
            wrong(
                format!("`{node}` has not mounted the volume at this step"),
                "not mounted here",
                format!("put a step `mount = {{ on = \"{node}\" }}` before it"),
            )
        } else {
            wrong(
                format!("`{node}` has the volume mounted already"),
                "mounted already",
                format!(
                    "unmount it first, set `mount = false` in the {} layer, or drop this step",
                    self.volume_word()
                ),
            )
        });
        false
    }

    /// Whether a node is there, or it cannot be known; otherwise a mistake is noted.
    pub(crate) fn check_there(&self, name: &At<NodeName>, mistakes: &mut Mistakes) -> bool {
        self.check(name, Must::BeThere, mistakes)
    }

    /// Whether a node is not there for certain.
    pub(crate) fn is_absent(&self, name: &NodeName) -> bool {
        self.sure && !self.is_there(name)
    }

    /// Those to which all layers together give a device.
    fn holders(&self) -> Vec<&NodeName> {
        let names = self.node_set.nodes.iter().map(|node| &node.name);
        names
            .filter(|name| !self.resolved_stack.devices(name).is_empty())
            .collect()
    }

    fn is_there(&self, name: &NodeName) -> bool {
        self.there.contains(name)
    }

    fn find_down(&self, name: &NodeName) -> Option<&Down> {
        self.down.iter().find(|down| down.node == *name)
    }

    fn is_so(&self, name: &NodeName, must: Must) -> bool {
        let mounted = self.mounted.contains(name);
        self.is_there(name)
            && match must {
                Must::BeThere => true,
                Must::HaveMounted => mounted,
                Must::NotHaveMounted => !mounted && self.resolved_stack.has_volume(name),
                Must::HaveDevice => self.resolved_stack.devices(name).len() == 1,
            }
    }

    fn without_volume(&self, node: &NodeName, span: &Span) -> Diagnostic {
        let placed = self.resolved_stack.volume_layer();
        let holders = placed.map_or(&[][..], |placed| &placed.on);
        Diagnostic::at(span, format!("`{node}` has no volume"))
            .label("the file system is not there")
            .help(format!(
                "name nodes that have the device below {}: {}",
                self.volume_word(),
                quoted(holders)
            ))
    }

    /// "`ocfs2`"
    fn volume_word(&self) -> String {
        let placed = self.resolved_stack.volume_layer();
        let word = placed.map(|placed| format!("`{}`", placed.layer.kind()));
        word.unwrap_or_else(|| "file system's".to_owned())
    }

    /// Whether a node that is there could mount the volume; otherwise a mistake is noted.
    pub(crate) fn check_volume(
        &self,
        node: &NodeName,
        span: &Span,
        mistakes: &mut Mistakes,
    ) -> bool {
        let has = self.resolved_stack.has_volume(node);
        if !has && self.sure {
            mistakes.note(self.without_volume(node, span));
        }
        has
    }

    /// A node joins; whether it could.
    pub(crate) fn join(&mut self, name: &At<NodeName>, mistakes: &mut Mistakes) -> bool {
        let Some(node) = self.node_set.find(name, mistakes) else {
            return false;
        };
        if let Some(down) = self.find_down(name) {
            mistakes.note(
                Diagnostic::at(&name.span, format!("`{}` has joined already", node.name))
                    .label(if down.removed {
                        "removed since"
                    } else {
                        "crashed since"
                    })
                    .also(&down.span, "ends it")
                    .help(if down.removed {
                        "add another node, or drop this step".to_owned()
                    } else {
                        format!(
                            "bring it back with `restart = {{ node = \"{}\" }}`",
                            node.name
                        )
                    }),
            );
            return false;
        }
        if self.is_there(name) {
            let since_start = node.joins == Joins::AtStart;
            let help = if since_start {
                format!(
                    r#"give `{}` the key `joins = "later"`, or drop this step"#,
                    node.name
                )
            } else {
                "drop this step".to_owned()
            };
            if self.sure {
                mistakes.note(
                    Diagnostic::at(&name.span, format!("`{}` is there already", node.name))
                        .label(if since_start {
                            "there from the start"
                        } else {
                            "added by an earlier step"
                        })
                        .also(
                            self.node_set.span(node),
                            format!("`{}` is described here", node.name),
                        )
                        .help(help),
                );
            }
            return false;
        }
        let name = node.name.clone();
        self.insert(name);
        true
    }

    /// In the order of the nodes' numbers.
    fn insert(&mut self, name: NodeName) {
        let place = self.node_set.position(&name);
        let at = self
            .there
            .partition_point(|other| self.node_set.position(other) < place);
        self.there.insert(at, name);
    }

    /// Nodes mount, if the file system has a slot, or a journal, for each.
    pub(crate) fn mount(&mut self, on: &[NodeName], step: &Span, mistakes: &mut Mistakes) {
        self.mounted.extend(on.iter().cloned());
        let wanted = self.mounted.len();
        let few = |mounts: &Mounts| wanted > usize::from(mounts.most);
        let Some(Mounts { most, key, refusal }) = self.mounts.filter(few) else {
            return;
        };
        self.mounts = None;
        if !self.sure {
            return;
        }
        let last = &self.mounted[usize::from(most)];
        let mut diagnostic =
            Diagnostic::at(step, format!("too few {key}: {wanted} nodes have it mounted then, {most} can"))
                .label(format!("the mount on `{last}` will fail"))
                .help(format!(
                    "give `{key} = {wanted}`; a mount that is to fail is written `mount = {{ on = \"{last}\", fails = \"{refusal}\" }}`"
                ));
        if let Some(given) = self
            .resolved_stack
            .mounts
            .as_ref()
            .filter(|given| given.start < step.start || step.end < given.end)
        {
            diagnostic = diagnostic.also(given, format!("room for {most}"));
        }
        mistakes.note(diagnostic);
    }

    /// Nodes unmount, if they are not writing.
    pub(crate) fn unmount(&mut self, on: &[NodeName], step: &Span, mistakes: &mut Mistakes) {
        self.mounted.retain(|name| !on.contains(name));
        let busy = |background: &&Background| background.on.iter().any(|name| on.contains(name));
        for background in self.writing.iter().filter(busy) {
            mistakes.note(background.in_the_way(step, "the volume is in use"));
        }
    }

    /// A file that is still being written looks different to each reader.
    pub(crate) fn check_quiet(&self, step: &Span, mistakes: &mut Mistakes) {
        for background in &self.writing {
            mistakes.note(background.in_the_way(step, "the nodes may see different files"));
        }
    }

    /// Only a fleet in which nothing is under way can be kept, and no machine is another than it was built as.
    pub(crate) fn check_still(&self, checkpoint: &Span, mistakes: &mut Mistakes) {
        self.open_faults.check_whole(checkpoint, mistakes);
        if let Some(crash) = &self.crash {
            mistakes.note(
                Diagnostic::at(checkpoint, "a checkpoint after a crash")
                    .label("machines that were down are not kept")
                    .also(crash, "the first one")
                    .help("give the checkpoint to a step before that, or drop it"),
            );
        }
        for background in &self.writing {
            mistakes
                .note(background.in_the_way(checkpoint, "the fleet would be kept in mid-write"));
        }
    }
}
