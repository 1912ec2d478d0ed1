//! What came of the comparisons, as tables. Pure.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use sanlab_report::measure::Measure;
use sanlab_report::table::Table;
use sanlab_report::verdict::{Judgement, Verdict};

use super::super::median;
use super::groups::Groups;
use crate::quantity::took;

/// A comparison that was done.
#[derive(Debug, Clone)]
pub(super) struct Compared {
    pub(super) verdict: Verdict,
    pub(super) judgements: Vec<Judgement>,
    pub(super) pairs: usize,
    pub(super) seconds: f64,
}

/// Comparisons with something that is known to cost.
#[derive(Debug)]
pub(super) struct Searched {
    what: String,
    by: String,
    pub(super) comparisons: Vec<Compared>,
}

impl Searched {
    pub(super) fn new(what: &str, by: &str) -> Self {
        Self {
            what: what.to_owned(),
            by: by.to_owned(),
            comparisons: Vec::new(),
        }
    }
}

impl Compared {
    /// `no change after 6 pairs, 41.2 s`.
    pub(super) fn line(&self) -> String {
        let Self {
            verdict,
            pairs,
            seconds,
            ..
        } = self;
        format!(
            "{} after {pairs} pairs, {}",
            verdict.as_str(),
            took(*seconds)
        )
    }
}

const VERDICTS: [Verdict; 4] = [
    Verdict::NoChange,
    Verdict::Improved,
    Verdict::Undecided,
    Verdict::Regressed,
];

/// How often which verdict was reached, on the whole and by measure, and what it took.
pub(super) fn verdicts(title: &str, all: &[Compared]) -> String {
    let mut table = Table::new(&[
        "step",
        "measure",
        ">no change",
        ">improved",
        ">undecided",
        ">regressed",
    ]);
    let mut row = |step: &str, measure: &str, verdicts: &[Verdict]| {
        let count = |wanted: Verdict| verdicts.iter().filter(|it| **it == wanted).count();
        let counts = VERDICTS.map(|verdict| count(verdict).to_string());
        table.row(
            [step.to_owned(), measure.to_owned()]
                .into_iter()
                .chain(counts),
        );
    };
    let whole: Vec<Verdict> = all.iter().map(|it| it.verdict).collect();
    row("all", "all", &whole);
    for (step, measure) in kinds(all.iter().flat_map(|it| &it.judgements)) {
        let of = |it: &&Judgement| it.step == step && it.measure == measure;
        let verdicts: Vec<Verdict> = all
            .iter()
            .flat_map(|it| &it.judgements)
            .filter(of)
            .map(|it| it.verdict)
            .collect();
        row(&step, measure.title(), &verdicts);
    }
    let other = whole.iter().filter(|it| **it != Verdict::NoChange).count();
    format!(
        "\n{title}: {} comparisons, {other} with a verdict other than no change; {}\n\n{}",
        all.len(),
        effort(all),
        table.render(2)
    )
}

/// How many of the comparisons found what is known to be there, step by step.
pub(super) fn found(title: &str, rows: &[Searched], measure: Measure) -> String {
    let mut table = Table::new(&[
        "what",
        "made by",
        "step",
        ">found",
        ">of",
        ">seen",
        ">pairs: median",
        ">most",
    ]);
    let mut text = String::new();
    for searched in rows {
        let all = &searched.comparisons;
        let pairs: Vec<f64> = all.iter().map(|it| it.pairs as f64).collect();
        let most = all.iter().map(|it| it.pairs).max().unwrap_or(0);
        let mut row = |step: &str, found: usize, ratios: &[f64]| {
            let seen = median(ratios).map_or_else(
                || "-".to_owned(),
                |ratio| format!("{:+.1} %", (ratio - 1.0) * 100.0),
            );
            table.row([
                searched.what.clone(),
                searched.by.clone(),
                step.to_owned(),
                found.to_string(),
                all.len().to_string(),
                seen,
                median(&pairs).map_or_else(|| "-".to_owned(), |pairs| format!("{pairs:.0}")),
                most.to_string(),
            ]);
        };
        let is_found = |it: &Judgement| it.measure == measure && it.verdict == Verdict::Regressed;
        let any = all.iter().filter(|it| it.judgements.iter().any(is_found));
        row("any", any.count(), &[]);
        for (step, kind) in kinds(all.iter().flat_map(|it| &it.judgements)) {
            if kind == measure {
                let of_step: Vec<&Judgement> = all
                    .iter()
                    .flat_map(|it| &it.judgements)
                    .filter(|it| it.step == step && it.measure == measure)
                    .collect();
                let ratios: Vec<f64> = of_step.iter().map(|it| it.ratio).collect();
                let found = of_step.iter().filter(|it| is_found(it)).count();
                row(&step, found, &ratios);
            }
        }
        // Writing to a String cannot fail.
        let _ = writeln!(text, "  {}: {}", searched.what, effort(all));
    }
    format!("\n{title}\n\n{}\n{text}", table.render(2))
}

/// What comparisons by counted measures of groups of runs said.
pub(super) fn groups(groups: &Groups, runs: usize, judgements: &[Vec<Judgement>]) -> String {
    if groups.drawn.is_empty() {
        return format!("\nThe same with the same, by groups of runs: too few runs ({runs})\n");
    }
    let mut table = Table::new(&[
        "step",
        "measure",
        ">no change",
        ">improved",
        ">undecided",
        ">regressed",
        ">largest",
    ]);
    for (step, measure) in kinds(judgements.iter().flatten()) {
        if measure.is_timed() {
            continue;
        }
        let of: Vec<&Judgement> = judgements
            .iter()
            .flatten()
            .filter(|it| it.step == step && it.measure == measure)
            .collect();
        let counts = VERDICTS.map(|verdict| {
            let count = of.iter().filter(|it| it.verdict == verdict).count();
            count.to_string()
        });
        let largest = of
            .iter()
            .map(|it| (it.ratio - 1.0).abs())
            .fold(0.0, f64::max);
        table.row(
            [step.clone(), measure.title().to_owned()]
                .into_iter()
                .chain(counts)
                .chain([format!("{:.2} %", largest * 100.0)]),
        );
    }
    format!(
        "\nThe same with the same, by groups of {} runs each: {} comparisons drawn from {runs} runs, the first {} of them without a \
         run in common, the others of the same runs grouped anew\n\n{}",
        groups.drawn[0].a.len(),
        groups.drawn.len(),
        groups.apart,
        table.render(2)
    )
}

/// Noise floors by measure.
pub(super) fn floors(title: &str, floors: &BTreeMap<Measure, f64>) -> String {
    let mut table = Table::new(&["measure", ">floor"]);
    for (measure, floor) in floors {
        table.row([
            measure.title().to_owned(),
            format!("{:.2} %", floor * 100.0),
        ]);
    }
    format!("\n{title}\n\n{}", table.render(2))
}

/// Runs and time that comparisons took.
fn effort(all: &[Compared]) -> String {
    let pairs: Vec<f64> = all.iter().map(|it| it.pairs as f64).collect();
    let seconds: f64 = all.iter().map(|it| it.seconds).sum();
    let range = |of: fn(f64, f64) -> f64| pairs.iter().copied().reduce(of).unwrap_or(0.0);
    format!(
        "{:.0} to {:.0} pairs each, median {:.0}; {} in all",
        range(f64::min),
        range(f64::max),
        median(&pairs).unwrap_or(0.0),
        took(seconds)
    )
}

/// Steps and measures that there are, in the order of their first coming.
fn kinds<'a>(judgements: impl Iterator<Item = &'a Judgement>) -> Vec<(String, Measure)> {
    let mut kinds = Vec::new();
    for judgement in judgements {
        let kind = (judgement.step.clone(), judgement.measure);
        if !kinds.contains(&kind) {
            kinds.push(kind);
        }
    }
    kinds
}

#[cfg(test)]
mod tests {
    use super::super::groups::draw;
    use super::*;

    fn judgement(measure: Measure, verdict: Verdict, ratio: f64) -> Judgement {
        Judgement {
            step: "write".to_owned(),
            measure,
            verdict,
            ratio,
            interval: (ratio - 0.01, ratio + 0.01),
            p: 0.01,
            margin: 0.05,
            within: None,
            noise_floor: None,
            a: Vec::new(),
            b: Vec::new(),
        }
    }

    fn compared(
        throughput: (Verdict, f64),
        instructions: (Verdict, f64),
        pairs: usize,
    ) -> Compared {
        let judgements = vec![
            judgement(Measure::Throughput, throughput.0, throughput.1),
            judgement(Measure::Instructions, instructions.0, instructions.1),
        ];
        Compared {
            verdict: throughput.0.min(instructions.0),
            judgements,
            pairs,
            seconds: 60.0,
        }
    }

    fn some() -> Vec<Compared> {
        use Verdict::{NoChange, Regressed, Undecided};
        vec![
            compared((NoChange, 1.01), (NoChange, 1.0), 6),
            compared((Undecided, 0.95), (NoChange, 1.001), 20),
            compared((Regressed, 0.81), (NoChange, 0.999), 8),
        ]
    }

    #[test]
    fn verdicts_are_counted_by_measure_and_on_the_whole() {
        insta::assert_snapshot!(verdicts("The same with the same", &some()));
    }

    #[test]
    fn what_was_found_stands_beside_what_was_seen() {
        let mut searched = Searched::new("20 % slower", "delay 7 ms");
        searched.comparisons = some();
        insta::assert_snapshot!(found("Known slowdowns", &[searched], Measure::Throughput));
    }

    #[test]
    fn groups_say_how_they_were_made() {
        let judgements: Vec<Vec<Judgement>> = some().into_iter().map(|it| it.judgements).collect();
        insta::assert_snapshot!(groups(&draw(20, 4, 3, 1), 20, &judgements));
        let none = groups(&draw(3, 4, 3, 1), 3, &[]);
        assert!(none.contains("too few runs (3)"), "{none}");
    }
}
