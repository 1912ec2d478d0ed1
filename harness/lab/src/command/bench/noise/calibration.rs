//! Costs that are known: how they are made, and how large they must be.

use std::path::Path;

use sanlab_report::measure::Measure;
use sanlab_report::verdict::Judgement;

use crate::LabError;
use crate::comparing::given::Given;
use crate::comparing::side::Side;

/// The delay of each request that is tried first, milliseconds.
pub(super) const PROBE_DELAY: u32 = 20;
/// What requests are split to first, KiB.
pub(super) const PROBE_KIB: u32 = 4;
/// The largest pieces that make any difference: requests are not larger.
const MOST_KIB: u32 = 1024;

/// The scenario with servers that wait before each request. nbdkit of this age knows whole milliseconds only.
pub(super) fn delayed(scenario: &Path, milliseconds: u32) -> Result<Side, LabError> {
    let given = [
        "layer.nbd.filters=[\"delay\"]".to_owned(),
        format!(
            "layer.nbd.options=[\"delay-read={milliseconds}ms\", \"delay-write={milliseconds}ms\"]"
        ),
    ];
    Side::load(scenario, Given::parse(&given)?)
}

/// The scenario with servers that do each request in pieces of so many KiB: more work, no waiting.
pub(super) fn split(scenario: &Path, kib: u32) -> Result<Side, LabError> {
    let given = [
        "layer.nbd.filters=[\"blocksize\"]".to_owned(),
        format!("layer.nbd.options=[\"maxdata={kib}k\", \"maxlen={kib}k\"]"),
    ];
    Side::load(scenario, Given::parse(&given)?)
}

/// By how much longer the same takes for each millisecond of delay, by a measure of throughput and as a share: of the step that
/// suffers least, so that every step suffers as much as is wanted.
pub(super) fn slope(
    seen: &[Judgement],
    measure: Measure,
    milliseconds: u32,
) -> Result<f64, LabError> {
    let longer = |it: &Judgement| (1.0 / it.ratio - 1.0) / f64::from(milliseconds);
    let steps = seen.iter().filter(|it| it.measure == measure);
    let least = steps.map(longer).reduce(f64::min);
    match least {
        Some(slope) if slope.is_finite() && slope > 0.0 => Ok(slope),
        other => Err(LabError::Measure {
            what: format!("slow the scenario down by {milliseconds} ms a request"),
            seen: format!(
                "each millisecond made it {:.2} % slower",
                other.unwrap_or(f64::NAN) * 100.0
            ),
        }),
    }
}

/// The delay, in whole milliseconds, that takes at least such a share of the throughput away: 0.2 leaves four fifths. No finer
/// than it can be.
pub(super) fn delay(slope: f64, share: f64) -> u32 {
    let longer = 1.0 / (1.0 - share) - 1.0;
    // A hair less than a whole one is a whole one.
    let wanted = (longer / slope - 0.05).ceil().clamp(1.0, 1e4);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "between 1 and 10000"
    )]
    let whole = wanted as u32;
    whole
}

/// What splitting to [`PROBE_KIB`] costs in instructions, as a share: of the step that it costs least. `None`: nothing counted.
pub(super) fn cost(seen: &[Judgement]) -> Option<f64> {
    let steps = seen.iter().filter(|it| it.measure == Measure::Instructions);
    steps.map(|it| it.ratio - 1.0).reduce(f64::min)
}

/// The largest pieces, a power of two of KiB, that cost at least such a share: the cost goes with the number of pieces.
pub(super) fn kib(cost: f64, share: f64) -> u32 {
    let mut kib = PROBE_KIB;
    while kib < MOST_KIB && cost * f64::from(PROBE_KIB) / f64::from(kib * 2) >= share {
        kib *= 2;
    }
    kib
}

#[cfg(test)]
mod tests {
    use sanlab_report::verdict::Verdict;

    use super::*;

    fn judged(measure: Measure, ratio: f64) -> Judgement {
        Judgement {
            step: "write".to_owned(),
            measure,
            verdict: Verdict::Undecided,
            ratio,
            interval: (ratio, ratio),
            p: 0.5,
            margin: 0.05,
            within: None,
            noise_floor: None,
            a: Vec::new(),
            b: Vec::new(),
        }
    }

    #[test]
    fn a_delay_costs_what_it_should() {
        // 25 ms a MiB; two requests side by side, each 8 ms late: 33 ms a MiB. The other step suffers more.
        let seen = [
            judged(Measure::Throughput, 25.0 / 33.0),
            judged(Measure::Throughput, 0.5),
            judged(Measure::Instructions, 1.0),
        ];
        let slope = slope(&seen, Measure::Throughput, 8).unwrap();
        assert!((slope - 0.04).abs() < 1e-9, "{slope}");
        // 2.8 ms and 6.25 ms would be exact.
        assert_eq!((delay(slope, 0.1), delay(slope, 0.2)), (3, 7));
        assert_eq!(delay(0.05, 0.2), 5);
        assert_eq!(delay(10.0, 0.1), 1);
    }

    #[test]
    fn a_delay_that_slows_nothing_down_is_no_measure() {
        let faster = [judged(Measure::Throughput, 1.01)];
        let refused = super::slope(&faster, Measure::Throughput, 8).unwrap_err();
        assert!(refused.to_string().contains("% slower"), "{refused}");
        assert!(super::slope(&[], Measure::Throughput, 8).is_err());
    }

    #[test]
    fn pieces_are_as_large_as_their_cost_allows() {
        let seen = [
            judged(Measure::Instructions, 1.30),
            judged(Measure::Instructions, 1.17),
        ];
        let cost = cost(&seen).unwrap();
        assert_eq!(kib(cost, 0.04), 16);
        assert_eq!(kib(0.01, 0.04), PROBE_KIB);
        assert_eq!(super::cost(&[judged(Measure::Throughput, 0.9)]), None);
    }
}
