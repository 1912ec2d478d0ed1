//! Comparisons played through as `sanlab compare` does: runs in the order AB BA AB ..., all pairs so far judged after each.

use std::collections::BTreeMap;

use fastrand::Rng;
use sanlab_report::comparison::{self, Rules};
use sanlab_report::measure::Measure;
use sanlab_report::series::{Figures, Series};
use sanlab_report::verdict::{Judgement, Verdict};

use crate::noise::Noise;

/// A comparison gives up after so many.
pub(crate) const MOST_PAIRS: usize = 20;

/// What is played, many times over.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Play {
    pub(crate) measure: Measure,
    pub(crate) noise: Noise,
    /// The coefficient of variation between runs of a side.
    pub(crate) spread: f64,
    /// What B's figures are by A's.
    pub(crate) ratio: f64,
}

/// What came of it.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) regressed: usize,
    pub(crate) improved: usize,
    pub(crate) no_change: usize,
    pub(crate) undecided: usize,
    /// How many pairs each took.
    pub(crate) pairs: Vec<usize>,
}

impl Play {
    /// `times` comparisons, each with a seed of its own.
    pub(crate) fn tally(self, times: u64) -> Tally {
        let mut tally = Tally::default();
        for seed in 0..times {
            let (verdict, pairs) = self.once(seed);
            *match verdict {
                Verdict::Regressed => &mut tally.regressed,
                Verdict::Improved => &mut tally.improved,
                Verdict::NoChange => &mut tally.no_change,
                Verdict::Undecided => &mut tally.undecided,
            } += 1;
            tally.pairs.push(pairs);
        }
        tally.pairs.sort_unstable();
        tally
    }

    fn once(self, seed: u64) -> (Verdict, usize) {
        let mut rng = Rng::with_seed(seed);
        let factors = self.noise.factors(self.spread, 2 * MOST_PAIRS, &mut rng);
        let (a, b) = sides(&factors, self.ratio);
        let run = |figure: &f64| vec![figures([(self.measure, *figure)].into())];
        let (a, b): (Vec<_>, Vec<_>) = (a.iter().map(run).collect(), b.iter().map(run).collect());
        until_firm(&Rules::new(seed), &a, &b)
    }
}

/// The figures of A and of B from the runs' factors, in the order in which runs are done.
pub(crate) fn sides(factors: &[f64], ratio: f64) -> (Vec<f64>, Vec<f64>) {
    let pair = |(i, two): (usize, &[f64])| {
        let (a, b) = if i % 2 == 0 {
            (two[0], two[1])
        } else {
            (two[1], two[0])
        };
        (40.0 * a, 40.0 * b * ratio)
    };
    factors.chunks_exact(2).enumerate().map(pair).unzip()
}

/// As many as `sanlab compare` wants where nobody says otherwise.
const FEWEST_PAIRS: usize = 4;

/// The verdict of the whole, and how many pairs it took.
pub(crate) fn until_firm(
    rules: &Rules,
    a: &[Vec<Figures>],
    b: &[Vec<Figures>],
) -> (Verdict, usize) {
    let (judgements, pairs) = until_enough(rules, a, b);
    (comparison::overall(&judgements), pairs)
}

/// Judges after every pair, and ends by the rule that `sanlab compare` ends by; what is said then, and how many pairs it took.
pub(crate) fn until_enough(
    rules: &Rules,
    a: &[Vec<Figures>],
    b: &[Vec<Figures>],
) -> (Vec<Judgement>, usize) {
    let judged = |pairs| comparison::judge(rules, &a[..pairs], &b[..pairs]).expect("sides fit");
    for pairs in FEWEST_PAIRS..a.len() {
        let judgements = judged(pairs);
        if comparison::is_enough(&judgements, pairs, FEWEST_PAIRS) {
            return (judgements, pairs);
        }
    }
    (judged(a.len()), a.len())
}

/// A run that measured one step once.
pub(crate) fn figures(measures: BTreeMap<Measure, f64>) -> Figures {
    Figures {
        series: Series {
            scenario: "throughput/two-nodes".to_owned(),
            step: "dd".to_owned(),
            dimensions: BTreeMap::from([("accelerator".to_owned(), "tcg".to_owned())]),
        },
        started: 0.0,
        origin: BTreeMap::new(),
        repetitions: measures
            .into_iter()
            .map(|(measure, figure)| (measure, vec![figure]))
            .collect(),
    }
}

impl Tally {
    /// In 100 comparisons.
    pub(crate) fn percent(&self, count: usize) -> f64 {
        100.0 * count as f64 / self.pairs.len() as f64
    }

    /// Verdicts in percent, and how many pairs the middling comparison and nine of ten took.
    pub(crate) fn columns(&self) -> String {
        let pairs =
            |share: usize| self.pairs[(self.pairs.len() * share / 100).min(self.pairs.len() - 1)];
        format!(
            "{:9.1} {:9.1} {:9.1} {:9.1} {:7} {:6}",
            self.percent(self.regressed),
            self.percent(self.improved),
            self.percent(self.no_change),
            self.percent(self.undecided),
            pairs(50),
            pairs(90)
        )
    }
}

/// The line above them.
pub(crate) const HEAD: &str =
    "noise      spread  effect  regressed  improved no change undecided  median 9 of 10";
