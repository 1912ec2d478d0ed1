//! A play-acted fleet for tests: it answers scripts without a guest.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use sanlab_plan::{
    Action, Arch, ByteSize, Check, ClusterName, Dd, GuestPath, ImageName, Joins, Layer, Linear,
    Nbd, NbdServer, Network, NicModel, Node, NodeName, O2cb, Ocfs2, Plan, Run, Source, Step,
    StepLabel, Tier, VolumeName,
};
use sanlab_record::{NodeUse, Origin};
use sanlab_stack::Stack;

use crate::Fault;
use crate::checkpoint::{Checkpoint, Story};
use crate::site::{
    Beginning, Ended, Keeping, Pending, Provenance, Site, Started, Status, Teardown,
};

/// What an actor does with a script on a node.
pub(crate) enum Act {
    /// It exits with a code, after writing to standard output and error.
    Say(i32, String, String),
    /// It never ends: the deadline does.
    Hang,
    /// The harness itself is at fault.
    Panic,
    /// The guest does not answer.
    Dead,
}

type Actor = Box<dyn Fn(&str, &str) -> Option<Act> + Send + Sync>;

/// The fleet; what its actor leaves alone is answered as the stack's own probes expect.
pub(crate) struct Playact {
    nodes: Vec<NodeName>,
    expected: BTreeMap<(String, String), String>,
    actor: Actor,
    console: String,
    error_at_end: Option<String>,
    keeps: bool,
    /// The checkpoint that was made last.
    pub(crate) kept: Mutex<Option<Beginning>>,
    /// It is found damaged when it is to be forked.
    damaged: AtomicBool,
    /// Every script, by node, in order; `end` when the fleet was ended.
    pub(crate) asked: Mutex<Vec<(String, String)>>,
}

impl Playact {
    pub(crate) fn new(
        plan: &Plan,
        stack: &Stack,
        actor: impl Fn(&str, &str) -> Option<Act> + Send + Sync + 'static,
    ) -> Self {
        let probes = stack.up().into_iter().flat_map(|work| work.probes);
        Self {
            nodes: plan.nodes.iter().map(|node| node.name.clone()).collect(),
            expected: probes
                .map(|probe| {
                    (
                        (probe.node.to_string(), probe.script),
                        probe.expect.0.join("\n"),
                    )
                })
                .collect(),
            actor: Box::new(actor),
            console: "[    1.0] a quiet boot\n".to_owned(),
            error_at_end: None,
            keeps: true,
            kept: Mutex::default(),
            damaged: AtomicBool::new(false),
            asked: Mutex::default(),
        }
    }

    pub(crate) fn console(mut self, text: &str) -> Self {
        self.console.push_str(text);
        self
    }

    /// What an earlier run kept.
    pub(crate) fn kept(self, beginning: Option<Beginning>) -> Self {
        *self.kept.lock().unwrap() = beginning;
        self
    }

    pub(crate) fn damaged(self) -> Self {
        self.damaged.store(true, Ordering::Relaxed);
        self
    }

    pub(crate) fn keeps_nothing(mut self) -> Self {
        self.keeps = false;
        self
    }

    pub(crate) fn error_at_end(mut self, error: &str) -> Self {
        self.error_at_end = Some(error.to_owned());
        self
    }
}

impl Site for Playact {
    fn look<'a>(&'a self, _: &'a [Checkpoint]) -> Pending<'a, Result<Beginning, Fault>> {
        Box::pin(async {
            let kept = self.kept.lock().unwrap();
            Ok(kept.clone().unwrap_or(Beginning::Nothing))
        })
    }

    fn start(&self) -> Pending<'_, Result<Started, Fault>> {
        Box::pin(async {
            if self.damaged.swap(false, Ordering::Relaxed) {
                *self.kept.lock().unwrap() = None;
                let (key, reason) = ("c0ffee".to_owned(), "it is cut short".to_owned());
                return Ok(Started::Discarded { key, reason });
            }
            let origin = Origin::Built;
            Ok(Started::Ready { origin })
        })
    }

    fn keep<'a>(
        &'a self,
        checkpoint: &'a Checkpoint,
        story: &'a Story,
    ) -> Pending<'a, Result<Keeping, Fault>> {
        Box::pin(async {
            if !self.keeps {
                let reason = "the store is full".to_owned();
                return Ok(Keeping::NotKept { reason });
            }
            *self.kept.lock().unwrap() = Some(Beginning::Fork {
                steps: checkpoint.steps,
                from: Provenance {
                    checkpoint: checkpoint.name.clone(),
                    key: "c0ffee".to_owned(),
                    age_seconds: 1.0,
                },
                story: story.clone(),
            });
            Ok(Keeping::Kept {
                key: "c0ffee".to_owned(),
                seconds: 0.1,
                bytes: 1 << 20,
            })
        })
    }

    fn join<'a>(&'a self, _node: &'a NodeName) -> Pending<'a, Result<(), Fault>> {
        Box::pin(async { Ok(()) })
    }

    fn exec<'a>(
        &'a self,
        node: &'a NodeName,
        script: &'a str,
        deadline: Duration,
    ) -> Pending<'a, Result<Ended, Fault>> {
        Box::pin(async move {
            self.asked
                .lock()
                .unwrap()
                .push((node.to_string(), script.to_owned()));
            let look = (node.to_string(), script.to_owned());
            let usual = || {
                Act::Say(
                    0,
                    self.expected.get(&look).cloned().unwrap_or_default(),
                    String::new(),
                )
            };
            match (self.actor)(node.as_str(), script).unwrap_or_else(usual) {
                Act::Say(code, stdout, stderr) => Ok(Ended {
                    status: Status::Exited(code),
                    stdout,
                    stderr,
                }),
                Act::Hang => {
                    tokio::time::sleep(deadline).await;
                    Err(Fault::Stack(format!(
                        "run it on {node} within {} s",
                        deadline.as_secs()
                    )))
                }
                Act::Panic => panic!("a mistake in the lab"),
                Act::Dead => Err(Fault::Lab("the guest agent is dead".to_owned())),
            }
        })
    }

    fn consoles(&self) -> Vec<(NodeName, String)> {
        self.nodes
            .iter()
            .map(|node| (node.clone(), self.console.clone()))
            .collect()
    }

    fn end(&self) -> Pending<'_, Teardown> {
        Box::pin(async {
            self.asked
                .lock()
                .unwrap()
                .push((String::new(), "end".to_owned()));
            let nodes: BTreeMap<String, NodeUse> = BTreeMap::new();
            Teardown {
                errors: self.error_at_end.clone().into_iter().collect(),
                nodes,
            }
        })
    }
}

pub(crate) fn node(name: &str) -> NodeName {
    NodeName::parse(name).unwrap()
}

pub(crate) fn step(label: &str, action: Action) -> Step {
    Step {
        label: StepLabel::parse(label).unwrap(),
        deadline: Duration::from_secs(30),
        checkpoint: None,
        action,
    }
}

pub(crate) fn run(on: &str, command: &str) -> Action {
    Action::Run(Run {
        on: vec![node(on)],
        command: command.to_owned(),
        exit: 0,
        output: None,
    })
}

pub(crate) fn dd(on: &[&str], background: bool) -> Action {
    Action::Dd(Dd {
        on: on.iter().map(|name| node(name)).collect(),
        source: Source::Zero,
        of: "{node}.img".to_owned(),
        bs: ByteSize::from_mib(1),
        count: 4,
        oflag: Vec::new(),
        conv: Vec::new(),
        background,
    })
}

pub(crate) fn same_tree(on: &[&str]) -> Action {
    Action::Check(Check {
        on: on.iter().map(|name| node(name)).collect(),
        same_tree: Some(GuestPath::parse("/mnt/nbdsan").unwrap()),
        kernel_log: true,
    })
}

/// Two nodes with the volume mounted.
pub(crate) fn plan(steps: Vec<Step>) -> Plan {
    let guest = |number: u8| Node {
        name: node(&format!("vix{number}")),
        number,
        arch: Arch::X86,
        nic: NicModel::VirtioNet,
        memory: ByteSize::from_mib(256),
        cpus: 1,
        joins: Joins::AtStart,
    };
    let second = Duration::from_secs(1);
    let cluster = ClusterName::parse("nbdsan").unwrap();
    Plan {
        name: "a play".to_owned(),
        id: "a_play".to_owned(),
        source: "a_play.toml".into(),
        tier: Tier::Default,
        fresh: false,
        image: ImageName::parse("debian-bookworm").unwrap(),
        network: Network {
            mtu: None,
            capture: Vec::new(),
        },
        nodes: vec![guest(0), guest(1)],
        layers: vec![
            Layer::Nbd(Nbd {
                disk: ByteSize::from_mib(1024),
                port: 4300,
                server: NbdServer::Nbdkit,
                block_size: ByteSize::from_bytes(4096),
            }),
            Layer::Linear(Linear {
                name: VolumeName::parse("nbdsan").unwrap(),
            }),
            Layer::O2cb(O2cb {
                cluster,
                port: 7777,
                heartbeat_threshold: 31,
                idle_timeout: 30 * second,
                keepalive_delay: 2 * second,
                reconnect_delay: 2 * second,
            }),
            Layer::Ocfs2(Ocfs2 {
                slots: 2,
                at: GuestPath::parse("/mnt/nbdsan").unwrap(),
                features: Vec::new(),
                journal: ByteSize::from_mib(8),
                mount: true,
            }),
        ],
        steps,
    }
}
