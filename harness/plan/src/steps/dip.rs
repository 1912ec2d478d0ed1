//! `dip`: what a step did to those who wrote in the background meanwhile.

use std::time::Duration;

use super::{PlannedStep, StepTable, Walk};
use crate::diagnostic::suggest::did_you_mean;
use crate::diagnostic::{Diagnostic, Span};
use crate::document::read::At;
use crate::document::table::table;
use crate::plan::Action;
use crate::values::names::StepLabel;
use crate::values::units::Percent;

/// The longest dip that can be allowed.
const LENGTH: Duration = Duration::from_secs(3600);

/// When something went on: from the place of the step that began it to that of the one after which it was over.
#[derive(Debug, Clone, Copy)]
struct Stretch {
    from: usize,
    to: usize,
}

table! {
    /// Looks at what happened to the writers of a background step around another step, and sets limits to it.
    Written, "`dip`", r#"{ of = "load", around = "add_node" }"# {
        /// The `write` step in the background, which has been waited for.
        of: StepLabel, required r#""load""#;
        /// The step that happened meanwhile, such as an `add_node`.
        around: StepLabel, required r#""add_node""#;
        /// A `write` step of others, begun after that and before the end of `of`: what they add.
        newcomers: StepLabel, optional;
        /// The most that may be missing in a half second: `100%` allows a stand-still.
        depth: Percent, optional;
        /// The longest that the rate may stay below half of what it was before.
        length: Duration, optional;
        /// The least by which all together must exceed what was written before; may be negative.
        adds: Percent, optional;
    }
}

/// What a hot addition did to the writers of a background step; limits that are broken fail the scenario.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dip {
    /// A `write` step that ran in the background and has been waited for.
    pub of: StepLabel,
    /// The `add_node` step (or fault) that happened meanwhile.
    pub around: StepLabel,
    /// A `write` step of newcomers that ran, in the background too, beside `of` after `around`: what they add.
    pub newcomers: Option<StepLabel>,
    /// The most that may be missing in a half second, in hundredths of what was written before: 100 allows a stand-still.
    pub depth_percent: Option<u32>,
    /// The longest that the rate may stay below half of what it was before.
    pub length: Option<Duration>,
    /// The least by which all together must exceed what was written before, in hundredths; may be negative.
    pub adds_percent: Option<i32>,
}

impl StepTable for Written {
    type Planned = Dip;

    fn lower(&self, _span: &Span, _label: &StepLabel, walk: &mut Walk<'_>) -> Option<Dip> {
        walk.check_limits(self);
        let load = self.of.as_ref().and_then(|of| walk.load(of));
        let around = self.around.as_ref().and_then(|around| {
            let at = walk.find_before(around)?;
            let during = load.is_none_or(|load| load.from < at && at < load.to);
            if !during {
                let of = self.of.as_ref()?;
                walk.mistakes.note(
                    Diagnostic::at(
                        &around.span,
                        format!("`{}` was not done while `{}` wrote", around.value, of.value),
                    )
                    .label("no dip to be seen")
                    .also(&of.span, "those who wrote")
                    .help("name a step between the one that writes and its `wait`"),
                );
            }
            during.then_some(at)
        });
        let newcomers = self.newcomers.as_ref().map(|newcomers| {
            walk.newcomers(newcomers, load, around)
                .map(|()| newcomers.value.clone())
        });
        if let Some(adds) = self.adds.as_ref().filter(|_| self.newcomers.is_none()) {
            walk.mistakes.note(
                Diagnostic::at(&adds.span, "`adds` without newcomers")
                    .label("needs `newcomers`")
                    .help("name the `write` step of the newcomers: `newcomers = \"...\"`, or drop `adds`"),
            );
        }
        walk.check_kept(load?, self.of.as_ref()?);
        around?;
        Some(Dip {
            of: self.of.as_ref()?.value.clone(),
            around: self.around.as_ref()?.value.clone(),
            newcomers: match newcomers {
                Some(found) => Some(found?),
                None => None,
            },
            depth_percent: self
                .depth
                .as_ref()
                .and_then(|depth| u32::try_from(depth.0).ok()),
            length: self.length.as_ref().map(|length| length.value),
            adds_percent: self.adds.as_ref().map(|adds| adds.0),
        })
    }
}

impl PlannedStep for Dip {
    fn deadline(&self, _walk: &Walk<'_>) -> Duration {
        Duration::from_secs(10)
    }

    fn describe(&self) -> String {
        let newcomers = self.newcomers.as_ref();
        let added = newcomers.map_or_else(String::new, |step| {
            format!(", and what `{step}` adds to them")
        });
        let limits = [
            self.depth_percent
                .map(|depth| format!("at most {depth} % deep")),
            self.length
                .map(|length| format!("at most {} s long", length.as_secs_f32())),
            self.adds_percent
                .map(|adds| format!("at least {adds} % more in the end")),
        ];
        let limits: Vec<String> = limits.into_iter().flatten().collect();
        let must = if limits.is_empty() {
            String::new()
        } else {
            format!(": {}", limits.join(", "))
        };
        format!(
            "what `{}` did to the writers of `{}`{added}{must}",
            self.around, self.of
        )
    }
}

impl Walk<'_> {
    fn check_limits(&mut self, entry: &Written) {
        let limits = [
            ("depth", &entry.depth, 0, 100),
            ("adds", &entry.adds, -100, 10_000),
        ];
        for (key, given, least, most) in limits {
            if let Some(given) = given.as_ref().filter(|it| !(least..=most).contains(&it.0)) {
                self.mistakes.note(
                    Diagnostic::at(&given.span, format!("impossible `{key}`: {}", given.value))
                        .label("out of range")
                        .help(format!("give {} to {}", Percent(least), Percent(most))),
                );
            }
        }
        if let Some(length) = entry.length.as_ref().filter(|it| it.value > LENGTH) {
            self.mistakes.note(
                Diagnostic::at(&length.span, "impossible `length`")
                    .label("out of range")
                    .help("give at most 60m"),
            );
        }
    }

    /// When the `write` step went on in the background; it must be over.
    fn load(&mut self, of: &At<StepLabel>) -> Option<Stretch> {
        let from = self.find_write(of)?;
        if let Some(to) = self.find_wait(&of.value) {
            return Some(Stretch { from, to });
        }
        let help = format!(
            "put a step `wait = {{ step = \"{}\" }}` before this one",
            of.value
        );
        let background = self.topology.writing.iter();
        let running = background.map(|it| &it.label).any(|it| *it == of.value);
        self.mistakes.note(if running {
            Diagnostic::at(&of.span, format!("`{}` may still be writing", of.value))
                .label("its rate is not known to the end")
                .help(help)
        } else {
            Diagnostic::at(&of.span, format!("`{}` did not run in the background", of.value))
                .label("nothing was done while it wrote")
                .help("add `background = true` to that step, and a `wait` step for it after what was done meanwhile")
        });
        None
    }

    /// A run that is forked in between knows nothing of the rates before.
    fn check_kept(&mut self, load: Stretch, of: &At<StepLabel>) {
        let since = self.taken[load.from..].iter().map(|step| &step.label);
        let labels = self.entries.iter().zip(self.labels);
        let kept = labels
            .filter(|(_, label)| since.clone().any(|other| other == *label))
            .find_map(|(entry, _)| entry.checkpoint.as_ref());
        if let Some(kept) = kept {
            self.mistakes.note(
                Diagnostic::at(&kept.span, "a checkpoint between a `write` and its `dip`")
                    .label("a run that is forked from it would not know the rates")
                    .also(&of.span, "looked at here")
                    .help("give the checkpoint to a step before the `write`, or drop it"),
            );
        }
    }

    /// Those who came write after they have come, and while the others still do.
    fn newcomers(
        &mut self,
        newcomers: &At<StepLabel>,
        load: Option<Stretch>,
        around: Option<usize>,
    ) -> Option<()> {
        let from = self.find_write(newcomers)?;
        let running = self.topology.writing.iter();
        if running.map(|it| &it.label).any(|it| *it == newcomers.value) {
            self.mistakes.note(
                Diagnostic::at(
                    &newcomers.span,
                    format!("`{}` may still be writing", newcomers.value),
                )
                .label("its rate is not known to the end")
                .help(format!(
                    "put a step `wait = {{ step = \"{}\" }}` before this one",
                    newcomers.value
                )),
            );
            return None;
        }
        let (load, around) = (load?, around?);
        if from < around || load.to < from {
            self.mistakes.note(
                Diagnostic::at(
                    &newcomers.span,
                    format!("`{}` did not write beside the others", newcomers.value),
                )
                .label("what it adds to them cannot be seen")
                .help("put that step after what was done, and before the `wait` for the others"),
            );
            return None;
        }
        Some(())
    }

    fn find_write(&mut self, label: &At<StepLabel>) -> Option<usize> {
        let at = self.find_before(label)?;
        if matches!(self.taken[at].action, Action::Write(_)) {
            return Some(at);
        }
        self.mistakes.note(
            Diagnostic::at(&label.span, format!("`{}` is no `write` step", label.value))
                .label("the times of its acknowledgements are not known")
                .help("name a step with `write`: it keeps them"),
        );
        None
    }

    fn find_wait(&self, label: &StepLabel) -> Option<usize> {
        self.taken
            .iter()
            .position(|step| matches!(&step.action, Action::Wait(wait) if wait.step == *label))
    }

    /// The place of an earlier step among those taken.
    fn find_before(&mut self, label: &At<StepLabel>) -> Option<usize> {
        if let Some(at) = self.taken.iter().position(|it| it.label == label.value) {
            return Some(at);
        }
        let diagnostic = match self.labels.iter().position(|it| *it == label.value) {
            Some(at) if at < self.now => return None, // that step itself was wrong
            Some(_) => Diagnostic::at(
                &label.span,
                format!("`{}` has not begun at this step", label.value),
            )
            .label("comes later")
            .help("move this step after it"),
            None => Diagnostic::at(&label.span, format!("unknown step `{}`", label.value))
                .label("no step has this label")
                .help(did_you_mean(
                    label.as_str(),
                    "steps",
                    self.labels[..self.now].iter().map(StepLabel::as_str),
                )),
        };
        self.mistakes.note(diagnostic);
        None
    }
}
