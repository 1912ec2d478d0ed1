//! The one judge of evidence: of what kernels complain of and layers lack, what counts and what is excused, by the faults that
//! steps brought about and by what steps expect. It asks no guest and has no clock.

use std::collections::BTreeMap;

use regex::Regex;
use sanlab_plan::{Expectation, LayerKind, NodeName, Outage, Plan, names};
use sanlab_record::{Excuse, Finding, FindingKind, PhaseName, Source};

use crate::engine::faults::excusing::{Broken, Fault, Faults};
use crate::evidence::complaint::{About, Complaint, announces_traces, classify};
use crate::evidence::known_lines;

/// Seconds from a kernel's complaint to the call traces that belong to it.
const TRACES: f64 = 2.0;

/// What has been judged so far.
#[derive(Debug, Default)]
pub(crate) struct Judge {
    declared: Vec<Declared>,
    findings: Vec<Finding>,
    /// When each kernel last said something to which call traces belong.
    reports: BTreeMap<NodeName, f64>,
    /// The layers are being taken down.
    takes_down: bool,
    /// What is seen from now on does not matter any more.
    closed: bool,
}

/// An expectation of a step that has begun.
#[derive(Debug)]
struct Declared {
    step: String,
    from: f64,
    expectation: Expectation,
    /// Of a line of the kernel log.
    pattern: Option<Regex>,
    met: bool,
}

/// Something that was seen.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Seen<'a> {
    pub(crate) node: &'a NodeName,
    /// Seconds since the run began.
    pub(crate) at: f64,
    /// The phase in the foreground.
    pub(crate) phase: Option<&'a PhaseName>,
    /// A line of a kernel log without its time, or how a layer differs from what it must be.
    pub(crate) text: &'a str,
}

impl Judge {
    /// A step begins that expects this. Says its number.
    pub(crate) fn declare(
        &mut self,
        step: &str,
        expectation: &Expectation,
        from: f64,
    ) -> Result<usize, regex::Error> {
        let pattern = match expectation {
            Expectation::KernelLog { pattern, .. } => Some(Regex::new(pattern)?),
            _ => None,
        };
        self.declared.push(Declared {
            step: step.to_owned(),
            from,
            expectation: expectation.clone(),
            pattern,
            met: false,
        });
        Ok(self.declared.len() - 1)
    }

    /// What a step expects has come true: the failure of the step itself, or the end of a node.
    pub(crate) fn meet(&mut self, step: &str, which: impl Fn(&Expectation) -> bool) {
        for declared in &mut self.declared {
            declared.met |= declared.step == step && which(&declared.expectation);
        }
    }

    /// The step that expects a node to fence itself, if one does and it has not happened yet.
    pub(crate) fn expects_fencing(&self, of: &NodeName) -> Option<&str> {
        let mut open = self.declared.iter().filter(|declared| !declared.met);
        let is_it = |declared: &&Declared| matches!(&declared.expectation, Expectation::FencesItself { node } if node == of);
        open.find(is_it).map(|declared| declared.step.as_str())
    }

    /// Judges a line of a kernel log. `true`: it is a complaint that counts, whatever comes after it. One that may be known by its call
    /// trace counts at the next check unless it is.
    pub(crate) fn hear(&mut self, plan: &Plan, faults: &Faults, line: Seen<'_>) -> bool {
        if self.closed {
            return false;
        }
        let expected = self.matching(&line);
        self.excuse_before(&line);
        let Some(complaint) = classify(line.text) else {
            if announces_traces(line.text) {
                self.reports.insert(line.node.clone(), line.at);
            }
            return false;
        };
        let detached = matches!(complaint.about, Some(About::Detached(_)));
        if self.is_part_of_a_report(complaint.kind, &line) || detached && self.takes_down {
            return false;
        }
        // Every expectation that describes it has come true, whichever excuses it.
        let follows = self.excuse(plan, faults, &complaint, &line);
        let excuse = expected
            .or_else(|| self.own_fencing(complaint.kind, &line))
            .or(follows)
            .or_else(|| known_lines::excuse(line.text));
        let about = complaint.about.map(|about| name(plan, about));
        let waits = known_lines::waits_for_its_trace(line.text);
        self.note(complaint.kind, about, Source::KernelLog, line, excuse) && !waits
    }

    /// Judges a line that came among those that a kernel was made to print: call traces were asked for, and a panic may be the
    /// lab's doing. The machine tells of one that is not.
    pub(crate) fn hear_in_dump(&mut self, plan: &Plan, faults: &Faults, line: Seen<'_>) -> bool {
        let asked_for = [FindingKind::CallTrace, FindingKind::Panic];
        let complaint = classify(line.text).filter(|it| !asked_for.contains(&it.kind));
        complaint.is_some() && self.hear(plan, faults, line)
    }

    /// Why it does not count that the layer at that place of the plan is not as it must be on a node at that time: a fault that
    /// goes on.
    pub(crate) fn layer_excuse(
        plan: &Plan,
        faults: &Faults,
        (kind, place): (LayerKind, usize),
        (node, at): (&NodeName, f64),
    ) -> Option<Excuse> {
        let mut open = faults.iter().filter(|it| it.lasts(at) && it.harms());
        let fault = open.find(|fault| {
            if fault.what == Broken::Disk {
                return plan.layer_lies_on_disk(place, node, &fault.node);
            }
            let own = fault.node == *node && fault.layer().is_none_or(|layer| layer == kind);
            let outage = faults.outage(plan, fault, node, |it| it.lasts(at));
            own || fault.concerns(node) && plan.layer_needs(place, node, &fault.node, &outage)
        });
        fault.map(|fault| fault.excuse.clone())
    }

    /// Takes in that a layer is not as it must be at the end.
    pub(crate) fn sees(&mut self, kind: LayerKind, seen: Seen<'_>, excuse: Option<Excuse>) {
        let kind = kind.to_string();
        let source = Source::Layer { kind };
        self.note(FindingKind::LayerState, None, source, seen, excuse);
    }

    /// From now on the layers are taken down: DRBD lets its disks go because it is told to.
    pub(crate) fn takes_down(&mut self) {
        self.takes_down = true;
    }

    /// What is seen from now on does not matter any more: the run's outcome stands.
    pub(crate) fn close(&mut self) {
        self.closed = true;
    }

    /// Everything that was found, in order.
    pub(crate) fn findings(&self) -> &[Finding] {
        &self.findings
    }

    /// What nothing excuses, in order.
    pub(crate) fn counting(&self) -> Vec<Finding> {
        let counting = self.findings.iter().filter(|it| it.excuse.is_none());
        counting.cloned().collect()
    }

    /// What was expected and has not come true, in words.
    pub(crate) fn unmet(&self) -> Vec<String> {
        let open = self.declared.iter().filter(|declared| !declared.met);
        open.map(Declared::lack).collect()
    }

    /// Every expectation that a line of a kernel log meets has come true; the first of them excuses it.
    fn matching(&mut self, line: &Seen<'_>) -> Option<Excuse> {
        let mut excuse = None;
        for declared in &mut self.declared {
            let Expectation::KernelLog { on, .. } = &declared.expectation else {
                continue;
            };
            let matches = |pattern: &Regex| pattern.is_match(line.text);
            if declared.from <= line.at
                && on.contains(line.node)
                && declared.pattern.as_ref().is_some_and(matches)
            {
                declared.met = true;
                let step = declared.step.clone();
                excuse.get_or_insert(Excuse::Expected { step });
            }
        }
        excuse
    }

    /// What a kernel has just reported may be known by its call trace, which comes after it.
    fn excuse_before(&mut self, trace: &Seen<'_>) {
        let just = self.findings.iter_mut().filter(|it| {
            it.excuse.is_none() && it.node == trace.node.as_str() && trace.at - it.until <= TRACES
        });
        for finding in just.filter(|it| it.source == Source::KernelLog && it.count == 1) {
            finding.excuse = known_lines::excuse_before(&finding.text, trace.text);
        }
    }

    /// A call trace belongs to what its kernel has just reported.
    fn is_part_of_a_report(&mut self, kind: FindingKind, line: &Seen<'_>) -> bool {
        let before = self.reports.get(line.node);
        let follows = before.is_some_and(|before| line.at - before <= TRACES);
        let part = kind == FindingKind::CallTrace && follows;
        let reports = match kind {
            FindingKind::CallTrace => part,
            FindingKind::FileSystemError
            | FindingKind::DeviceError
            | FindingKind::SplitBrain
            | FindingKind::Eviction
            | FindingKind::Fencing
            | FindingKind::LayerState => false,
            _ => true,
        };
        if reports {
            self.reports.insert(line.node.clone(), line.at);
        }
        part
    }

    /// A node that fences itself as expected says so before it is down.
    fn own_fencing(&self, kind: FindingKind, line: &Seen<'_>) -> Option<Excuse> {
        if !matches!(kind, FindingKind::Fencing | FindingKind::Panic) {
            return None;
        }
        let mut begun = self.declared.iter().filter(|it| it.from <= line.at);
        let is_it = |declared: &&Declared| matches!(&declared.expectation, Expectation::FencesItself { node } if node == line.node);
        let step = begun.find(is_it)?.step.clone();
        Some(Excuse::Expected { step })
    }

    /// The fault that a complaint follows from.
    fn excuse(
        &mut self,
        plan: &Plan,
        faults: &Faults,
        complaint: &Complaint,
        line: &Seen<'_>,
    ) -> Option<Excuse> {
        let node = line.node;
        // A node that is being ended may say anything.
        let mut ends = faults.iter().filter(|fault| fault.node == *node);
        let ended = ends.find(|fault| match fault.what {
            Broken::Down { powered } => {
                fault.from <= line.at && powered.is_none_or(|powered| line.at < powered)
            }
            _ => false,
        });
        if let Some(fault) = ended {
            return Some(fault.excuse.clone());
        }
        let outage = |fault: &Fault| faults.outage(plan, fault, node, |it| it.reaches(line.at));
        let hits =
            |about: Option<&About>, fault: &Fault| hits(plan, node, about, fault, &outage(fault));
        match (complaint.kind, &complaint.about) {
            (_, about @ Some(About::OwnHalf(_) | About::Detached(_))) => {
                let own = |fault: &Fault| fault.node == *node && fault.what == Broken::Disk;
                let needs = |fault: &Fault| own(fault) && hits(about.as_ref(), fault);
                self.follows(faults, line.at, needs)
            }
            (FindingKind::DeviceError, about) => {
                let needs = |fault: &Fault| hits(about.as_ref(), fault);
                let later = plan.requests_are_missed_after().as_secs_f64();
                self.follows_later(faults, line.at, later, needs)
            }
            (FindingKind::FileSystemError, about) => {
                let lost = is_lost(plan, faults, node, line.at);
                let needs = |fault: &Fault| lost && hits(about.as_ref(), fault);
                self.follows(faults, line.at, needs)
            }
            (FindingKind::Eviction, Some(About::Node(number))) => {
                let gone = plan.nodes.get(usize::from(*number))?;
                let is_it = |fault: &Fault| {
                    let cluster = matches!(
                        fault.layer(),
                        Some(LayerKind::Membership | LayerKind::O2cb | LayerKind::Ocfs2)
                    );
                    let whole = !matches!(fault.what, Broken::Process { .. } | Broken::Disk);
                    let outage = outage(fault);
                    let apart = match &outage {
                        // By what the cluster says, or by what it writes to a disk.
                        Outage::Networks(lost) => {
                            plan.loses_cluster(node, lost)
                                || plan.any_needs(&gone.name, node, &outage)
                        }
                        Outage::Whole | Outage::Layer(_) => whole || cluster,
                    };
                    fault.node == gone.name && fault.concerns(node) && apart
                };
                self.follows(faults, line.at, is_it)
            }
            _ => None,
        }
    }

    /// The excuse of the first fault of that time that is meant; an expectation that excuses has come true.
    fn follows(
        &mut self,
        faults: &Faults,
        at: f64,
        meant: impl Fn(&Fault) -> bool,
    ) -> Option<Excuse> {
        self.follows_later(faults, at, 0.0, meant)
    }

    /// The same, where what was lost may be missed so many seconds later.
    fn follows_later(
        &mut self,
        faults: &Faults,
        at: f64,
        later: f64,
        meant: impl Fn(&Fault) -> bool,
    ) -> Option<Excuse> {
        let mut excuse = None;
        let reaching = faults.iter().filter(|it| it.reaches_later(at, later));
        for fault in reaching.filter(|it| meant(it)) {
            if let Broken::Served {
                expectation: Some(number),
            } = fault.what
                && let Some(declared) = self.declared.get_mut(number)
            {
                declared.met = true;
            }
            excuse.get_or_insert_with(|| fault.excuse.clone());
        }
        excuse
    }

    fn note(
        &mut self,
        kind: FindingKind,
        about: Option<String>,
        source: Source,
        seen: Seen<'_>,
        excuse: Option<Excuse>,
    ) -> bool {
        let counts = excuse.is_none();
        let known = self.findings.iter_mut().find(|it| {
            it.kind == kind
                && it.node == seen.node.as_str()
                && it.about == about
                && it.source == source
                && it.excuse == excuse
                // Without a device or a node, the words tell what it is about.
                && (about.is_some() || same_words(&it.text, seen.text))
                // A layer's states are few, and each is worth its words.
                && kind != FindingKind::LayerState
        });
        match known {
            Some(finding) => {
                finding.count += 1;
                finding.until = finding.until.max(seen.at);
            }
            None => self.findings.push(Finding {
                at: seen.at,
                until: seen.at,
                count: 1,
                node: seen.node.to_string(),
                phase: seen.phase.cloned(),
                kind,
                about,
                source,
                text: seen.text.to_owned(),
                excuse,
                trace: Vec::new(),
            }),
        }
        counts
    }
}

impl Declared {
    /// What did not come.
    fn lack(&self) -> String {
        let what = match &self.expectation {
            Expectation::KernelLog { pattern, on } => {
                let on = names(on);
                format!("that a kernel of {on} writes a line that matches `{pattern}`: none did")
            }
            Expectation::ErrorsOf { nodes } => {
                let nodes = names(nodes);
                format!("errors of devices that need {nodes}: there was none")
            }
            Expectation::FencesItself { node } => {
                format!("that {node} fences itself: it did not")
            }
            Expectation::Fails { kind } => {
                format!("to fail with {kind}: it did not fail")
            }
        };
        format!("step {} expects {what}", self.step)
    }
}

/// Whether a device of `node` needs what is at fault; without a name, any of them.
fn hits(
    plan: &Plan,
    node: &NodeName,
    about: Option<&About>,
    fault: &Fault,
    outage: &Outage,
) -> bool {
    if !fault.harms() || !fault.concerns(node) {
        return false;
    }
    if fault.what == Broken::Disk {
        return match about {
            Some(About::Device(name) | About::OwnHalf(name) | About::Detached(name)) => {
                plan.lies_on_disk(node, Some(name), &fault.node)
            }
            Some(About::Node(_)) => false,
            None => plan.lies_on_disk(node, None, &fault.node),
        };
    }
    match about {
        Some(About::Device(device)) => plan.needs(node, device, &fault.node, outage),
        Some(About::OwnHalf(_) | About::Detached(_) | About::Node(_)) => false,
        None => plan.any_needs(node, &fault.node, outage),
    }
}

/// Whether a part of what a file system of `node` could be on lies on nodes that are at fault alone: where it lies elsewhere
/// too, the layers below must have kept the fault from it.
fn is_lost(plan: &Plan, all: &Faults, node: &NodeName, at: f64) -> bool {
    let broken = |name: &NodeName| {
        let mut each = all.iter();
        each.any(|it| {
            let felt =
                it.node == *name && it.hides_the_disk() && it.concerns(node) && it.reaches(at);
            felt && match &all.outage(plan, it, node, |it| it.reaches(at)) {
                // The way to the disk is another network.
                outage @ Outage::Networks(_) => plan.any_needs(node, name, outage),
                Outage::Whole | Outage::Layer(_) => true,
            }
        })
    };
    let names = plan.nodes.iter().map(|one| one.name.clone());
    let sound: Vec<NodeName> = names.filter(|name| !broken(name)).collect();
    let mut devices = plan.devices.get(node).into_iter().flatten();
    devices.any(|device| !device.blocks.is_held_by(&sound))
}

/// Whether two lines differ in nothing but numbers.
fn same_words(one: &str, other: &str) -> bool {
    let words = |text: &str| text.replace(|c: char| c.is_ascii_hexdigit(), "");
    words(one) == words(other)
}

/// What a complaint is about, as the record has it.
fn name(plan: &Plan, about: About) -> String {
    match about {
        About::Device(device) | About::OwnHalf(device) | About::Detached(device) => device,
        About::Node(number) => match plan.nodes.get(usize::from(number)) {
            Some(node) => node.name.to_string(),
            None => format!("node {number}"),
        },
    }
}

#[cfg(test)]
mod tests;
