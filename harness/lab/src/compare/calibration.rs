//! The noise floors of this host, from runs of a scenario that was compared with itself. Pure.

use std::collections::BTreeMap;

use sanlab_report::comparison::{self, CompareError, FEWEST_PAIRS, Rules};
use sanlab_report::measure::Measure;
use sanlab_report::number;
use sanlab_report::statistics::{coefficient_of_variation, quantile};
use sanlab_report::table::Table;
use sanlab_report::verdict::Judgement;

use super::course::Sides;

/// How many comparisons are drawn from the pairs.
const DRAWN: u32 = 100;

/// What runs of the same thing say about the host that they ran on.
#[derive(Debug)]
pub(crate) struct Calibration {
    /// By measure, as a share: what 95 of 100 comparisons stayed below.
    pub(crate) noise_floors: BTreeMap<Measure, f64>,
    /// How many of the drawn comparisons found a difference that does not exist: judged without noise floors, and with these.
    pub(crate) false_alarms: (usize, usize),
}

impl Calibration {
    /// How many comparisons it rests on. They share runs, so that they are not independent.
    pub(crate) const COMPARISONS: u32 = DRAWN;

    /// Draws comparisons of [`FEWEST_PAIRS`] pairs from all pairs, the fewest of which every measure is judged, since those are
    /// the noisiest. Both runs of a pair stay together, as what is timed is compared within pairs. Which of them is A is drawn.
    pub(crate) fn of(sides: &Sides, seed: u64) -> Result<Self, CompareError> {
        let drawn = draw(sides, seed);
        let judge = |noise_floors: &BTreeMap<Measure, f64>| -> Result<Vec<_>, CompareError> {
            let one = |(number, sides): (u64, &Sides)| {
                let mut rules = Rules::new(seed.wrapping_add(number));
                rules.noise_floors.clone_from(noise_floors);
                comparison::judge(&rules, &sides.a, &sides.b)
            };
            (0..).zip(&drawn).map(one).collect()
        };
        let without = judge(&BTreeMap::new())?;
        let noise_floors = comparison::noise_floors(&without);
        let with = judge(&noise_floors)?;
        Ok(Self {
            false_alarms: (false_alarms(&without), false_alarms(&with)),
            noise_floors,
        })
    }

    /// By step and measure of the runs that it was made of, then what became of the drawn comparisons.
    pub(crate) fn table(&self, sides: &Sides) -> String {
        let mut table = Table::new(&[
            "step",
            "measure",
            ">median",
            "unit",
            ">spread between runs",
            ">noise floor",
            ">runs",
        ]);
        let mut steps: BTreeMap<&str, BTreeMap<Measure, Vec<f64>>> = BTreeMap::new();
        for figures in sides.a.iter().chain(&sides.b).flatten() {
            let of_step = steps.entry(&figures.series.step).or_default();
            for measure in Measure::ALL {
                if let Some(figure) = figures.figure(measure) {
                    of_step.entry(measure).or_default().push(figure);
                }
            }
        }
        for (step, measures) in steps {
            for (measure, runs) in measures {
                let percent = |share: Option<f64>| {
                    share.map_or_else(|| "-".to_owned(), |share| format!("{:.1} %", share * 100.0))
                };
                table.row([
                    step.to_owned(),
                    measure.title().to_owned(),
                    quantile(&runs, 0.5).map_or_else(|| "-".to_owned(), number::figure),
                    measure.unit().to_owned(),
                    percent(coefficient_of_variation(&runs)),
                    percent(self.noise_floors.get(&measure).copied()),
                    runs.len().to_string(),
                ]);
            }
        }
        let (without, with) = self.false_alarms;
        format!(
            "\n{}\n{DRAWN} comparisons of {FEWEST_PAIRS} pairs each were drawn from {}: {without} report a difference without noise \
             floors, {with} with these.\n",
            table.render(0),
            number::count(sides.a.len(), "pair"),
        )
    }
}

fn draw(sides: &Sides, seed: u64) -> Vec<Sides> {
    let pairs = sides.a.iter().zip(&sides.b);
    let mut random = fastrand::Rng::with_seed(seed);
    let one = |_| {
        let mut drawn = Sides::default();
        for (a, b) in random.choose_multiple(pairs.clone(), FEWEST_PAIRS) {
            let (a, b) = if random.bool() { (a, b) } else { (b, a) };
            drawn.a.push(a.clone());
            drawn.b.push(b.clone());
        }
        drawn
    };
    (0..DRAWN).map(one).collect()
}

fn false_alarms(comparisons: &[Vec<Judgement>]) -> usize {
    let is_alarm = |it: &Judgement| it.verdict.is_difference();
    comparisons
        .iter()
        .filter(|judgements| judgements.iter().any(is_alarm))
        .count()
}

#[cfg(test)]
mod tests {
    use sanlab_report::series::{Figures, Series};

    use super::*;

    /// Runs in turns. The throughput of each pair is another, within a pair it differs by up to `jitter`. Where A ran, `more`
    /// instructions were counted: something that is no difference of the sides, but of where their runs stood.
    fn sides(pairs: u32, jitter: f64, more: f64) -> Sides {
        let run = |throughput: f64, instructions: f64| {
            vec![Figures {
                series: Series {
                    scenario: "two_nodes".to_owned(),
                    step: "write".to_owned(),
                    dimensions: BTreeMap::new(),
                },
                started: 0.0,
                origin: BTreeMap::new(),
                repetitions: BTreeMap::from([
                    (Measure::Throughput, vec![throughput]),
                    (Measure::Instructions, vec![instructions]),
                ]),
            }]
        };
        let mut sides = Sides::default();
        for pair in 0..pairs {
            let pace = 40.0 + f64::from(pair);
            let faster = 1.0 + jitter * f64::from(pair % 3) / 2.0;
            sides.a.push(run(pace, 1e6 * (1.0 + more)));
            sides.b.push(run(pace * faster, 1e6));
        }
        sides
    }

    #[test]
    fn pairs_stay_together_and_every_comparison_has_five() {
        let sides = sides(9, 0.0, 0.0);
        let drawn = draw(&sides, 1);
        assert_eq!(drawn.len(), 100);
        for comparison in &drawn {
            assert_eq!((comparison.a.len(), comparison.b.len()), (5, 5));
            for (a, b) in comparison.a.iter().zip(&comparison.b) {
                // Without jitter the runs of a pair are alike, those of two pairs are not.
                let throughput = |run: &[Figures]| run[0].figure(Measure::Throughput);
                assert_eq!(throughput(a), throughput(b));
            }
        }
        let firsts = |drawn: &[Sides]| -> Vec<Vec<Figures>> {
            drawn.iter().map(|it| it.a[0].clone()).collect()
        };
        assert_eq!(firsts(&drawn), firsts(&draw(&sides, 1)));
        assert_ne!(firsts(&drawn), firsts(&draw(&sides, 2)));
    }

    #[test]
    fn floors_follow_the_noise_within_pairs() {
        let floor = |jitter: f64| {
            let calibration = Calibration::of(&sides(12, jitter, 0.0), 1).unwrap();
            calibration.noise_floors[&Measure::Throughput]
        };
        assert!(floor(0.0) < 1e-9, "{}", floor(0.0));
        let (quiet, noisy) = (floor(0.02), floor(0.2));
        assert!((0.005..0.02).contains(&quiet), "{quiet}");
        assert!((0.05..0.2).contains(&noisy), "{noisy}");
    }

    #[test]
    fn a_table_has_a_line_for_each_measure_and_what_was_drawn() {
        let sides = sides(12, 0.2, 0.04);
        let calibration = Calibration::of(&sides, 1).unwrap();
        let (without, with) = calibration.false_alarms;
        assert!(with < without, "{calibration:?}");
        insta::assert_snapshot!(calibration.table(&sides));
    }
}
