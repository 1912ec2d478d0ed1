//! What is timed, by the example of throughput: equivalence margin 5 %, judged pair by pair.

use std::fmt::Write as _;

use sanlab_report::measure::Measure;

use crate::noise::Noise;
use crate::play::{HEAD, Play, Tally};

const TIMES: u64 = 100;

fn line(table: &mut String, noise: Noise, spread: f64, slower: f64) -> Tally {
    let play = Play {
        measure: Measure::Throughput,
        noise,
        spread,
        ratio: 1.0 - slower,
    };
    let tally = play.tally(TIMES);
    writeln!(
        table,
        "{:<10} {:4.0} %  {:4.0} %  {}",
        format!("{noise:?}"),
        100.0 * spread,
        100.0 * slower,
        tally.columns()
    )
    .expect("a string takes everything");
    tally
}

/// Of a thing with itself, what comes of it other than `no change` or `undecided` is a false alarm.
#[test]
fn false_alarms_of_what_is_timed() {
    let mut table = format!("{HEAD}\n");
    let (mut alarms, mut all) = (0, 0);
    for noise in Noise::ALL {
        for spread in [0.01, 0.05, 0.10] {
            let tally = line(&mut table, noise, spread, 0.0);
            let false_alarms = tally.regressed + tally.improved;
            assert!(
                tally.percent(false_alarms) <= 5.0,
                "{noise:?} {spread}: {tally:?}"
            );
            alarms += false_alarms;
            all += tally.pairs.len();
        }
    }
    insta::assert_snapshot!(table);
    assert!(100 * alarms <= 2 * all, "{alarms} of {all}");
}

/// Of a thing and one that is slower.
#[test]
fn slowdowns_of_what_is_timed() {
    let mut table = format!("{HEAD}\n");
    for noise in Noise::ALL {
        for (slower, found) in [(0.10, 60.0), (0.20, 85.0)] {
            let tally = line(&mut table, noise, 0.05, slower);
            assert!(
                tally.percent(tally.regressed) >= found,
                "{noise:?} {slower}: {tally:?}"
            );
            assert_eq!(tally.improved, 0, "{noise:?} {slower}");
            assert!(tally.no_change <= 1, "{noise:?} {slower}");
        }
    }
    insta::assert_snapshot!(table);
}
