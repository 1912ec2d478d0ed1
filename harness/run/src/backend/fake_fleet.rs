//! A fake fleet for tests: it answers scripts without a guest.

mod plays;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use sanlab_fleet::{
    CacheDraw, ExecError, FleetError, Impaired, Impairment, PowerLoss, Printed, Room, Status,
};
use sanlab_plan::{CrashKind, NetworkName, NodeName, Plan};
use sanlab_record::{Cost, NodeUse, Origin};
use sanlab_stack::Stack;
use tokio::sync::mpsc::{Receiver, Sender, UnboundedSender, channel};
use tokio::sync::watch;
use tokio::time::Instant;

pub(crate) use self::plays::*;
use crate::backend::fake_looks::{self, Looks};
use crate::backend::{
    CONSOLE_LINES, Costs, Ended, FleetBackend, Keeping, LINES, Line, Notice, Pending, Provenance,
    Saving, StartPoint, Started, Teardown,
};
use crate::checkpoint::{Checkpoint, CheckpointMeta};
use crate::{Enclosure, Failure};

/// What an actor does with a script on a node.
pub(crate) enum Act {
    /// It exits with a code, after writing to standard output and error.
    Say(i32, String, String),
    /// It never ends: the deadline does.
    Hang,
    /// It writes these lines down for the host, each after a pause, and exits like this.
    Write(Vec<(Duration, String)>, i32),
    /// It writes these lines down for the host, each after a pause, and exits with 0 after saying this on standard error.
    WriteAndSay(Vec<(Duration, String)>, String),
    /// It writes these lines down for the host, each after a pause, when it has exited with 0.
    WriteLater(Vec<(Duration, String)>),
    /// It takes its time, and exits with 0.
    Sleep(Duration),
    /// It takes its time, and does this then.
    After(Duration, Box<Act>),
    /// The harness itself is at fault.
    Panic,
    /// The guest does not answer.
    Dead,
    /// The guest hangs.
    Stuck,
    /// The guest's kernel panics.
    Panicked,
}

type Actor = Box<dyn Fn(&str, &str) -> Option<Act> + Send + Sync>;

/// The fleet; what its actor leaves alone is answered as the stack's own probes expect.
pub(crate) struct FakeFleet {
    nodes: Vec<NodeName>,
    looks: Looks,
    actor: Actor,
    console: String,
    /// What consoles say besides, by node.
    later: Mutex<BTreeMap<NodeName, String>>,
    /// Who hears the consoles.
    heard_by: Option<UnboundedSender<Notice>>,
    /// Every events's end in a guest.
    event_senders: Mutex<BTreeMap<NodeName, Sender<Line>>>,
    /// How often each node was crashed: what runs there then ends.
    crashes: watch::Sender<BTreeMap<NodeName, u32>>,
    down: Mutex<BTreeSet<NodeName>>,
    error_at_end: Option<String>,
    starts_in: Duration,
    /// What was found about nodes that do not answer.
    examined: BTreeMap<&'static str, &'static str>,
    keeps: bool,
    /// How often the counters were read: so much each node has cost.
    readings: AtomicU64,
    /// The checkpoint that was made last.
    pub(crate) kept: Mutex<Option<StartPoint>>,
    /// It is found damaged when it is to be forked.
    damaged: AtomicBool,
    /// Every script, by node, in order; `end` when the fleet was ended.
    pub(crate) asked: Mutex<Vec<(String, String)>>,
}

impl FakeFleet {
    pub(crate) fn new(
        plan: &Plan,
        stack: &Stack,
        actor: impl Fn(&str, &str) -> Option<Act> + Send + Sync + 'static,
    ) -> Self {
        Self {
            nodes: plan.nodes.iter().map(|node| node.name.clone()).collect(),
            looks: Looks::new(plan, stack),
            actor: Box::new(actor),
            console: "[    1.0] a quiet boot\n".to_owned(),
            later: Mutex::default(),
            heard_by: None,
            event_senders: Mutex::default(),
            crashes: watch::Sender::default(),
            down: Mutex::default(),
            error_at_end: None,
            starts_in: Duration::ZERO,
            examined: BTreeMap::new(),
            keeps: true,
            readings: AtomicU64::new(0),
            kept: Mutex::default(),
            damaged: AtomicBool::new(false),
            asked: Mutex::default(),
        }
    }

    pub(crate) fn heard_by(mut self, notices: UnboundedSender<Notice>) -> Self {
        self.heard_by = Some(notices);
        self
    }

    pub(crate) fn console(mut self, text: &str) -> Self {
        self.console.push_str(text);
        self
    }

    /// What an earlier run kept.
    pub(crate) fn kept(self, beginning: Option<StartPoint>) -> Self {
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

    /// How long its start takes.
    pub(crate) fn starts_in(mut self, time: Duration) -> Self {
        self.starts_in = time;
        self
    }

    pub(crate) fn examined(mut self, node: &'static str, report: &'static str) -> Self {
        self.examined.insert(node, report);
        self
    }

    pub(crate) fn error_at_end(mut self, error: &str) -> Self {
        self.error_at_end = Some(error.to_owned());
        self
    }
}

impl FakeFleet {
    /// A node's console says this.
    fn say(&self, node: &NodeName, text: &str) {
        for line in text.lines() {
            let notice = Notice::Console {
                node: node.to_string(),
                at: Instant::now(),
                line: line.to_owned(),
                room: Room::default(),
            };
            if let Some(heard_by) = &self.heard_by {
                let _ = heard_by.send(notice);
            }
        }
    }

    /// What a look at a node is expected to show.
    fn expected(&self, node: &NodeName, script: &str) -> String {
        let parts = fake_looks::parts(script);
        if parts.is_empty() {
            let down = self.down.lock().unwrap();
            let there = self.nodes.iter().filter(|node| !down.contains(node));
            return self
                .looks
                .expected(&there.cloned().collect::<Vec<_>>(), node, script);
        }
        let said = parts.into_iter().enumerate().map(|(number, part)| {
            let (code, said) = match (self.actor)(node.as_str(), part) {
                Some(Act::Say(code, said, _)) => (code, said),
                Some(_) => (1, String::new()),
                None => (0, self.expected(node, part)),
            };
            fake_looks::answer(number, code, &said)
        });
        said.collect()
    }

    fn note(&self, node: &str, what: &str) {
        let mut asked = self.asked.lock().unwrap();
        asked.push((node.to_owned(), what.to_owned()));
    }

    async fn write_down(&self, node: &NodeName, lines: Vec<(Duration, String)>) {
        for (pause, text) in lines {
            tokio::time::sleep(pause).await;
            let at = Instant::now();
            let events = self.event_senders.lock().unwrap().get(node).cloned();
            let events = events.expect("somebody follows");
            let _ = events.send(Line { at, text }).await;
        }
    }

    async fn act(
        &self,
        node: &NodeName,
        script: &str,
        deadline: Duration,
    ) -> Result<Ended, Failure> {
        let said = |code, stdout: String, stderr: String| {
            let printed = Printed {
                stdout: stdout.into_bytes(),
                stderr: stderr.into_bytes(),
                cut: false,
            };
            Ok(Ended::new(node, Status::Exited(code), printed))
        };
        if let Some((_, mark)) = script.split_once("echo '<6>") {
            let mark = mark.split('\'').next().unwrap_or_default();
            self.say(node, &format!("[   99.0] {mark}"));
        }
        let usual = || Act::Say(0, self.expected(node, script), String::new());
        let mut act = (self.actor)(node.as_str(), script).unwrap_or_else(usual);
        while let Act::After(time, then) = act {
            tokio::time::sleep(time).await;
            act = *then;
        }
        match act {
            Act::After(..) => unreachable!("it has come to what comes then"),
            Act::Say(code, stdout, stderr) => said(code, stdout, stderr),
            Act::Write(lines, code) => {
                self.write_down(node, lines).await;
                said(code, String::new(), String::new())
            }
            Act::WriteAndSay(lines, stderr) => {
                self.write_down(node, lines).await;
                said(0, String::new(), stderr)
            }
            Act::WriteLater(lines) => {
                let events = self.event_senders.lock().unwrap().get(node).cloned();
                let events = events.expect("somebody follows");
                tokio::spawn(async move {
                    for (pause, text) in lines {
                        tokio::time::sleep(pause).await;
                        let at = Instant::now();
                        let _ = events.send(Line { at, text }).await;
                    }
                });
                said(0, String::new(), String::new())
            }
            Act::Sleep(time) => {
                tokio::time::sleep(time).await;
                said(0, String::new(), String::new())
            }
            Act::Hang => {
                tokio::time::sleep(deadline).await;
                Err(Failure::from(ExecError::TimedOut {
                    node: node.to_string(),
                    command: "it".to_owned(),
                    deadline,
                    last_seen: "it still ran".to_owned(),
                    printed: Box::new(Printed {
                        stdout: b"so far\n".to_vec(),
                        ..Printed::default()
                    }),
                }))
            }
            Act::Panic => panic!("a mistake in the lab"),
            Act::Dead => Err(Failure::from(ExecError::AgentDead {
                node: node.to_string(),
                command: "it".to_owned(),
                reason: "no answer".to_owned(),
            })),
            Act::Stuck => Err(Failure::from(ExecError::GuestHangs {
                node: node.to_string(),
                command: "it".to_owned(),
                reason: "qemu-ga is blocked".to_owned(),
            })),
            Act::Panicked => Err(Failure::from(ExecError::GuestPanicked {
                node: node.to_string(),
                command: "it".to_owned(),
                console_tail: "Kernel panic - not syncing: Fatal exception".to_owned(),
            })),
        }
    }
}

impl FleetBackend for FakeFleet {
    fn look<'a>(&'a self, _: &'a [Checkpoint]) -> Pending<'a, Result<StartPoint, Failure>> {
        Box::pin(async {
            let kept = self.kept.lock().unwrap();
            Ok(kept.clone().unwrap_or(StartPoint::Nothing))
        })
    }

    fn start(&self) -> Pending<'_, Result<Started, Failure>> {
        Box::pin(async {
            tokio::time::sleep(self.starts_in).await;
            if self.damaged.swap(false, Ordering::Relaxed) {
                *self.kept.lock().unwrap() = None;
                let (key, reason) = ("c0ffee".to_owned(), "it is cut short".to_owned());
                return Ok(Started::Discarded { key, reason });
            }
            let origin = Origin::Built;
            for node in &self.nodes {
                self.say(node, &self.console);
            }
            Ok(Started::Ready { origin })
        })
    }

    fn save<'a>(
        &'a self,
        folder: &'a Path,
        _meta: CheckpointMeta,
        enclosure: &'a Enclosure,
        _deadline: Duration,
    ) -> Pending<'a, Result<Saving, Failure>> {
        Box::pin(async move {
            if !self.keeps {
                return Err(Failure::internal(format!("{} is full", folder.display())));
            }
            fs_err::create_dir_all(folder).map_err(Failure::host("save"))?;
            let path = folder.join(enclosure.name);
            fs_err::write(path, &enclosure.text).map_err(Failure::host("save"))?;
            Ok(Saving {
                bytes: 3 << 20,
                left_out: [("vix1".to_owned(), "it hangs".to_owned())].into(),
                troubles: vec!["failed to resume node vix0: QEMU is silent".to_owned()],
            })
        })
    }

    fn keep<'a>(
        &'a self,
        checkpoint: &'a Checkpoint,
        meta: &'a CheckpointMeta,
    ) -> Pending<'a, Result<Keeping, Failure>> {
        Box::pin(async {
            if !self.keeps {
                let reason = "the store is full".to_owned();
                return Ok(Keeping::NotKept { reason });
            }
            *self.kept.lock().unwrap() = Some(StartPoint::Fork {
                done: checkpoint.done,
                from: Provenance {
                    checkpoint: checkpoint.name.clone(),
                    key: "c0ffee".to_owned(),
                    age_seconds: 1.0,
                },
                meta: Box::new(meta.clone()),
            });
            Ok(Keeping::Kept {
                key: "c0ffee".to_owned(),
                seconds: 0.1,
                bytes: 1 << 20,
            })
        })
    }

    fn join<'a>(&'a self, _node: &'a NodeName) -> Pending<'a, Result<(), Failure>> {
        Box::pin(async { Ok(()) })
    }

    fn crash<'a>(&'a self, node: &'a NodeName, how: CrashKind) -> Pending<'a, Result<(), Failure>> {
        Box::pin(async move {
            self.note(node.as_str(), &format!("crash {how:?}"));
            if !self.down.lock().unwrap().insert(node.clone()) {
                let node = node.to_string();
                return Err(FleetError::NotRunning { node }.into());
            }
            if how == CrashKind::Panic {
                let panic = "[ 9.0] Kernel panic - not syncing: sysrq triggered crash\n";
                let mut later = self.later.lock().unwrap();
                later.entry(node.clone()).or_default().push_str(panic);
                self.say(node, panic);
            }
            self.crashes
                .send_modify(|crashes| *crashes.entry(node.clone()).or_default() += 1);
            self.event_senders.lock().unwrap().remove(node);
            Ok(())
        })
    }

    fn lose_write_cache<'a>(
        &'a self,
        node: &'a NodeName,
        draw: CacheDraw,
    ) -> Pending<'a, Result<Option<PowerLoss>, Failure>> {
        let torn = if draw.torn { ", torn" } else { "" };
        self.note(node.as_str(), &format!("lose write cache{torn}"));
        Box::pin(async {
            Ok(Some(PowerLoss {
                unflushed_writes: 2,
                unflushed_bytes: 8192,
                kept_writes: 1,
                torn_writes: 0,
            }))
        })
    }

    fn restart<'a>(&'a self, node: &'a NodeName) -> Pending<'a, Result<(), Failure>> {
        Box::pin(async move {
            self.note(node.as_str(), "restart");
            if !self.down.lock().unwrap().remove(node) {
                let node = node.to_string();
                return Err(FleetError::NotCrashed { node }.into());
            }
            Ok(())
        })
    }

    fn impair(
        &self,
        networks: &[NetworkName],
        _seed: u64,
        impairments: &[Impairment],
    ) -> Result<Impaired, Failure> {
        for Impairment { from, to, effect } in impairments {
            let effect = if effect.cut { "cut" } else { "impaired" };
            let (from, to) = (from.join("+"), to.join("+"));
            let on = match networks {
                [only] if *only == NetworkName::main() => String::new(),
                several => format!(" on {}", names(several)),
            };
            self.note("network", &format!("{from} to {to} {effect}{on}"));
        }
        Ok(Impaired::default())
    }

    fn restore(&self, _impaired: &Impaired) -> Result<(), Failure> {
        self.note("network", "restored");
        Ok(())
    }

    fn set_link<'a>(
        &'a self,
        node: &'a NodeName,
        network: &'a NetworkName,
        up: bool,
    ) -> Pending<'a, Result<(), Failure>> {
        let state = if up { "up" } else { "down" };
        self.note(node.as_str(), &format!("link {state} on {network}"));
        Box::pin(async { Ok(()) })
    }

    fn pause<'a>(&'a self, node: &'a NodeName) -> Pending<'a, Result<(), Failure>> {
        self.note(node.as_str(), "pause");
        Box::pin(async { Ok(()) })
    }

    fn resume<'a>(&'a self, node: &'a NodeName) -> Pending<'a, Result<(), Failure>> {
        self.note(node.as_str(), "resume");
        Box::pin(async { Ok(()) })
    }

    fn guest_events(&self, node: &NodeName) -> Result<Receiver<Line>, Failure> {
        let (sender, receiver) = channel(LINES);
        self.event_senders
            .lock()
            .unwrap()
            .insert(node.clone(), sender);
        Ok(receiver)
    }

    fn exec<'a>(
        &'a self,
        node: &'a NodeName,
        script: &'a str,
        deadline: Duration,
    ) -> Pending<'a, Result<Ended, Failure>> {
        Box::pin(async move {
            self.note(node.as_str(), script);
            if self.down.lock().unwrap().contains(node) {
                return Err(Failure::internal("the node was not started"));
            }
            let mut crashes = self.crashes.subscribe();
            let before = crashes.borrow().get(node).copied();
            tokio::select! {
                biased;
                acted = self.act(node, script, deadline) => acted,
                _ = crashes.wait_for(|crashes| crashes.get(node).copied() != before) => {
                    Err(Failure::from(ExecError::QemuDead {
                        node: node.to_string(),
                        command: "it".to_owned(),
                        status: Status::Signalled(9),
                        cause: None,
                        full: None,
                        stderr_tail: String::new(),
                    }))
                }
            }
        })
    }

    fn examined<'a>(&'a self, node: &'a NodeName) -> Pending<'a, Option<String>> {
        Box::pin(async move {
            let examined = self.examined.get(node.as_str())?;
            Some((*examined).to_owned())
        })
    }

    fn vmcore<'a>(
        &'a self,
        _node: &'a NodeName,
        _to: &'a Path,
    ) -> Pending<'a, Option<Result<u64, Failure>>> {
        Box::pin(async { None })
    }

    fn command<'a>(
        &'a self,
        node: &'a NodeName,
        command: &'a str,
        deadline: Duration,
    ) -> Pending<'a, Result<Ended, Failure>> {
        self.exec(node, command, deadline)
    }

    fn costs(&self) -> Costs {
        let reading = self.readings.fetch_add(1, Ordering::Relaxed);
        let cost = Cost {
            instructions: Some(1000 * reading),
            host_cpu_seconds: reading as f64,
            sent_bytes: 10 * reading,
            received_bytes: 20 * reading,
        };
        let nodes = self.nodes.iter();
        nodes.map(|node| (node.to_string(), cost)).collect()
    }

    fn console_tails(&self) -> BTreeMap<String, Vec<String>> {
        let later = self.later.lock().unwrap();
        let tail = |node: &NodeName| {
            let later = later.get(node).cloned().unwrap_or_default();
            let log = format!("{}{later}", self.console);
            let lines: Vec<String> = log.lines().map(str::to_owned).collect();
            let last = lines[lines.len().saturating_sub(CONSOLE_LINES)..].to_vec();
            (node.to_string(), last)
        };
        self.nodes.iter().map(tail).collect()
    }

    fn end(&self) -> Pending<'_, Teardown> {
        Box::pin(async {
            self.note("", "end");
            let nodes: BTreeMap<String, NodeUse> = BTreeMap::new();
            Teardown {
                errors: self.error_at_end.iter().map(Failure::internal).collect(),
                nodes,
            }
        })
    }
}

fn names(networks: &[NetworkName]) -> String {
    let names: Vec<&str> = networks.iter().map(NetworkName::as_str).collect();
    names.join("+")
}
