//! What a host's own drift makes of a series: how far its level lay apart from one session of runs to another, whatever was tested.

use std::collections::BTreeSet;

use crate::load::measure::Measure;
use crate::load::series::{Figures, Series};
use crate::statistics;

/// Runs further apart than this are of two sessions, in seconds.
const PAUSE: f64 = 3600.0;

/// From fewer sessions nothing is known of drift.
const FEWEST_SESSIONS: usize = 3;

/// As a share, what 95 of 100 pairs of sessions stay below; None where there are too few. `but` are runs that do not count, by the
/// time of their begin: those that are to be judged.
pub(crate) fn of(past: &[Figures], series: &Series, measure: Measure, but: &[f64]) -> Option<f64> {
    let judged: BTreeSet<u64> = but.iter().map(|started| moment(*started)).collect();
    let mut runs: Vec<(f64, f64)> = past
        .iter()
        .filter(|run| run.series == *series && !judged.contains(&moment(run.started)))
        .filter_map(|run| Some((run.started, run.figure(measure).filter(|it| *it > 0.0)?)))
        .collect();
    runs.sort_by(|one, other| one.0.total_cmp(&other.0));
    let sessions = runs.chunk_by(|one, other| other.0 - one.0 <= PAUSE);
    let levels: Vec<f64> = sessions
        .filter_map(|session| {
            let figures: Vec<f64> = session.iter().map(|(_, figure)| *figure).collect();
            statistics::median(&figures)
        })
        .collect();
    if levels.len() < FEWEST_SESSIONS {
        return None;
    }
    let apart: Vec<f64> = levels
        .iter()
        .enumerate()
        .flat_map(|(number, one)| {
            let later = &levels[number + 1..];
            later
                .iter()
                .map(move |other| (one / other).ln().abs().exp() - 1.0)
        })
        .collect();
    statistics::quantile(&apart, 0.95)
}

/// Microseconds: finer digits may be lost where a number was written as text.
fn moment(started: f64) -> u64 {
    // A time since 1970 that is no number, or before it, is 0.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    let moment = (started * 1e6).round() as u64;
    moment
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn series() -> Series {
        Series {
            scenario: "a/b".to_owned(),
            step: "write".to_owned(),
            dimensions: BTreeMap::new(),
        }
    }

    /// Three runs of each session, a minute apart.
    fn sessions(levels: &[f64]) -> Vec<Figures> {
        let run = |day: usize, level: f64, minute: u32| Figures {
            series: series(),
            started: 86_400.0 * day as f64 + 60.0 * f64::from(minute),
            origin: BTreeMap::new(),
            repetitions: BTreeMap::from([(Measure::Throughput, vec![level + f64::from(minute)])]),
        };
        let days = levels.iter().enumerate();
        days.flat_map(|(day, level)| (0..3).map(move |minute| run(day, *level, minute)))
            .collect()
    }

    #[test]
    fn it_is_what_sessions_lie_apart() {
        let drift = |levels: &[f64], but: &[f64]| {
            of(&sessions(levels), &series(), Measure::Throughput, but)
        };
        assert_eq!(drift(&[99.0, 99.0], &[]), None);
        assert!(drift(&[99.0; 6], &[]).unwrap() < 1e-9);
        let apart = drift(&[99.0, 119.0, 99.0, 119.0], &[]).unwrap();
        assert!((apart - 0.2).abs() < 1e-9, "{apart}");
        // What is judged does not count.
        let judged: Vec<f64> = (0..3)
            .map(|minute| 86_400.0 + 60.0 * f64::from(minute))
            .collect();
        assert!(drift(&[99.0, 119.0, 99.0, 99.0], &judged).unwrap() < 1e-9);
        assert_eq!(
            of(&sessions(&[1.0; 9]), &series(), Measure::HostCpu, &[]),
            None
        );
    }
}
