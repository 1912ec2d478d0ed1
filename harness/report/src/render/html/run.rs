//! One run: how it ended, timeline, measurements, and every raw figure folded away.

use askama::Template;
use sanlab_record::{Dip, Outcome, RunRecord};

use super::badge::Badge;
use super::findings::{self, FindingRow};
use super::folds::{self, Fold};
use super::measured::{self, MeasuredStep};
use super::{WIDTHS, activity, phases};
use crate::render::chart;
use crate::render::view::{settings, web_address};
use crate::render::{moment, number};
use crate::statistics::median;

#[derive(Template)]
#[template(path = "run.html")]
pub(super) struct RunSection {
    anchor: String,
    badge: Badge,
    title: String,
    scenario: String,
    settings: Vec<String>,
    began: String,
    took: String,
    /// How and where it ended, and why.
    failure: Option<(String, String)>,
    known: Option<KnownView>,
    findings: Vec<FindingRow>,
    /// What is said of the findings that are not shown.
    more_findings: String,
    console_tail: Vec<(String, String)>,
    dips: Vec<DipView>,
    activity: Option<(String, String)>,
    legend: Vec<(usize, String)>,
    marks: Vec<MarkView>,
    measured: Vec<MeasuredStep>,
    works: Vec<String>,
    phases: Option<(String, String)>,
    folds: Vec<Fold>,
    facts: Vec<(String, String)>,
}

/// Why a failure is known.
struct KnownView {
    because: String,
    source: String,
    /// The source is an address that can be followed.
    is_address: bool,
}

struct DipView {
    title: String,
    before: String,
    during: String,
    after: String,
    depth: String,
    adds: String,
}

struct MarkView {
    at: String,
    title: String,
    grave: bool,
}

impl RunSection {
    pub(super) fn new(anchor: String, record: &RunRecord) -> Self {
        let activity = activity::of(record);
        let marks = activity.iter().flat_map(|activity| &activity.marks);
        let marks = marks.map(|mark| MarkView {
            at: chart::moment(mark.at),
            title: mark.title.clone(),
            grave: mark.grave,
        });
        let both = |draw: &dyn Fn(f64) -> String| (draw(WIDTHS.0), draw(WIDTHS.1));
        let bars = phases::bars(record);
        let (findings, more_findings) = findings::of(record);
        Self {
            anchor,
            badge: Badge::from(&record.outcome),
            title: record.title.clone(),
            scenario: record.scenario.clone(),
            settings: settings(&record.settings),
            began: moment::utc(record.started),
            took: number::seconds(record.seconds()),
            failure: failure(&record.outcome),
            known: KnownView::of(&record.outcome),
            findings,
            more_findings,
            console_tail: record
                .console_tail
                .iter()
                .map(|(node, lines)| (node.clone(), plain(&lines.join("\n"))))
                .collect(),
            dips: record.dips.iter().map(DipView::new).collect(),
            marks: marks.collect(),
            legend: activity.as_ref().map(activity::legend).unwrap_or_default(),
            activity: activity
                .map(|activity| both(&|width| chart::activity::draw(&activity, width))),
            measured: measured::steps(record),
            works: measured::works(record),
            phases: (!bars.is_empty())
                .then(|| both(&|width| chart::phases::draw("the run's phases", &bars, width))),
            folds: folds::of(record),
            facts: facts(record),
        }
    }
}

impl KnownView {
    fn of(outcome: &Outcome) -> Option<Self> {
        let Outcome::KnownFailure { known, .. } = outcome else {
            return None;
        };
        Some(Self {
            because: plain(&known.because),
            source: plain(&known.source),
            is_address: web_address(&known.source).is_some(),
        })
    }
}

impl DipView {
    fn new(dip: &Dip) -> Self {
        let figure = number::figure;
        Self {
            title: format!(
                "{} beside {}: {} to {}",
                dip.around,
                dip.of,
                chart::moment(dip.from),
                chart::moment(dip.to)
            ),
            before: figure(dip.before_mib_per_second),
            during: figure(dip.during_mib_per_second),
            after: dip.after_mib_per_second.map(figure).unwrap_or_default(),
            depth: format!(
                "{} less in the worst half second; below half for {}",
                number::share(dip.depth.clamp(-1e6, 1e6)),
                number::seconds(dip.length_seconds)
            ),
            adds: dip.adds.map_or_else(String::new, |adds| {
                let change = number::change(1.0 + adds);
                format!("with the newcomers {change} against before, all together")
            }),
        }
    }
}

fn failure(outcome: &Outcome) -> Option<(String, String)> {
    match outcome {
        Outcome::Passed => None,
        Outcome::Failed(failure)
        | Outcome::Broken(failure)
        | Outcome::KnownFailure { failure, .. } => Some((
            format!("{} in {}", outcome.as_str(), failure.phase),
            plain(&failure.message),
        )),
        Outcome::Skipped { reason } => Some((outcome.as_str().to_owned(), plain(reason))),
    }
}

/// Text of a console without what only a terminal understands: colours go, and what else is no text becomes U+FFFD.
pub(super) fn plain(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text.chars().peekable();
    while let Some(character) = rest.next() {
        match character {
            // ESC [ parameters letter: ECMA-48's control sequences.
            '\u{1b}' if rest.peek() == Some(&'[') => {
                rest.next();
                // The letter is the first that is no parameter, and goes as well.
                rest.by_ref()
                    .find(|letter| ('\u{40}'..='\u{7e}').contains(letter));
            }
            '\r' => {}
            '\n' | '\t' => plain.push(character),
            control if control.is_control() => plain.push('\u{fffd}'),
            other => plain.push(other),
        }
    }
    plain
}

/// The median of what its writers and readers reported, warm-ups left out.
pub(super) fn median_rate(record: &RunRecord) -> Option<f64> {
    let samples = record.samples.iter().filter(|sample| !sample.warm_up);
    let rates: Vec<f64> = samples.map(|sample| sample.mib_per_second).collect();
    median(&rates)
}

/// What it was run with.
fn facts(record: &RunRecord) -> Vec<(String, String)> {
    let mut facts = Vec::new();
    let mut say = |key: &str, value: String| facts.push((key.to_owned(), value));
    for (arch, accelerator) in &record.accelerator {
        let text = format!("{}: {}", accelerator.name, accelerator.reason);
        say(&format!("accelerator {arch}"), text);
    }
    let host = &record.host;
    let cpus = format!("{}, {} CPUs", host.cpu, host.cpus);
    say(
        "host",
        format!("{cpus}, {} MiB, Linux {}", host.memory_mib, host.kernel),
    );
    say("QEMU", record.qemu_version.clone());
    for (arch, image) in &record.images {
        let digest = number::short(&image.digest);
        let text = format!("{} {digest}, Linux {}", image.name, image.kernel_release);
        say(&format!("image {arch}"), text);
        for artefact in &image.artefacts {
            say(&format!("under test, {arch}"), artefact.to_string());
        }
    }
    say("MTU", record.mtu.to_string());
    say("seed", record.seed.to_string());
    for layer in &record.stack {
        let parameters = settings(&layer.parameters).join(" ");
        let text = format!("on {}: {parameters}", layer.on.join(", "));
        say(&format!("layer {}", layer.kind), text);
    }
    say("record", format!("format {}", record.format));
    facts
}

#[cfg(test)]
mod tests {
    use super::plain;

    #[test]
    fn a_consoles_text_is_plain() {
        assert_eq!(
            plain("[  1.0] \u{1b}[31mpanic\u{1b}[0m\r\n\ttail\u{7}\u{1b}[1"),
            "[  1.0] panic\n\ttail\u{fffd}"
        );
    }
}
