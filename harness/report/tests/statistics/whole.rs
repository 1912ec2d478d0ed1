//! A whole comparison: five measures of a step that go up and down together, and the verdict of all.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use fastrand::Rng;
use sanlab_report::comparison::Rules;
use sanlab_report::measure::Measure;
use sanlab_report::series::Figures;
use sanlab_report::verdict::Verdict;

use crate::noise::Noise;
use crate::play::{MOST_PAIRS, figures, sides, until_firm};

/// The figures of A and of B.
type Sides = (Vec<f64>, Vec<f64>);

const TIMES: u64 = 40;

/// Runs of both sides: the host disturbs what is timed, all of it at once; what is counted has a small spread of its own.
fn runs(noise: Noise, spread: f64, slower: f64, seed: u64) -> [Vec<Vec<Figures>>; 2] {
    let mut rng = Rng::with_seed(seed);
    let mut side_by_measure = |own: f64, shared: &[f64], power: f64, ratio: f64| {
        let own = Noise::Normal.factors(own, shared.len(), &mut rng);
        let factors: Vec<f64> = shared
            .iter()
            .zip(own)
            .map(|(s, o)| s.powf(power) * o)
            .collect();
        sides(&factors, ratio)
    };
    let shared = noise.factors(spread, 2 * MOST_PAIRS, &mut Rng::with_seed(!seed));
    let columns: Vec<(Measure, Sides)> = [
        (Measure::Throughput, 0.01, 1.0, 1.0 - slower),
        (Measure::GuestThroughput, 0.02, 1.0, 1.0 - slower),
        (Measure::Instructions, 0.004, 0.0, 1.0),
        (Measure::HostCpu, 0.02, -0.5, 1.0),
        (Measure::SwitchBytes, 0.0001, 0.0, 1.0),
    ]
    .map(|(measure, own, power, ratio)| (measure, side_by_measure(own, &shared, power, ratio)))
    .into();
    let side = |of: fn(&Sides) -> &Vec<f64>| -> Vec<_> {
        (0..MOST_PAIRS)
            .map(|run| {
                let measures: BTreeMap<Measure, f64> = columns
                    .iter()
                    .map(|(measure, both)| (*measure, of(both)[run]))
                    .collect();
                vec![figures(measures)]
            })
            .collect()
    };
    [side(|both| &both.0), side(|both| &both.1)]
}

#[test]
fn verdicts_of_the_whole() {
    let mut table =
        "noise      spread  slower  regressed  improved no change undecided  mean pairs\n"
            .to_owned();
    for noise in [Noise::Normal, Noise::Drifting] {
        for (spread, slower) in [
            (0.03, 0.0),
            (0.03, 0.10),
            (0.03, 0.20),
            (0.08, 0.0),
            (0.08, 0.20),
        ] {
            let mut verdicts: BTreeMap<Verdict, u32> = BTreeMap::new();
            let mut pairs = 0;
            for seed in 0..TIMES {
                let [a, b] = runs(noise, spread, slower, seed);
                let (verdict, took) = until_firm(&Rules::new(seed), &a, &b);
                *verdicts.entry(verdict).or_default() += 1;
                pairs += took;
            }
            let percent = |verdict| {
                100.0 * f64::from(verdicts.get(&verdict).copied().unwrap_or(0)) / TIMES as f64
            };
            writeln!(
                table,
                "{:<10} {:4.0} %  {:4.0} %  {:9.1} {:9.1} {:9.1} {:9.1} {:11.1}",
                format!("{noise:?}"),
                100.0 * spread,
                100.0 * slower,
                percent(Verdict::Regressed),
                percent(Verdict::Improved),
                percent(Verdict::NoChange),
                percent(Verdict::Undecided),
                pairs as f64 / TIMES as f64
            )
            .unwrap();
            if slower == 0.0 {
                let alarms = percent(Verdict::Regressed) + percent(Verdict::Improved);
                assert!(alarms <= 5.0, "{noise:?} {spread}: {verdicts:?}");
            } else if spread < 0.05 {
                assert!(
                    percent(Verdict::Regressed) >= 98.0,
                    "{noise:?}: {verdicts:?}"
                );
            }
        }
    }
    insta::assert_snapshot!(table);
}
