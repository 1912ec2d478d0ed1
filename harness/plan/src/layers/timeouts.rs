//! Time-outs of different layers must fit together: who is asked first must have given up first.

use std::time::Duration;

use crate::diagnostic::{Diagnostic, Mistakes, Span};
use crate::document::read::At;
use crate::document::value::show_duration;
use crate::layers::{WrittenLayer as Entry, drbd, gnbd, o2cb};

/// By how much a stall may outlast the time-out that ends it: the server is fenced, its paths are given up, what waited
/// is sent again.
const SLACK: Duration = Duration::from_secs(5);

/// Looks at all layers together. `mistimed`: why the scenario breaks the rules on purpose; what it breaks is then given
/// back instead of being refused.
pub(crate) fn check(
    layers: &[&At<Entry>],
    mistimed: Option<&At<String>>,
    mistakes: &mut Mistakes,
) -> Vec<String> {
    let mut found = Vec::new();
    let mut stall: Option<Stall> = None;
    let mut pairs = Vec::new();
    let mut clusters = Vec::new();
    for layer in layers {
        match &layer.value {
            // Impossible times have been reported already.
            Entry::Drbd(_) | Entry::Gnbd(_) if mistakes.any_within(&layer.span) => stall = None,
            Entry::Drbd(drbd) => {
                pairs.extend(Pair::of(drbd));
                stall = pairs.iter().max_by_key(|pair| pair.sum()).map(Pair::stall);
            }
            Entry::Gnbd(gnbd) => {
                stall = Patience::of(gnbd, &layer.span).map(|patience| {
                    found.extend(pairs.iter().filter_map(|pair| patience.against(pair)));
                    patience.stall()
                });
            }
            Entry::O2cb(o2cb) => clusters.push(o2cb),
            _ => {}
        }
    }
    for o2cb in clusters {
        found.extend(stall.iter().flat_map(|stall| stall.against(o2cb)));
    }
    match mistimed {
        None => {
            for diagnostic in found {
                mistakes.note(diagnostic);
            }
            Vec::new()
        }
        Some(reason) if found.is_empty() && mistakes.is_empty() => {
            mistakes.note(
                Diagnostic::at(&reason.span, "no time-outs contradict each other")
                    .label("a reason for what?")
                    .help("drop `mistimed`"),
            );
            Vec::new()
        }
        Some(_) => found
            .into_iter()
            .map(|diagnostic| diagnostic.title)
            .collect(),
    }
}

/// How long a DRBD node waits for its peer: until then it answers no request.
struct Pair<'d> {
    interval: &'d At<Duration>,
    timeout: &'d At<Duration>,
}

impl<'d> Pair<'d> {
    fn of(drbd: &'d drbd::Written) -> Option<Self> {
        Some(Self {
            interval: drbd.ping_interval.as_ref()?,
            timeout: drbd.ping_timeout.as_ref()?,
        })
    }

    fn sum(&self) -> Duration {
        self.interval.saturating_add(self.timeout.value)
    }

    fn words(&self) -> String {
        format!(
            "DRBD's `ping_interval` of {} + `ping_timeout` of {}",
            show_duration(&self.interval.value),
            show_duration(&self.timeout.value)
        )
    }

    /// Without anybody above who gives up, I/O stalls so long.
    fn stall(&self) -> Stall {
        Stall {
            length: self.sum(),
            words: format!("{} = {}", self.words(), show_duration(&self.sum())),
            span: self.interval.span.clone(),
        }
    }
}

/// How long GNBD's clients wait for a server.
struct Patience<'d> {
    key: &'static str,
    value: Duration,
    span: &'d Span,
}

impl<'d> Patience<'d> {
    /// `None`: for ever, or until the link is lost.
    fn of(gnbd: &'d gnbd::Written, span: &'d Span) -> Option<Self> {
        if gnbd.cached.as_ref()?.value {
            return None;
        }
        let patience = match (&gnbd.fail_fast, &gnbd.timeout) {
            (Some(time), _) => Self {
                key: "fail_fast",
                value: time.value,
                span: &time.span,
            },
            (None, Some(time)) => Self {
                key: "timeout",
                value: time.value,
                span: &time.span,
            },
            (None, None) => Self {
                key: "timeout",
                value: gnbd::TIMEOUT,
                span,
            },
        };
        (!patience.value.is_zero()).then_some(patience)
    }

    fn against(&self, pair: &Pair<'_>) -> Option<Diagnostic> {
        if self.value > pair.sum() {
            return None;
        }
        let (value, sum) = (show_duration(&self.value), show_duration(&pair.sum()));
        let diagnostic = Diagnostic::at(
            self.span,
            format!(
                "gnbd's `{}` of {value} is not above {} = {sum}",
                self.key,
                pair.words()
            ),
        )
        .label("the paths to the surviving storage would fail as well")
        .help(format!(
            "give more than {sum}, shorten DRBD's, or say why on purpose: `mistimed = \"...\"` at the top"
        ));
        let answers = "and so long it waits for the answer; until then it answers no request";
        Some(if pair.interval.span == pair.timeout.span {
            diagnostic.also(&pair.interval.span, "until then DRBD answers no request")
        } else {
            diagnostic
                .also(
                    &pair.interval.span,
                    "after so long in silence DRBD asks its peer",
                )
                .also(&pair.timeout.span, answers)
        })
    }

    fn stall(&self) -> Stall {
        let length = self.value.saturating_add(SLACK);
        Stall {
            length,
            words: format!(
                "gnbd's `{}` of {} + {} = {}",
                self.key,
                show_duration(&self.value),
                show_duration(&SLACK),
                show_duration(&length)
            ),
            span: self.span.clone(),
        }
    }
}

/// The longest that I/O is expected to hang while a storage is being lost.
struct Stall {
    length: Duration,
    words: String,
    span: Span,
}

impl Stall {
    /// Nodes that cannot write their heartbeats, or are busy waiting, must not be taken for dead.
    fn against(&self, o2cb: &o2cb::Written) -> Vec<Diagnostic> {
        let heartbeat = o2cb.heartbeat_threshold.as_ref().map(|threshold| {
            let dead = Duration::from_secs(2 * u64::from(threshold.value.saturating_sub(1)));
            let enough = self.length.as_secs() / 2 + 2;
            (
                dead,
                &threshold.span,
                format!(
                    "`heartbeat_threshold` of {}, ({0} - 1) * 2s = {},",
                    threshold.value,
                    show_duration(&dead)
                ),
                format!("`heartbeat_threshold = {enough}` or more"),
            )
        });
        let idle = o2cb.idle_timeout.as_ref().map(|idle| {
            (
                idle.value,
                &idle.span,
                format!("`idle_timeout` of {}", show_duration(&idle.value)),
                format!("more than {}", show_duration(&self.length)),
            )
        });
        let short = [heartbeat, idle].into_iter().flatten();
        short
            .filter(|(time, ..)| *time <= self.length)
            .map(|(_, span, what, enough)| {
                Diagnostic::at(span, format!("o2cb's {what} is not above {}", self.words))
                    .label("living nodes would be taken for dead")
                    .also(&self.span, "so long requests may hang")
                    .help(format!(
                        "give {enough}, or say why on purpose: `mistimed = \"...\"` at the top"
                    ))
            })
            .collect()
    }
}
