//! `[[step]]` lowered, in the order in which they will be taken.

mod dip;
mod faults;
mod journal;
mod throughput;
mod wait_for;

use std::collections::BTreeSet;
use std::time::Duration;

use crate::checkpoints::Checkpoints;
use crate::diagnostic::{Diagnostic, Mistakes, Span};
use crate::document::{self, Action as Entry, Document, StepEntry};
use crate::names::StepLabel;
use crate::plan::{Action, AddNode, Check, LayerKind, Mount, Run, Step, Unmount, Wait};
use crate::read::At;
use crate::roster::Roster;
use crate::suggest::did_you_mean;
use crate::topology::{Background, Must, Topology};
use crate::tower::Tower;
use crate::writes;

const DEADLINES: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(24 * 3600));

pub(crate) fn lower(
    document: &Document,
    roster: &Roster,
    tower: &Tower,
    mistakes: &mut Mistakes,
) -> Vec<Step> {
    let Some(entries) = &document.step else {
        return Vec::new();
    };
    let labels = label_all(entries, mistakes);
    let topology = Topology::at_start(roster, tower, mistakes);
    let mut walk = Walk {
        entries,
        labels: &labels,
        topology,
        checkpoints: Checkpoints::new(document.fresh.as_ref()),
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
        let lowered = walk.lower(action, label);
        let apart = is_background(entry).then_some(label);
        walk.checkpoints
            .check(entry, apart, &walk.topology, walk.mistakes);
        if let Some(lowered) = lowered {
            let deadline = entry
                .deadline
                .as_ref()
                .map_or_else(|| walk.deadline(&lowered), |given| given.value);
            walk.taken.push(Step {
                label: label.clone(),
                deadline,
                checkpoint: entry.checkpoint.as_ref().map(|name| name.value.clone()),
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
                entry.action.as_ref().map_or("step", |action| word(action)),
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

fn word(action: &Entry) -> &'static str {
    match action {
        Entry::Mount(_) => "mount",
        Entry::Unmount(_) => "unmount",
        Entry::Dd(_) => "dd",
        Entry::Wait(_) => "wait",
        Entry::AddNode(_) => "add_node",
        Entry::Check(_) => "check",
        Entry::Run(_) => "run",
        Entry::Write(_) => "write",
        Entry::Crash(_) => "crash",
        Entry::Restart(_) => "restart",
        Entry::StopProcess(_) => "stop_process",
        Entry::Start(_) => "start",
        Entry::WaitFor(_) => "wait_for",
        Entry::Verify(_) => "verify",
        Entry::Throughput(_) => "throughput",
        Entry::Dip(_) => "dip",
    }
}

struct Walk<'a> {
    entries: &'a [At<StepEntry>],
    labels: &'a [StepLabel],
    topology: Topology<'a>,
    checkpoints: Checkpoints<'a>,
    mistakes: &'a mut Mistakes,
    taken: Vec<Step>,
    /// The place of the present step among the entries.
    now: usize,
}

impl Walk<'_> {
    fn lower(&mut self, action: &At<Entry>, label: &StepLabel) -> Option<Action> {
        let span = &action.span;
        match &action.value {
            Entry::Mount(mount) => self.mount(mount, span).map(Action::Mount),
            Entry::Unmount(unmount) => self.unmount(unmount, span).map(Action::Unmount),
            Entry::Dd(dd) => self.dd(dd, span, label).map(Action::Dd),
            Entry::Wait(wait) => self.wait(wait).map(Action::Wait),
            Entry::AddNode(add) => self.add_node(add, span).map(Action::AddNode),
            Entry::Check(check) => self.check(check, span).map(Action::Check),
            Entry::Run(run) => self.run(run, span).map(Action::Run),
            Entry::Write(write) => self.write(write, span, label).map(Action::Write),
            Entry::Crash(crash) => self.crash(crash, span).map(Action::Crash),
            Entry::Restart(restart) => self.restart(restart, span).map(Action::Restart),
            Entry::StopProcess(stop) => self.stop_process(stop, span).map(Action::StopProcess),
            Entry::Start(start) => self.start(start, span).map(Action::Start),
            Entry::WaitFor(wait) => self.wait_for(wait, span).map(Action::WaitFor),
            Entry::Verify(verify) => self.verify(verify, span).map(Action::Verify),
            Entry::Throughput(entry) => self.throughput(entry, span).map(Action::Throughput),
            Entry::Dip(dip) => self.dip(dip).map(Action::Dip),
        }
    }

    fn mount(&mut self, entry: &document::Mount, span: &Span) -> Option<Mount> {
        self.check_pattern(entry.fails.as_ref());
        self.require_volume("mount", span)?;
        let on =
            self.topology
                .choose(entry.on.as_ref(), Must::NotHaveMounted, span, self.mistakes)?;
        if entry.fails.is_none() {
            self.topology.mount(&on, span, self.mistakes);
        }
        Some(Mount {
            on,
            fails: entry.fails.as_ref().map(|fails| fails.value.clone()),
        })
    }

    fn unmount(&mut self, entry: &document::Unmount, span: &Span) -> Option<Unmount> {
        self.require_volume("unmount", span)?;
        let on = self
            .topology
            .choose(entry.on.as_ref(), Must::HaveMounted, span, self.mistakes)?;
        self.topology.unmount(&on, span, self.mistakes);
        Some(Unmount { on })
    }

    fn dd(
        &mut self,
        entry: &document::Dd,
        span: &Span,
        label: &StepLabel,
    ) -> Option<crate::plan::Dd> {
        self.require_volume("write to", span)?;
        let dd = writes::dd(entry, span, &mut self.topology, self.mistakes)?;
        if dd.background {
            let background = Background {
                label: label.clone(),
                span: span.clone(),
                on: dd.on.clone(),
                journal: false,
            };
            self.topology.writing.push(background);
        }
        Some(dd)
    }

    fn wait(&mut self, entry: &document::Wait) -> Option<Wait> {
        let step = entry.step.as_ref()?;
        let running = &mut self.topology.writing;
        if let Some(at) = running
            .iter()
            .position(|background| background.label == step.value)
        {
            running.remove(at);
            return Some(Wait {
                step: step.value.clone(),
            });
        }
        let wrong = |title: &str, label: &str| {
            Diagnostic::at(&step.span, format!("`{}` {title}", step.value)).label(label)
        };
        let Some(at) = self.labels.iter().position(|label| *label == step.value) else {
            let background = self
                .entries
                .iter()
                .zip(self.labels)
                .filter(|(entry, _)| is_background(entry));
            self.mistakes.note(
                Diagnostic::at(&step.span, format!("unknown step `{}`", step.value))
                    .label("no step has this label")
                    .help(did_you_mean(
                        step.as_str(),
                        "steps in the background",
                        background.map(|(_, label)| label.as_str()),
                    )),
            );
            return None;
        };
        let awaited = &self.entries[at];
        let diagnostic = if !is_background(awaited) {
            let help = "add `background = true` to that step if it can, or drop this one";
            wrong(
                "does not run in the background",
                "over when the next step begins",
            )
            .also(&awaited.span, "this step")
            .help(help)
        } else if at >= self.now {
            wrong("has not begun at this step", "comes later")
                .also(&awaited.span, "this step")
                .help("move the `wait` after it")
        } else if self.taken.iter().any(|taken| taken.label == step.value) {
            wrong("was waited for already", "over by now")
                .also(&awaited.span, "this step")
                .help("drop one of the `wait` steps")
        } else {
            return None; // the awaited step itself was wrong
        };
        self.mistakes.note(diagnostic);
        None
    }

    fn add_node(&mut self, entry: &document::AddNode, span: &Span) -> Option<AddNode> {
        let Some(name) = &entry.node else {
            self.topology.lose_track();
            return None;
        };
        if !self.topology.join(name, self.mistakes) {
            self.topology.lose_track();
            return None;
        }
        let tower = self.topology.tower;
        let mount = match &entry.mount {
            Some(mount) => mount.value,
            None => tower.has(&name.value, LayerKind::Ocfs2),
        };
        if mount {
            self.require_volume("mount", span)?;
            if !self
                .topology
                .check_volume(&name.value, &name.span, self.mistakes)
            {
                return None;
            }
            self.topology
                .mount(std::slice::from_ref(&name.value), span, self.mistakes);
        }
        Some(AddNode {
            node: name.value.clone(),
            mount,
        })
    }

    fn check(&mut self, entry: &document::Check, span: &Span) -> Option<Check> {
        let must = if entry.same_tree.is_some() {
            Must::HaveMounted
        } else {
            Must::BeThere
        };
        if let Some(path) = &entry.same_tree {
            self.require_volume("compare", span)?;
            self.topology.check_quiet(span, self.mistakes);
            let at = self
                .topology
                .tower
                .file_system
                .as_ref()
                .map(|layer| layer.at.as_str());
            if let Some(at) = at
                && !std::path::Path::new(path.as_str()).starts_with(at)
            {
                self.mistakes.note(
                    Diagnostic::at(
                        &path.span,
                        format!("`{}` is outside of the volume", path.value),
                    )
                    .label("every node has its own there")
                    .help(format!("write `same_tree = \"{at}\"` or a path below it")),
                );
            }
        }
        let kernel_log = entry.kernel_log.as_ref()?.value;
        if entry.same_tree.is_none() && !kernel_log && !self.mistakes.any_within(span) {
            self.mistakes.note(
                Diagnostic::at(span, "this checks nothing")
                    .label("neither the tree nor the kernel log")
                    .help("add `same_tree = \"...\"`, or drop `kernel_log = false`"),
            );
        }
        let on = self
            .topology
            .choose(entry.on.as_ref(), must, span, self.mistakes)?;
        Some(Check {
            on,
            same_tree: entry.same_tree.as_ref().map(|path| path.value.clone()),
            kernel_log,
        })
    }

    fn run(&mut self, entry: &document::Run, span: &Span) -> Option<Run> {
        self.check_pattern(entry.output.as_ref());
        if let Some(exit) = entry
            .exit
            .as_ref()
            .filter(|exit| !(0..=255).contains(&exit.value))
        {
            self.mistakes.note(
                Diagnostic::at(&exit.span, format!("impossible exit code: {}", exit.value))
                    .label("no command ends with that")
                    .help("give 0 to 255"),
            );
        }
        let on = self
            .topology
            .choose(entry.on.as_ref(), Must::BeThere, span, self.mistakes);
        let command = entry.command.as_ref()?.value.clone();
        if command.contains("tunefs.ocfs2") {
            self.topology.forget_slots();
        }
        let output = entry.output.as_ref().map(|output| output.value.clone());
        Some(Run {
            on: on?,
            command,
            exit: entry.exit.as_ref()?.value,
            output,
        })
    }

    fn require_volume(&mut self, to: &str, span: &Span) -> Option<()> {
        let tower = self.topology.tower;
        if tower.file_system.is_none() {
            self.topology.lose_track();
            if tower.whole {
                self.mistakes.note(
                    Diagnostic::at(span, format!("there is no volume to {to}"))
                        .label("needs a file system")
                        .help(r#"add the layers `o2cb = { cluster = "san" }` and `ocfs2 = { slots = 4, at = "/mnt/san" }`"#),
                );
            }
            return None;
        }
        Some(())
    }

    fn check_pattern(&mut self, pattern: Option<&At<String>>) {
        let Some(pattern) = pattern else { return };
        if let Err(error) = regex::Regex::new(pattern) {
            let text = error.to_string();
            let reason = text
                .lines()
                .last()
                .unwrap_or_default()
                .trim_start_matches("error: ");
            self.mistakes.note(
                Diagnostic::at(&pattern.span, "not a regular expression")
                    .label(reason)
                    .help(r"put a backslash before characters meant as they are, such as `\\(`; in '...' one is enough"),
            );
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

    /// For a step that does not give its own; generous, since guests may be emulated.
    fn deadline(&self, action: &Action) -> Duration {
        let seconds = match action {
            Action::Dd(dd) => return writes::deadline(dd),
            Action::Wait(wait) => {
                let awaited = self.taken.iter().find(|step| step.label == wait.step);
                return awaited.map_or(Duration::from_secs(120), |step| step.deadline);
            }
            Action::Write(write) => return writes::journal_deadline(write),
            Action::Throughput(throughput) => {
                return throughput::deadline(throughput, self.topology.roster.nodes.len());
            }
            Action::Crash(crash) => return crash.within.saturating_add(Duration::from_secs(60)),
            Action::Run(_) | Action::StopProcess(_) => 60,
            Action::Mount(_) | Action::Unmount(_) | Action::Start(_) | Action::WaitFor(_) => 120,
            Action::AddNode(_) | Action::Restart(_) => 240,
            Action::Check(_) | Action::Verify(_) => 300,
            Action::Dip(_) => 10,
        };
        Duration::from_secs(seconds)
    }
}

fn is_background(entry: &StepEntry) -> bool {
    let background = match entry.action.as_ref().map(|action| &action.value) {
        Some(Entry::Dd(dd)) => &dd.background,
        Some(Entry::Write(write)) => &write.background,
        _ => return false,
    };
    background
        .as_ref()
        .is_none_or(|background| background.value)
}
