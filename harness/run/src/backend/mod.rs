//! The seam between the engine and the guests: what the engine asks of a fleet, and no more. Tests use
//! a fake fleet instead.

#[cfg(test)]
pub(crate) mod fake_fleet;
#[cfg(test)]
pub(crate) mod fake_looks;
pub(crate) mod fleet_spec;
pub(crate) mod guests;
pub(crate) mod power;
pub(crate) mod usage;

use std::collections::BTreeMap;
use std::path::Path;
use std::pin::Pin;
use std::time::Duration;

use sanlab_fleet::{CacheDraw, FleetEvent, Impaired, Impairment, PowerLoss, Printed, Room, Status};
use sanlab_plan::{CrashKind, NetworkName, NodeName};
use sanlab_record::{Cost, NodeUse, Origin};
use tokio::sync::mpsc::Receiver;
use tokio::time::Instant;

use crate::checkpoint::{Checkpoint, CheckpointMeta, Progress};
use crate::engine::event_log::Scope;
use crate::evidence::output;
use crate::failure::{Cause, Said};
use crate::{Enclosure, Failure};

/// A future that can be kept behind `dyn FleetBackend`.
pub(crate) type Pending<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// How many lines of each console a record keeps of a run that did not pass.
pub(crate) const CONSOLE_LINES: usize = 40;

/// How many lines of a guest's journal may wait for the step that reads them.
pub(crate) const LINES: usize = 1024;

/// What nodes have cost, by name.
pub(crate) type Costs = BTreeMap<String, Cost>;

/// The running guests.
pub(crate) trait FleetBackend: Send + Sync {
    /// Settles where to begin: at the last of the plan's checkpoints that has been kept, or from nothing. While another
    /// run makes one that this one needs, it waits.
    fn look<'a>(
        &'a self,
        checkpoints: &'a [Checkpoint],
    ) -> Pending<'a, Result<StartPoint, Failure>>;

    /// Brings the nodes of the start to life, side by side, until each answers and knows its name and address: where
    /// [`FleetBackend::look`] said.
    fn start(&self) -> Pending<'_, Result<Started, Failure>>;

    /// Keeps the whole fleet as it stands, and goes on with a fork of it. That it could not be kept is no fault: the fleet
    /// goes on then as it is.
    fn keep<'a>(
        &'a self,
        checkpoint: &'a Checkpoint,
        meta: &'a CheckpointMeta,
    ) -> Pending<'a, Result<Keeping, Failure>>;

    /// Saves the whole fleet as it stands to a folder of its own, which is made, with what the engine knows of it and a file besides.
    /// The fleet goes on then. What is not saved within the deadline is broken off; that is an error.
    fn save<'a>(
        &'a self,
        folder: &'a Path,
        meta: CheckpointMeta,
        enclosure: &'a Enclosure,
        deadline: Duration,
    ) -> Pending<'a, Result<Saving, Failure>>;

    /// Boots a later node.
    fn join<'a>(&'a self, node: &'a NodeName) -> Pending<'a, Result<(), Failure>>;

    /// Ends a node without warning: when it returns, the node is gone. That is no [`Notice::Event`] of a lost node.
    fn crash<'a>(&'a self, node: &'a NodeName, how: CrashKind) -> Pending<'a, Result<(), Failure>>;

    /// Takes from a crashed node's disk what it had in its volatile write cache, as `draw` has it. `None`: it had nothing there, ever.
    fn lose_write_cache<'a>(
        &'a self,
        node: &'a NodeName,
        draw: CacheDraw,
    ) -> Pending<'a, Result<Option<PowerLoss>, Failure>>;

    /// Brings a node back that was crashed, with its disk as it was left.
    fn restart<'a>(&'a self, node: &'a NodeName) -> Pending<'a, Result<(), Failure>>;

    /// From now on frames between nodes on these networks are treated like this, as `seed` draws it.
    fn impair(
        &self,
        networks: &[NetworkName],
        seed: u64,
        impairments: &[Impairment],
    ) -> Result<Impaired, Failure>;

    /// That ends.
    fn restore(&self, impaired: &Impaired) -> Result<(), Failure>;

    /// Plugs a node's cable to a network in, or pulls it: its driver sees that.
    fn set_link<'a>(
        &'a self,
        node: &'a NodeName,
        network: &'a NetworkName,
        up: bool,
    ) -> Pending<'a, Result<(), Failure>>;

    /// Lets a node stand still, all of its processors and clocks.
    fn pause<'a>(&'a self, node: &'a NodeName) -> Pending<'a, Result<(), Failure>>;

    /// Lets it go on.
    fn resume<'a>(&'a self, node: &'a NodeName) -> Pending<'a, Result<(), Failure>>;

    /// What programs on the node report to the host: what no one has read so far, and what comes. It ends with
    /// the node. While it is full the programs wait.
    fn guest_events(&self, node: &NodeName) -> Result<Receiver<Line>, Failure>;

    /// Runs a script in a guest's shell with `-e`. A code other than 0 is an answer, not an error.
    fn exec<'a>(
        &'a self,
        node: &'a NodeName,
        script: &'a str,
        deadline: Duration,
    ) -> Pending<'a, Result<Ended, Failure>>;

    /// What was found about a node whose agent did not answer, if there is one: registers, backtraces, memory.
    fn examined<'a>(&'a self, node: &'a NodeName) -> Pending<'a, Option<String>>;

    /// Writes the memory of a node whose kernel has panicked, or hangs, to that file, whose folder is made. How many bytes that are; `None`: neither has
    /// happened to it.
    fn vmcore<'a>(
        &'a self,
        node: &'a NodeName,
        to: &'a Path,
    ) -> Pending<'a, Option<Result<u64, Failure>>>;

    /// Runs a scenario's command in the guest's own shell, with `-e`; see [`FleetBackend::exec`].
    fn command<'a>(
        &'a self,
        node: &'a NodeName,
        command: &'a str,
        deadline: Duration,
    ) -> Pending<'a, Result<Ended, Failure>>;

    /// What every node that is or was there has cost so far, over all of its QEMUs: counters that never fall. Asks no guest
    /// and waits for nothing.
    fn costs(&self) -> Costs;

    /// The last lines of every console that has said something, at most [`CONSOLE_LINES`], without what a kernel was made to
    /// print. Asks no guest.
    fn console_tails(&self) -> BTreeMap<String, Vec<String>>;

    /// Ends every guest, and goes on after an error.
    fn end(&self) -> Pending<'_, Teardown>;
}

/// A line that a guest wrote to its journal's port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Line {
    /// When the host read it.
    pub(crate) at: Instant,
    pub(crate) text: String,
}

/// Where a run begins.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum StartPoint {
    /// With nothing but images and, unless everything is to be fresh, templates.
    Nothing,
    /// With a fleet that was kept.
    Fork {
        /// How much of the plan is done by then.
        done: Progress,
        from: Provenance,
        meta: Box<CheckpointMeta>,
    },
}

/// What a kept thing is known by.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Provenance {
    pub(crate) checkpoint: String,
    pub(crate) key: String,
    pub(crate) age_seconds: f64,
}

/// What became of a start.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Started {
    /// The nodes answer.
    Ready {
        /// What they were made from.
        origin: Origin,
    },
    /// The checkpoint is not what it was, and has been discarded: look again.
    Discarded { key: String, reason: String },
}

/// What became of a checkpoint that was to be made.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Keeping {
    Kept {
        key: String,
        /// From the guests' stop to the last byte.
        seconds: f64,
        /// On disk.
        bytes: u64,
    },
    NotKept {
        reason: String,
    },
}

/// A fleet that was saved.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Saving {
    /// On disk.
    pub(crate) bytes: u64,
    /// Who was there and was not saved, and why.
    pub(crate) left_out: BTreeMap<String, String>,
    /// What went wrong besides, such as a node that stands still since.
    pub(crate) troubles: Vec<String>,
}

/// What the guests do by themselves.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Notice {
    /// Something for the record.
    Event(FleetEvent),
    /// A line on a node's console, most of which are not for the record. Every line of every machine comes, in order, from
    /// the machine's first byte on: also while the fleet starts, is forked or goes on in a fork.
    Console {
        node: String,
        /// When the host read it.
        at: Instant,
        line: String,
        /// Bounds how many of them wait: a console is not read while all of its room is taken.
        room: Room,
    },
    /// The same of a line that came among those that a kernel was made to print: backtraces, which are no evidence of anything.
    /// It may also be what the kernel says by itself meanwhile, or a guest's request.
    Dump {
        node: String,
        at: Instant,
        line: String,
        room: Room,
    },
}

/// How a script ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Ended {
    pub(crate) node: NodeName,
    pub(crate) status: Status,
    /// As text; what is not UTF-8 is replaced.
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    /// The same as it was written.
    pub(crate) printed: Printed,
    /// The file where that was kept, from the record's folder, unless it was nothing.
    pub(crate) kept: Option<String>,
}

impl Ended {
    pub(crate) fn new(node: &NodeName, status: Status, printed: Printed) -> Self {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Self {
            node: node.clone(),
            status,
            stdout: text(&printed.stdout),
            stderr: text(&printed.stderr),
            printed,
            kept: None,
        }
    }

    /// The same, with what it printed kept for the phase. What printed nothing and ended well leaves nothing.
    pub(crate) async fn keep(mut self, scope: &Scope, command: &str) -> Self {
        let Self {
            node,
            status,
            printed,
            ..
        } = &self;
        let silent = printed.is_empty();
        if !silent || *status != Status::Exited(0) {
            let ending = status.to_string();
            let file = scope.keep_output(node, command, &ending, printed).await;
            self.kept = file.filter(|_| !silent);
        }
        self
    }

    /// All of standard output if it exited with 0; otherwise a failure with what it said.
    pub(crate) fn success(self) -> Result<String, Failure> {
        match self.status {
            Status::Exited(0) if self.printed.cut => {
                let text = "it printed more than can be read".to_owned();
                Err(self.failed(Cause::NotUnderstood(text)))
            }
            Status::Exited(0) => Ok(self.stdout),
            status => Err(self.failed(Cause::CommandFailed(status))),
        }
    }

    /// A failure with what it printed, of which standard error says why.
    pub(crate) fn failed(self, cause: Cause) -> Failure {
        let shown = self.said();
        let failure = Failure::from(cause).saying(Said {
            shown,
            reason: self.stderr,
        });
        failure.on(&self.node).printed_in(self.kept)
    }

    /// What it printed, for a message: the first and the last lines of both outputs.
    pub(crate) fn said(&self) -> String {
        let lines = output::shown(&self.printed);
        if lines.is_empty() {
            return "it said nothing".to_owned();
        }
        lines.join("\n")
    }
}

/// What is left of a fleet.
#[derive(Debug, Default)]
pub(crate) struct Teardown {
    /// What did not end as it must.
    pub(crate) errors: Vec<Failure>,
    /// What each node cost the host.
    pub(crate) nodes: BTreeMap<String, NodeUse>,
}
