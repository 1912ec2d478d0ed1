//! What every layer says about itself, and the words it says it in.

use std::fmt;
use std::time::Duration;

use sanlab_plan::{LayerKind, NodeName};

use crate::nodes::present::Peers;
use crate::nodes::topology::Topology;

/// A file written into a guest before a task's script runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GuestFile {
    /// Absolute path; the folder may not exist yet.
    pub path: String,
    /// The whole content.
    pub text: String,
    /// Permission bits.
    pub mode: u32,
}

/// One script on one node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Task {
    /// Where.
    pub node: NodeName,
    /// What it does, for progress and messages: "import 4 disks".
    pub title: String,
    /// Written first.
    pub files: Vec<GuestFile>,
    /// For busybox `sh -e`; ends with a code other than 0, and says on standard error which command failed.
    pub script: String,
    /// How long it may take.
    pub deadline: Duration,
}

/// Tasks that run side by side.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stage {
    /// What they do together.
    pub title: String,
    /// At most one a node.
    pub tasks: Vec<Task>,
}

impl Stage {
    /// The same task, called like the stage, on each of `nodes`.
    pub(crate) fn new(nodes: &[NodeName], title: &str, deadline: Duration, script: &str) -> Self {
        let task = |node: &NodeName| Task {
            node: node.clone(),
            title: title.to_owned(),
            files: Vec::new(),
            script: script.to_owned(),
            deadline,
        };
        Self {
            title: title.to_owned(),
            tasks: nodes.iter().map(task).collect(),
        }
    }

    /// With these files in each task.
    pub(crate) fn with_files(mut self, files: &[GuestFile]) -> Self {
        for task in &mut self.tasks {
            task.files = files.to_vec();
        }
        self
    }
}

/// A condition that must come true: the script is run again and again until its output is as expected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probe {
    /// Where.
    pub node: NodeName,
    /// The condition, as a time-out message would name it: "the disks are imported".
    pub title: String,
    /// For busybox `sh -e`; a failing script means "not yet".
    pub script: String,
    /// What it must print.
    pub expect: Expect,
    /// How long it may take to come true.
    pub deadline: Duration,
    /// It is given up earlier when its output has been the same for so long: what goes on changes it.
    pub stall: Option<Duration>,
}

/// A look at a layer at the end of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LayerProbe {
    /// Which layer.
    pub kind: LayerKind,
    /// Its place in the plan, from 0, the lowest first.
    pub place: usize,
    /// What must hold there still.
    pub probe: Probe,
}

/// What a probe's standard output must be: these lines, in this order. Blanks at the ends of lines do not count.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expect(pub Vec<String>);

impl Expect {
    /// These lines.
    pub fn lines(lines: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self(lines.into_iter().map(Into::into).collect())
    }

    /// Whether `stdout` is as expected; the error says how it differs.
    pub fn judge(&self, stdout: &str) -> Result<(), String> {
        let seen: Vec<&str> = stdout.trim_end().lines().map(str::trim).collect();
        let mut wanted = self.0.iter();
        for line in &seen {
            match wanted.next() {
                Some(want) if want.trim() == *line => {}
                Some(want) => return Err(format!("expected `{want}`, saw `{line}`")),
                None => return Err(format!("saw `{line}` after everything that was expected")),
            }
        }
        wanted.next().map_or(Ok(()), |want| {
            Err(format!("expected `{want}`, saw nothing more"))
        })
    }
}

/// A layer's or the volume's share of bringing up, joining or taking down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Work {
    /// `nbd`, `striped`, ..., `mount`: the name of the phase in a record.
    pub kind: &'static str,
    /// For people: "striped nbdsan".
    pub title: String,
    /// One after another.
    pub stages: Vec<Stage>,
    /// Must come true after the last stage; they can be awaited side by side.
    pub probes: Vec<Probe>,
}

/// One layer of the stack: commands and files as data.
///
/// `there` are the running nodes in the order of their numbers.
pub trait Layer: fmt::Debug + Send + Sync {
    /// Its key in a scenario file.
    fn kind(&self) -> LayerKind;

    /// For people: the kind and what is particular about it.
    fn title(&self) -> String;

    /// Brings it up on all of `there`.
    fn up(&self, there: &[NodeName], topology: &Topology) -> Vec<Stage>;

    /// Brings it up on `node` while it is up on `peers` (without `node`): first makes the newcomer known to them.
    fn join(&self, node: &NodeName, peers: &Peers, topology: &Topology) -> Vec<Stage>;

    /// Brings it up again on `node`, whose machine came back with its disk, while it is up on `peers` (without `node`).
    fn rejoin(&self, node: &NodeName, peers: &Peers, topology: &Topology) -> Vec<Stage> {
        self.join(node, peers, topology)
    }

    /// The names of its daemons on `node`: what [`Layer::service`] starts.
    fn daemons(&self, _node: &NodeName) -> &'static [&'static str] {
        &[]
    }

    /// Starts its own daemons on `node`, where they were stopped, while it is up on `peers`, and nothing else. Nothing: it
    /// has none.
    fn service(&self, _node: &NodeName, _peers: &Peers, _topology: &Topology) -> Vec<Stage> {
        Vec::new()
    }

    /// How to see on `node`, one of `peers`, that it is really up.
    fn probes(&self, node: &NodeName, peers: &Peers, topology: &Topology) -> Vec<Probe>;

    /// The same after [`Layer::rejoin`].
    fn probes_again(&self, node: &NodeName, peers: &Peers, topology: &Topology) -> Vec<Probe> {
        self.probes(node, peers, topology)
    }

    /// What must hold on `node` at the end of a run, whatever commands the run's steps gave.
    fn probes_at_end(&self, node: &NodeName, peers: &Peers, topology: &Topology) -> Vec<Probe> {
        self.probes(node, peers, topology)
    }

    /// Takes it down on `there`, whether it came up wholly or not.
    fn down(&self, there: &[NodeName], topology: &Topology) -> Vec<Stage>;

    /// File names and the scripts whose output goes there when something failed.
    fn state(&self) -> Vec<(String, String)>;
}

#[cfg(test)]
mod tests {
    use super::Expect;

    #[test]
    fn judges_lines_in_order() {
        let expect = Expect::lines(["nbd0 2097152", "nbd1 2097152"]);
        assert_eq!(expect.judge("nbd0 2097152\nnbd1 2097152 \n"), Ok(()));
        assert_eq!(
            expect.judge("nbd0 2097152\nnbd1 not connected\n"),
            Err("expected `nbd1 2097152`, saw `nbd1 not connected`".to_owned())
        );
        assert_eq!(
            expect.judge("nbd0 2097152\n"),
            Err("expected `nbd1 2097152`, saw nothing more".to_owned())
        );
        assert_eq!(
            expect.judge("nbd0 2097152\nnbd1 2097152\nnbd2 7\n"),
            Err("saw `nbd2 7` after everything that was expected".to_owned())
        );
        assert_eq!(
            expect.judge(""),
            Err("expected `nbd0 2097152`, saw nothing more".to_owned())
        );
    }
}
