//! What is counted, by the example of instructions: equivalence margin 2 %, all runs of a side together.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use fastrand::Rng;
use sanlab_report::comparison::Rules;
use sanlab_report::measure::Measure;
use sanlab_report::series::Figures;
use sanlab_report::verdict::Verdict;

use crate::noise::Noise;
use crate::play::{HEAD, MOST_PAIRS, Play, Tally, figures, until_firm};

const TIMES: u64 = 100;

fn line(table: &mut String, noise: Noise, spread: f64, more: f64) -> Tally {
    let play = Play {
        measure: Measure::Instructions,
        noise,
        spread,
        ratio: 1.0 + more,
    };
    let tally = play.tally(TIMES);
    writeln!(
        table,
        "{:<10} {:4.1} %  {:4.0} %  {}",
        format!("{noise:?}"),
        100.0 * spread,
        100.0 * more,
        tally.columns()
    )
    .expect("a string takes everything");
    tally
}

#[test]
fn false_alarms_of_what_is_counted() {
    let mut table = format!("{HEAD}\n");
    for noise in Noise::ALL {
        for (spread, most) in [(0.003, 0.0), (0.01, 1.0), (0.02, 3.0)] {
            let tally = line(&mut table, noise, spread, 0.0);
            let alarms = tally.percent(tally.regressed + tally.improved);
            assert!(alarms <= most, "{noise:?} {spread}: {tally:?}");
        }
    }
    insta::assert_snapshot!(table);
}

/// A cost of 4 % is found by four runs a side, where nothing disturbs what is counted.
#[test]
fn a_cost_of_four_percent_of_what_is_counted() {
    let mut table = format!("{HEAD}\n");
    for noise in Noise::ALL {
        let tally = line(&mut table, noise, 0.005, 0.04);
        let in_four = tally.pairs.iter().filter(|pairs| **pairs <= 4).count();
        if noise == Noise::Disturbed {
            assert!(tally.percent(tally.regressed) >= 70.0, "{tally:?}");
        } else {
            assert!(
                tally.percent(tally.regressed) >= 99.0,
                "{noise:?}: {tally:?}"
            );
            assert!(tally.percent(in_four) >= 85.0, "{noise:?}: {tally:?}");
        }
        assert_eq!(tally.improved, 0, "{noise:?}");
    }
    insta::assert_snapshot!(table);
}

/// A cost that every other repetition pays, as of retransmissions: the lower half of the repetitions does not know of it.
#[test]
fn a_cost_that_some_repetitions_pay_is_found() {
    let (mut found, mut alarms) = (0, 0);
    for seed in 0..TIMES {
        let mut rng = Rng::with_seed(seed);
        let mut side = |some: f64| -> Vec<Vec<Figures>> {
            let run = |_| {
                let ripple = Noise::Disturbed.factors(0.005, 4, &mut rng);
                let costs = [1.0, some, 1.0, some];
                let repetitions = ripple.iter().zip(costs).map(|(one, cost)| 1e6 / one * cost);
                let mut figures = figures(BTreeMap::new());
                let repetitions = repetitions.collect();
                figures
                    .repetitions
                    .insert(Measure::Instructions, repetitions);
                vec![figures]
            };
            (0..MOST_PAIRS).map(run).collect()
        };
        let (a, same, b) = (side(1.0), side(1.0), side(1.15));
        let rules = Rules::new(seed);
        found += usize::from(until_firm(&rules, &a, &b).0 == Verdict::Regressed);
        let same = until_firm(&rules, &a, &same).0;
        alarms += usize::from(same.is_difference());
    }
    assert!(found >= 90, "{found} of {TIMES}");
    assert!(alarms <= 1, "{alarms} of {TIMES}");
}

/// One comparison after another of one thing with itself, counted to within a percent: a hundred of them, and no alarm.
#[test]
fn a_hundred_comparisons_of_a_thing_with_itself() {
    for noise in [Noise::Normal, Noise::Heavy, Noise::Drifting, Noise::Bimodal] {
        let play = Play {
            measure: Measure::Instructions,
            noise,
            spread: 0.0075,
            ratio: 1.0,
        };
        let tally = play.tally(100);
        assert_eq!(tally.regressed + tally.improved, 0, "{noise:?}: {tally:?}");
        assert!(tally.no_change >= 99, "{noise:?}: {tally:?}");
    }
}
