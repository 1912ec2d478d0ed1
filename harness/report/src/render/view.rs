//! What a report says of comparisons, baselines, trends and failures, in words and figures. The renderers lay it out, and say
//! nothing else: a terminal, a page, a comment and a test report agree.

use std::collections::BTreeMap;

use sanlab_record::{Failure, KnownBy, Outcome};

use crate::load::LoadedRun;
use crate::load::series::Series;
use crate::render::apart::apart;
use crate::render::moment;
use crate::render::number::{beginning, change, count, figure, probability, seconds, share};
use crate::render::report::Report;
use crate::statistics::median;
use crate::verdict::baseline::AgainstBaseline;
use crate::verdict::change_point::ChangePoint;
use crate::verdict::comparison::{Comparison, contradictions};
use crate::verdict::trend::Trend;
use crate::verdict::{Judgement, Verdict};

/// What stands for a side, or a run, that was given nothing.
pub(crate) const AS_IT_IS: &str = "as the scenario says";

/// How many characters of a dimension's value are shown.
const VALUE: usize = 48;

/// Two sides of a scenario.
pub(crate) struct ComparisonView<'a> {
    pub(crate) title: &'a str,
    pub(crate) scenario: &'a str,
    pub(crate) verdict: Verdict,
    /// What A and B were given, `mtu=1500`; of a side that was given nothing, nothing.
    pub(crate) a: Vec<String>,
    pub(crate) b: Vec<String>,
    /// `12 pairs in 6 min 52 s`.
    pub(crate) took: String,
    pub(crate) began: String,
    pub(crate) seed: u64,
    pub(crate) rows: Vec<JudgementView<'a>>,
    /// Sentences on measures that contradict each other.
    pub(crate) contradictions: Vec<String>,
}

/// Runs against a baseline.
pub(crate) struct BaselineView<'a> {
    pub(crate) name: &'a str,
    pub(crate) verdict: Verdict,
    pub(crate) rows: Vec<JudgementView<'a>>,
    /// Series that could not be compared: which kind, to follow the word "series", and each of them. Kinds that there are.
    pub(crate) others: Vec<(&'static str, Vec<String>)>,
}

/// One measure of one step.
pub(crate) struct JudgementView<'a> {
    /// For drawings.
    pub(crate) judgement: &'a Judgement,
    /// Where several scenarios stand in one table.
    pub(crate) scenario: Option<&'a str>,
    pub(crate) step: &'a str,
    /// What tells its series from others of the same step in the same table, `mtu=1500`.
    pub(crate) apart: Vec<String>,
    pub(crate) measure: &'static str,
    pub(crate) unit: &'static str,
    /// The medians of the runs of A and B.
    pub(crate) a: String,
    pub(crate) b: String,
    /// B by A.
    pub(crate) change: String,
    pub(crate) interval: String,
    pub(crate) p: String,
    /// For `no change`: within how much.
    pub(crate) within: Option<String>,
    /// `5 %`, with the word why where noise decides.
    pub(crate) margin: String,
    /// `4 + 4`, A's and B's.
    pub(crate) runs: String,
}

/// One measure of one series over time.
pub(crate) struct TrendView<'a> {
    /// For drawings.
    pub(crate) trend: &'a Trend,
    /// As in [`JudgementView::apart`].
    pub(crate) apart: Vec<String>,
    pub(crate) measure: &'static str,
    pub(crate) unit: &'static str,
    pub(crate) latest: String,
    /// How the latest run stands.
    pub(crate) stands: String,
    pub(crate) changes: Vec<ChangeView>,
}

/// Where a series' level changed.
pub(crate) struct ChangeView {
    /// `-12 % on 2026-11-09 12:00 UTC`.
    pub(crate) short: String,
    /// From what to what as well, and what else was new in that run.
    pub(crate) whole: String,
}

impl<'a> ComparisonView<'a> {
    pub(crate) fn new(comparison: &'a Comparison) -> Self {
        let rows = comparison.judgements.iter();
        Self {
            title: &comparison.title,
            scenario: &comparison.scenario,
            verdict: comparison.verdict,
            a: settings(&comparison.a.settings),
            b: settings(&comparison.b.settings),
            took: format!(
                "{} in {}",
                count(comparison.pairs, "pair"),
                seconds(comparison.seconds)
            ),
            began: moment::utc(comparison.started),
            seed: comparison.rules.seed,
            rows: rows.map(JudgementView::new).collect(),
            contradictions: contradictions(&comparison.judgements),
        }
    }
}

impl<'a> BaselineView<'a> {
    pub(crate) fn new(against: &'a AgainstBaseline) -> Self {
        let all = || against.series.iter().map(|one| &one.series);
        let row = |one: &'a crate::verdict::baseline::AgainstSeries| JudgementView {
            scenario: Some(&one.series.scenario),
            apart: told_apart(&one.series, all()),
            ..JudgementView::new(&one.judgement)
        };
        let texts = |series: &[Series]| series.iter().map(Series::to_string).collect();
        let others: [(_, Vec<String>); 2] = [
            ("that the baseline does not have", texts(&against.unknown)),
            ("of the baseline that were not run", texts(&against.missing)),
        ];
        Self {
            name: &against.name,
            verdict: against.verdict,
            rows: against.series.iter().map(row).collect(),
            others: others
                .into_iter()
                .filter(|(_, series)| !series.is_empty())
                .collect(),
        }
    }
}

impl<'a> JudgementView<'a> {
    fn new(judgement: &'a Judgement) -> Self {
        let (low, high) = judgement.interval;
        let margin = share(judgement.margin);
        let is_noise = judgement
            .noise_floor
            .is_some_and(|floor| floor >= judgement.margin);
        Self {
            judgement,
            scenario: None,
            step: &judgement.step,
            apart: Vec::new(),
            measure: judgement.measure.title(),
            unit: judgement.measure.unit(),
            a: middle(&judgement.a),
            b: middle(&judgement.b),
            change: change(judgement.ratio),
            interval: format!("{} to {}", change(low), change(high)),
            p: probability(judgement.p),
            within: judgement.within.map(share),
            margin: if is_noise {
                format!("{margin} (noise floor)")
            } else {
                margin
            },
            runs: format!("{} + {}", judgement.a.len(), judgement.b.len()),
        }
    }

    /// The step; where several scenarios stand in one table, with its scenario and what tells its series from others.
    pub(crate) fn name(&self) -> String {
        let step = joined(self.step, &self.apart);
        match self.scenario {
            Some(scenario) => format!("{scenario} {step}"),
            None => step,
        }
    }

    pub(crate) const fn verdict(&self) -> Verdict {
        self.judgement.verdict
    }
}

impl<'a> TrendView<'a> {
    /// All of a report, in their order.
    pub(crate) fn all(trends: &'a [Trend]) -> Vec<Self> {
        let all = || trends.iter().map(|trend| &trend.series);
        let view = |trend: &'a Trend| Self {
            trend,
            apart: told_apart(&trend.series, all()),
            measure: trend.measure.title(),
            unit: trend.measure.unit(),
            latest: figure(trend.points.last().map_or(f64::NAN, |point| point.mean)),
            stands: trend.says(),
            changes: trend
                .changes
                .iter()
                .filter_map(|change| ChangeView::new(trend, change))
                .collect(),
        };
        trends.iter().map(view).collect()
    }
}

impl TrendView<'_> {
    /// Scenario, step and what tells its series from others.
    pub(crate) fn name(&self) -> String {
        let Series { scenario, step, .. } = &self.trend.series;
        joined(&format!("{scenario} {step}"), &self.apart)
    }
}

impl ChangeView {
    fn new(trend: &Trend, found: &ChangePoint) -> Option<Self> {
        let now = trend.points.get(found.index)?;
        let when = moment::utc(now.started);
        let by = change(found.after / found.before);
        let mut whole = format!(
            "{when}: {} → {} {} ({by}, p {})",
            figure(found.before),
            figure(found.after),
            trend.measure.unit(),
            probability(found.p)
        );
        let before = found.index.checked_sub(1);
        let before = before.and_then(|index| trend.points.get(index));
        let news: Vec<String> = before
            .into_iter()
            .flat_map(|before| {
                now.origin.iter().filter_map(|(key, value)| {
                    let old = before.origin.get(key).map_or("nothing", String::as_str);
                    (old != value && key != "seed").then(|| format!("{key} {old} → {value}"))
                })
            })
            .collect();
        if !news.is_empty() {
            whole.push_str("; new in that run: ");
            whole.push_str(&news.join(", "));
        }
        Some(Self {
            short: format!("{by} on {when}"),
            whole,
        })
    }
}

/// `mtu=1500`, one a setting.
pub(crate) fn settings(settings: &BTreeMap<String, String>) -> Vec<String> {
    let pairs = settings.iter();
    pairs.map(|(key, value)| format!("{key}={value}")).collect()
}

/// A name, and what tells it from others of that name.
pub(crate) fn joined(name: &str, apart: &[String]) -> String {
    apart
        .iter()
        .fold(name.to_owned(), |all, one| all + " " + one)
}

/// Settings on one line.
pub(crate) fn given(settings: &[String]) -> String {
    if settings.is_empty() {
        return AS_IT_IS.to_owned();
    }
    settings.join(" ")
}

/// The runs that failed otherwise than is known, or were broken, and why.
pub(crate) fn failures(report: &Report) -> Vec<(&LoadedRun, &Failure)> {
    let runs = report.runs.iter();
    runs.filter_map(|run| match &run.record.outcome {
        Outcome::Failed(failure) | Outcome::Broken(failure) => Some((run, failure)),
        _ => None,
    })
    .collect()
}

/// The failures that are known: of each scenario with its settings the latest, and why it fails.
pub(crate) fn known_failures(report: &Report) -> Vec<(&LoadedRun, &Failure, &KnownBy)> {
    let mut latest = BTreeMap::new();
    for run in &report.runs {
        if let Outcome::KnownFailure { failure, known } = &run.record.outcome {
            let name = (&run.record.scenario, &run.record.settings);
            latest.insert(name, (run, failure, known));
        }
    }
    latest.into_values().collect()
}

/// The text as the target of a link, if it is an address of the web and nothing else: a record is not to be trusted.
pub(crate) fn web_address(text: &str) -> Option<&str> {
    let (scheme, rest) = text.split_once("://")?;
    let is_web = ["http", "https"]
        .iter()
        .any(|web| scheme.eq_ignore_ascii_case(web));
    // What RFC 3986 has in an address.
    let may_be =
        |character: char| character.is_ascii_graphic() && !"\"<>\\^`{|}".contains(character);
    (is_web && !rest.is_empty() && rest.chars().all(may_be)).then_some(text)
}

/// The first lines of a message, where the cause stands, and how many more there are.
pub(crate) fn head(message: &str, most: usize) -> Vec<String> {
    let mut lines: Vec<_> = message.lines().take(most).map(str::to_owned).collect();
    let more = message.lines().count() - lines.len();
    if more > 0 {
        lines.push(format!("... and {}", count(more, "more line")));
    }
    lines
}

fn middle(figures: &[f64]) -> String {
    figure(median(figures).unwrap_or(f64::NAN))
}

fn told_apart<'s>(series: &'s Series, all: impl Iterator<Item = &'s Series>) -> Vec<String> {
    let pairs = apart(series, all).into_iter();
    pairs
        .map(|(key, value)| format!("{key}={}", beginning(value, VALUE)))
        .collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::{TrendView, web_address};
    use crate::load::measure::Measure;
    use crate::load::series::Series;
    use crate::verdict::change_point::ChangePoint;
    use crate::verdict::trend::{Point, Trend};

    #[test]
    fn only_what_is_an_address_of_the_web_is_linked() {
        for text in [
            "https://lore.kernel.org/all/20261122120000.1@example.org/",
            "http://[::1]:8080/a?b=1&c=%20#d",
            "HTTPS://example.org",
        ] {
            assert_eq!(web_address(text), Some(text));
        }
        for text in [
            "javascript:alert(1)",
            "javascript://example.org/%0aalert(1)",
            "data:text/html,<script>",
            "<20261122120000.1@example.org>",
            "https://",
            "https://example.org/ and more",
            "https://example.org/\"onclick=\"alert(1)",
            "https://example.org/<script>",
            "https://example.org/\n",
            " https://example.org",
            "commit 0123456789ab",
        ] {
            assert_eq!(web_address(text), None, "{text}");
        }
    }

    #[test]
    fn a_change_names_what_was_new_then() {
        let point = |mean, kernel: &str, seed: &str| Point {
            started: 0.0,
            mean,
            low: mean,
            high: mean,
            origin: BTreeMap::from([
                ("kernel.x86".to_owned(), kernel.to_owned()),
                ("qemu".to_owned(), "7.2".to_owned()),
                ("seed".to_owned(), seed.to_owned()),
            ]),
        };
        let trend = Trend {
            series: Series {
                scenario: "s".to_owned(),
                step: "dd".to_owned(),
                dimensions: BTreeMap::new(),
            },
            measure: Measure::Throughput,
            points: vec![point(40.0, "6.1.0-49", "1"), point(30.0, "6.1.0-50", "2")],
            changes: vec![ChangePoint {
                index: 1,
                before: 40.0,
                after: 30.0,
                p: 0.002,
            }],
            standing: None,
        };
        let views = TrendView::all(std::slice::from_ref(&trend));
        assert_eq!(
            views[0].changes[0].whole,
            "1970-01-01 00:00 UTC: 40.0 → 30.0 MiB/s (−25 %, p 0.002); new in that run: \
             kernel.x86 6.1.0-49 → 6.1.0-50"
        );
    }
}
