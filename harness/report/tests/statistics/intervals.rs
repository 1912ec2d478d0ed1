//! How often the interval holds the truth, at a single look: it is said to in 90 of 100 cases.

use std::fmt::Write as _;

use fastrand::Rng;
use sanlab_report::statistics;

use crate::noise::Noise;
use crate::play::sides;

const TIMES: u64 = 200;

#[test]
fn intervals_hold_the_truth() {
    let ratio = 0.9;
    let mut table =
        "noise       pairs  paired  unpaired   (truth within the interval, percent)\n".to_owned();
    for noise in [Noise::Normal, Noise::Heavy, Noise::Drifting, Noise::Bimodal] {
        for pairs in [4, 5, 8, 20] {
            let (mut paired, mut unpaired) = (0, 0);
            for seed in 0..TIMES {
                let mut rng = Rng::with_seed(seed);
                let (a, b) = sides(&noise.factors(0.05, 2 * pairs, &mut rng), ratio);
                let holds = |(low, high): (f64, f64)| u32::from(low <= ratio && ratio <= high);
                paired += holds(statistics::paired(&a, &b, seed).unwrap().interval);
                unpaired += holds(statistics::unpaired(&a, &b, seed).unwrap().interval);
            }
            let percent = |count: u32| 100.0 * f64::from(count) / TIMES as f64;
            let (paired, unpaired) = (percent(paired), percent(unpaired));
            writeln!(
                table,
                "{:<10} {pairs:6} {paired:7.1} {unpaired:9.1}",
                format!("{noise:?}")
            )
            .unwrap();
            assert!(
                paired >= 82.0 && unpaired >= 82.0,
                "{noise:?} {pairs}: {paired} {unpaired}"
            );
        }
    }
    insta::assert_snapshot!(table);
}
