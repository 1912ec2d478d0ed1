//! Change points of series of thirty runs, with and without a step.

use std::fmt::Write as _;

use fastrand::Rng;
use sanlab_report::change_point;

use crate::noise::Noise;

const TIMES: u64 = 100;

#[test]
fn change_points_of_known_series() {
    let mut table = "noise      spread   step  with any  at the place (within 2 runs)\n".to_owned();
    for noise in [
        Noise::Normal,
        Noise::Heavy,
        Noise::Bimodal,
        Noise::Disturbed,
    ] {
        // In thousandths.
        for (spread, step) in [(50, 0), (50, 100), (50, 200), (3, 20)] {
            let (factor, share) = (f64::from(spread) / 1000.0, f64::from(step) / 1000.0);
            let (mut any, mut placed) = (0u32, 0u32);
            for seed in 0..TIMES {
                let mut rng = Rng::with_seed(seed);
                let mut means = noise.factors(factor, 30, &mut rng);
                means[18..].iter_mut().for_each(|mean| *mean *= 1.0 - share);
                let found = change_point::find(&means, seed);
                any += u32::from(!found.is_empty());
                placed += u32::from(found.iter().any(|change| change.index.abs_diff(18) <= 2));
            }
            writeln!(
                table,
                "{:<10} {:4.1} %  {:3.0} %  {any:8}  {placed:12}",
                format!("{noise:?}"),
                100.0 * factor,
                100.0 * share
            )
            .unwrap();
            if step == 0 {
                assert!(any <= 3, "{noise:?}: {any} of {TIMES}");
            }
            if step == 200 || spread == 3 {
                assert!(placed >= 80, "{noise:?} {step}: {placed} of {TIMES}");
            }
        }
    }
    insta::assert_snapshot!(table);
}
