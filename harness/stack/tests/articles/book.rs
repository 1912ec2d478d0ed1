//! Stacks shown as text, each distinct script once: what is done where refers to scripts by name, and what differs little
//! from a script before is shown as the difference.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use sanlab_stack::{LayerProbe, Probe, Stack, Work};

/// What begins every script that runs commands.
const PRELUDE: &str =
    "fail() { echo \"$*\" >&2; exit 1; }\nrun() { \"$@\" || fail \"exit code $?: $*\"; }\n";

#[derive(Default)]
pub(crate) struct Book {
    /// What is done where.
    pub(crate) outline: String,
    /// Names and scripts, by layer.
    scripts: BTreeMap<String, Vec<(String, String)>>,
}

impl Book {
    /// What is done in a situation.
    pub(crate) fn add(&mut self, situation: &str, works: &[Work]) {
        let _ = writeln!(self.outline, "\n# {situation}");
        for work in works {
            let _ = writeln!(self.outline, "\n{}: {}", work.kind, work.title);
            for stage in &work.stages {
                let _ = writeln!(self.outline, "  {}", stage.title);
                let mut tasks = Groups::default();
                for task in &stage.tasks {
                    let mut line = format!("in {:?}: ", task.deadline);
                    for file in &task.files {
                        let title = format!("{} {:o}", file.path, file.mode);
                        let name = self.name(work.kind.as_str(), &title, &file.text);
                        let _ = write!(line, "[{name}] ");
                    }
                    line += &self.name(work.kind.as_str(), &task.title, &task.script);
                    tasks.add(line, task.node.as_str());
                }
                self.outline += &tasks.show("    ");
            }
            self.add_probes(work.kind.as_str(), &work.probes);
        }
    }

    /// What can be waited for, called like the step.
    pub(crate) fn add_states(&mut self, situation: &str, probes: &[Probe]) {
        let _ = writeln!(self.outline, "\n# {situation}");
        let _ = writeln!(self.outline, "\nwait_for: states");
        self.add_probes("wait_for", probes);
    }

    fn add_probes(&mut self, kind: &str, all: &[Probe]) {
        let mut probes = Groups::default();
        for probe in all {
            let name = self.name(kind, &probe.title, &probe.script);
            let mut line = format!("in {:?}", probe.deadline);
            if let Some(stall) = probe.stall {
                let _ = write!(line, ", {stall:?} without a change");
            }
            let _ = write!(line, ": until {}", probe.title);
            if name != probe.title {
                let _ = write!(line, " [{name}]");
            }
            for expected in &probe.expect.0 {
                let _ = write!(line, "\n      -> {expected}");
            }
            probes.add(line, probe.node.as_str());
        }
        self.outline += &probes.show("  ");
    }

    /// What is looked at when a run ends.
    pub(crate) fn add_end(&mut self, situation: &str, probes: &[LayerProbe]) {
        let _ = writeln!(self.outline, "\n# {situation}");
        let alike = |one: &LayerProbe, other: &LayerProbe| one.place == other.place;
        for layer in probes.chunk_by(alike) {
            let kind = layer[0].kind.as_str();
            let _ = writeln!(
                self.outline,
                "\n{kind}: layer {} of the plan",
                layer[0].place
            );
            let mut groups = Groups::default();
            for LayerProbe { probe, .. } in layer {
                let name = self.name(kind, &probe.title, &probe.script);
                let mut line = format!("sees: {}", probe.title);
                if name != probe.title {
                    let _ = write!(line, " [{name}]");
                }
                groups.add(line, probe.node.as_str());
            }
            self.outline += &groups.show("  ");
        }
    }

    /// What is looked at after a failure.
    pub(crate) fn add_looks(&mut self, stack: &Stack) {
        for (file, script) in stack.state() {
            self.name("state", &file, &script);
        }
    }

    /// What is read before a template is made.
    pub(crate) fn add_warm(&mut self) {
        self.name("warm", "warm", &sanlab_stack::warm());
    }

    /// What such a script is called; a new one is written down.
    fn name(&mut self, kind: &str, title: &str, script: &str) -> String {
        let script = script.strip_prefix(PRELUDE).unwrap_or(script);
        let known = self.scripts.entry(kind.to_owned()).or_default();
        if let Some((name, _)) = known.iter().find(|(_, other)| other == script) {
            return name.clone();
        }
        let called = |number: usize| match number {
            1 => title.to_owned(),
            number => format!("{title} ({number})"),
        };
        let names = (1..).map(called);
        let free = |name: &String| known.iter().all(|(other, _)| other != name);
        let name = names.into_iter().find(free).unwrap_or_default();
        known.push((name.clone(), script.to_owned()));
        name
    }

    /// The scripts of each layer.
    pub(crate) fn show(&self) -> BTreeMap<String, String> {
        let show = |(kind, scripts): (&String, &Vec<(String, String)>)| {
            let mut text = String::new();
            for (at, (name, script)) in scripts.iter().enumerate() {
                let near = scripts[..at]
                    .iter()
                    .map(|(other, before)| (other, difference(before, script)))
                    .min_by_key(|(_, difference)| difference.lines().count())
                    .filter(|(_, it)| it.lines().count() < script.lines().count() * 2 / 3);
                let _ = match near {
                    Some((other, difference)) => {
                        writeln!(text, "=== {name}: like `{other}`, but\n{difference}")
                    }
                    None => writeln!(text, "=== {name}\n{script}"),
                };
            }
            (kind.clone(), text)
        };
        self.scripts.iter().map(show).collect()
    }
}

/// The lines that one has and the other has not, in their order: those outside of the longest sequence that both have.
fn difference(before: &str, after: &str) -> String {
    let (before, after): (Vec<&str>, Vec<&str>) =
        (before.lines().collect(), after.lines().collect());
    // The length of what is common to the rests from each pair of places on.
    let mut common = vec![vec![0_usize; after.len() + 1]; before.len() + 1];
    for one in (0..before.len()).rev() {
        for other in (0..after.len()).rev() {
            common[one][other] = if before[one] == after[other] {
                common[one + 1][other + 1] + 1
            } else {
                common[one + 1][other].max(common[one][other + 1])
            };
        }
    }
    let (mut one, mut other, mut text) = (0, 0, String::new());
    while one < before.len() || other < after.len() {
        if one < before.len() && other < after.len() && before[one] == after[other] {
            one += 1;
            other += 1;
        } else if other == after.len()
            || one < before.len() && common[one + 1][other] >= common[one][other + 1]
        {
            let _ = writeln!(text, "-{}", before[one]);
            one += 1;
        } else {
            let _ = writeln!(text, "+{}", after[other]);
            other += 1;
        }
    }
    text
}

/// Nodes by what is done on them.
#[derive(Default)]
struct Groups<'a>(Vec<(String, Vec<&'a str>)>);

impl<'a> Groups<'a> {
    fn add(&mut self, line: String, node: &'a str) {
        match self.0.iter_mut().find(|(other, _)| *other == line) {
            Some((_, nodes)) => nodes.push(node),
            None => self.0.push((line, vec![node])),
        }
    }

    fn show(self, indent: &str) -> String {
        let line =
            |(line, nodes): (String, Vec<&str>)| format!("{indent}{} {line}\n", nodes.join(" "));
        self.0.into_iter().map(line).collect()
    }
}
