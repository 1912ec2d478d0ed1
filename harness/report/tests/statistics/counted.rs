//! What is counted, by the example of instructions: equivalence margin 2 %, all runs of a side together.

use std::fmt::Write as _;

use sanlab_report::measure::Measure;

use crate::noise::Noise;
use crate::play::{HEAD, Play, Tally};

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
            assert!(tally.percent(in_four) >= 95.0, "{noise:?}: {tally:?}");
        }
        assert_eq!(tally.improved, 0, "{noise:?}");
    }
    insta::assert_snapshot!(table);
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
