//! `expect` on a step: trouble that it brings about on purpose. Each expectation must be able to come true, and none may
//! hide another.

use super::Walk;
use crate::devices::provided::serves;
use crate::diagnostic::suggest::quoted;
use crate::diagnostic::{Diagnostic, Span};
use crate::document::Action as Written;
use crate::document::expect::Sign;
use crate::document::read::At;
use crate::document::value::Nodes;
use crate::lower::patterns;
use crate::plan::{Action, Expectation, Joins, StepFailure};
use crate::values::names::NodeName;

/// What steps so far expect.
#[derive(Debug, Default)]
pub(super) struct InForce {
    logs: Vec<(At<String>, Vec<NodeName>)>,
    /// The nodes whose errors are expected, until they are restarted or their daemons started.
    errors: Vec<At<NodeName>>,
}

/// The step that says what it expects.
struct Present<'s> {
    /// Who was there before it.
    before: &'s [NodeName],
    /// `None`: it was wrong.
    action: Option<&'s Action>,
    /// Those that fence themselves.
    fenced: Vec<At<NodeName>>,
    /// It says that it fails.
    fails: bool,
}

impl Present<'_> {
    /// The nodes that it brings back.
    fn mended(&self) -> &[NodeName] {
        match self.action {
            Some(Action::Restart(restart)) => std::slice::from_ref(&restart.node),
            Some(Action::Start(start)) => &start.on,
            _ => &[],
        }
    }

    /// Whether it writes there with dd, and waits for that.
    fn writes_on(&self, node: &NodeName) -> bool {
        matches!(self.action, Some(Action::Dd(dd)) if !dd.background && dd.on.contains(node))
    }
}

fn placed<T: Clone>(value: &T, span: &Span) -> At<T> {
    At {
        value: value.clone(),
        span: span.clone(),
    }
}

impl Walk<'_> {
    /// Whether the present step says that it fails.
    pub(super) fn expects_failure(&self) -> bool {
        self.signs().any(|sign| matches!(sign, Sign::Fails(_)))
    }

    /// Why a failure would leave the present step half done, which no step after it could rely on; and what to do instead.
    fn half_done(&self, action: Option<&Action>) -> Option<(&'static str, &'static str)> {
        let several = match action {
            Some(Action::Mount(mount)) => mount.on.len() > 1,
            Some(Action::Unmount(unmount)) => unmount.on.len() > 1,
            _ => false,
        };
        match self.entries[self.now].action.as_deref()? {
            Written::AddNode(_) | Written::Restart(_) => Some((
                "its node would be half up",
                "let the node come up, and expect the failure of a step after this, such as a `mount` or a `run`",
            )),
            Written::Mount(_) | Written::Unmount(_) if several => Some((
                "it may fail on one node and be done on another",
                "give each node a step of its own",
            )),
            _ => None,
        }
    }

    fn signs(&self) -> impl Iterator<Item = &Sign> {
        let list = self.entries[self.now].expect.iter();
        let signs = list.flat_map(|list| list.0.iter().filter_map(|one| one.sign.as_ref()));
        signs.map(|sign| &sign.value)
    }

    /// What the present step expects, once it is lowered. `before`: who was there before it.
    pub(super) fn expect(
        &mut self,
        before: &[NodeName],
        action: Option<&Action>,
    ) -> Vec<Expectation> {
        let entries = self.entries;
        let list = entries[self.now].expect.as_ref();
        let signs = || list.into_iter().flat_map(|list| &list.0);
        let fenced = signs().filter_map(|one| {
            let sign = one.sign.as_ref()?;
            match &sign.value {
                Sign::FencesItself(node) => Some(placed(node, &sign.span)),
                _ => None,
            }
        });
        let present = Present {
            before,
            action,
            fenced: fenced.collect(),
            fails: self.expects_failure(),
        };
        if !present.fails {
            let mended = present.mended();
            let errors = &mut self.in_force.errors;
            errors.retain(|errors| !mended.contains(&errors.value));
        }
        if let Some(list) = list.filter(|list| list.0.is_empty()) {
            if !self.mistakes.any_within(&list.span) {
                self.mistakes.note(
                    Diagnostic::at(&list.span, "a list of no expectations")
                        .label("nothing is expected")
                        .help("say what is, such as `{ kernel_log = \"I/O error\" }`, or drop `expect`"),
                );
            }
            return Vec::new();
        }
        let mut failure = None;
        let mut expectations = Vec::new();
        for one in signs() {
            let Some(sign) = &one.sign else { continue };
            let span = &sign.span;
            if let Some(on) = &one.on
                && !matches!(sign.value, Sign::KernelLog(_))
            {
                self.mistakes.note(
                    Diagnostic::at(&on.span, "`on` without `kernel_log`")
                        .label("whose kernel log?")
                        .help("drop `on`, or give it to a `kernel_log`"),
                );
            }
            expectations.extend(match &sign.value {
                Sign::KernelLog(pattern) => {
                    self.kernel_log(&placed(pattern, span), one.on.as_ref(), &present)
                }
                Sign::ErrorsOf(nodes) => self.errors_of(&placed(nodes, span), &present),
                Sign::FencesItself(node) => self.fences_itself(&placed(node, span), &present),
                Sign::Fails(kind) => self.fails(*kind, span, action, &mut failure),
            });
        }
        expectations
    }

    fn kernel_log(
        &mut self,
        pattern: &At<String>,
        on: Option<&At<Nodes>>,
        present: &Present<'_>,
    ) -> Option<Expectation> {
        let right = patterns::check_selective(pattern, self.mistakes);
        let on = match on {
            None => self.ever_there(),
            Some(list) => {
                let names = self.topology.node_set.expand(list, self.mistakes)?;
                for name in &names {
                    self.check_heard(name, present);
                }
                names.into_iter().map(|name| name.value).collect()
            }
        };
        let mut logs = self.in_force.logs.iter();
        let common = logs.find_map(|(other, nodes)| {
            let node = nodes.iter().find(|node| on.contains(node))?;
            (other.value == pattern.value).then_some((&other.span, node))
        });
        if let Some((first, node)) = common {
            self.mistakes.note(
                Diagnostic::at(
                    &pattern.span,
                    format!("this is already expected in the kernel log of `{node}`"),
                )
                .label("one line would be enough for both")
                .also(first, "expected from here on, to the end of the run")
                .help("drop one of them, or give them different nodes with `on`"),
            );
        }
        self.in_force.logs.push((pattern.clone(), on.clone()));
        (right && !on.is_empty()).then(|| Expectation::KernelLog {
            pattern: pattern.value.clone(),
            on,
        })
    }

    /// Those that are there from the start, and those that some step adds.
    fn ever_there(&self) -> Vec<NodeName> {
        let nodes = self.topology.node_set.nodes.iter();
        nodes
            .filter(|node| node.joins == Joins::AtStart || self.comes(&node.name, 0))
            .map(|node| node.name.clone())
            .collect()
    }

    /// Whether a step from that place on brings the node in, or back.
    fn comes(&self, node: &NodeName, from: usize) -> bool {
        let mut actions = self.entries[from..].iter();
        actions.any(|entry| {
            let action = entry.action.as_ref().map(|action| &action.value);
            let comes = match action {
                Some(Written::AddNode(add)) => add.node.as_ref(),
                Some(Written::Restart(restart)) => restart.node.as_ref(),
                _ => None,
            };
            comes.is_some_and(|name| name.value == *node)
        })
    }

    fn check_heard(&mut self, name: &At<NodeName>, present: &Present<'_>) {
        let node = &name.value;
        let heard = present.before.contains(node) || self.comes(node, self.now);
        if !heard && self.topology.is_absent(node) {
            self.mistakes.note(
                Diagnostic::at(
                    &name.span,
                    format!("`{node}` writes no kernel log from here on"),
                )
                .label("is not there, and does not come")
                .help("name nodes that are there, or leave `on` out"),
            );
        }
    }

    fn errors_of(&mut self, list: &At<Nodes>, present: &Present<'_>) -> Option<Expectation> {
        let names = self.topology.node_set.expand(list, self.mistakes)?;
        let mut nodes = Vec::new();
        for name in names {
            if self.check_errors(&name, present) {
                nodes.push(name.value.clone());
                self.in_force.errors.push(name);
            }
        }
        (!nodes.is_empty()).then_some(Expectation::ErrorsOf { nodes })
    }

    fn check_errors(&mut self, name: &At<NodeName>, present: &Present<'_>) -> bool {
        let node = &name.value;
        if present.mended().contains(node) {
            self.note_mended(name);
            return false;
        }
        if !present.before.contains(node) && !self.topology.check_there(name, self.mistakes) {
            return false;
        }
        let resolved_stack = self.topology.resolved_stack;
        let layers = &resolved_stack.layers;
        let diagnostic = |title: String| Diagnostic::at(&name.span, title);
        let diagnostic = if !serves(layers, node) {
            if !resolved_stack.whole {
                return false;
            }
            let all = self.topology.node_set.nodes.iter().map(|node| &node.name);
            let servers: Vec<&NodeName> = all.filter(|name| serves(layers, name)).collect();
            diagnostic(format!("`{node}` serves nothing to others"))
                .label("no other node's device needs it")
                .help(if servers.is_empty() {
                    "drop this: no layer here lets one node serve another".to_owned()
                } else {
                    format!("name nodes that serve others: {}", quoted(servers))
                })
        } else if let Some(fenced) = present.fenced.iter().find(|other| other.value == *node) {
            diagnostic(format!("errors of `{node}` follow from its fencing"))
                .label("are excused by that")
                .also(&fenced.span, "fences itself")
                .help("drop `errors_of`")
        } else if let Some(first) = self.errors_in_force(node) {
            diagnostic(format!("errors of `{node}` are expected already"))
                .label("one error would be enough for both")
                .also(first, "expected from here on")
                .help(format!(
                    "drop one of them, or bring `{node}` back in between with a `restart` or a `start`"
                ))
        } else {
            return true;
        };
        self.mistakes.note(diagnostic);
        false
    }

    fn errors_in_force(&self, node: &NodeName) -> Option<&Span> {
        let mut errors = self.in_force.errors.iter();
        errors
            .find(|errors| errors.value == *node)
            .map(|errors| &errors.span)
    }

    fn note_mended(&mut self, name: &At<NodeName>) {
        let node = &name.value;
        self.mistakes.note(
            Diagnostic::at(&name.span, format!("this step brings `{node}` back"))
                .label("its trouble ends here")
                .help("give the expectation to the step that brings the trouble about"),
        );
    }

    fn fences_itself(&mut self, name: &At<NodeName>, present: &Present<'_>) -> Option<Expectation> {
        let node = &name.value;
        if present.mended().contains(node) {
            self.note_mended(name);
            self.topology.lose_track();
            return None;
        }
        if let Some(first) = self.errors_in_force(node) {
            let diagnostic = Diagnostic::at(
                &name.span,
                format!("errors of `{node}` are expected already"),
            )
            .label("those of its fencing would be enough for that")
            .also(first, "expected from here on")
            .help("drop `errors_of`: errors that follow from a fencing are excused");
            self.mistakes.note(diagnostic);
        }
        if present.writes_on(node) && !present.fails {
            self.mistakes.note(
                Diagnostic::at(&name.span, format!("`{node}` writes by `dd` in this step"))
                    .label("the `dd` there would fail")
                    .help("write with `write`, whose acknowledged blocks count even then, or expect that the step `fails`"),
            );
        }
        if !self.topology.fence(name, self.mistakes) {
            self.topology.lose_track();
            return None;
        }
        Some(Expectation::FencesItself { node: node.clone() })
    }

    fn fails<'s>(
        &mut self,
        kind: StepFailure,
        span: &'s Span,
        action: Option<&Action>,
        first: &mut Option<&'s Span>,
    ) -> Option<Expectation> {
        if let Some(Written::Wait(wait)) = self.entries[self.now].action.as_deref() {
            let label = wait.step.as_ref()?;
            self.mistakes.note(
                Diagnostic::at(span, "a failure expected of `wait`")
                    .label("it fails if the step does that it waits for")
                    .also(&label.span, "waits for this")
                    .help(format!(
                        "give this expectation to the step `{}`",
                        label.value
                    )),
            );
        }
        if let Some((why, remedy)) = self.half_done(action) {
            let word = self.entries[self.now]
                .action
                .as_ref()
                .map_or("", |it| it.word());
            let diagnostic = Diagnostic::at(span, format!("a failure expected of `{word}`"));
            self.mistakes.note(diagnostic.label(why).help(remedy));
        }
        if let Some(first) = first {
            self.mistakes.note(
                Diagnostic::at(span, "`fails` twice")
                    .label("a step fails in one way")
                    .also(first, "already here")
                    .help("drop one of them"),
            );
        }
        first.get_or_insert(span);
        Some(Expectation::Fails { kind })
    }
}
