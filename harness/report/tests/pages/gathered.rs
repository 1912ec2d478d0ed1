//! Reports of made-up records.

use std::path::PathBuf;

use sanlab_record::RunRecord;
use sanlab_report::comparison::{self, Comparison, Rules, Side};
use sanlab_report::load::{Loaded, LoadedComparison, LoadedRun};
use sanlab_report::measure::Measure;
use sanlab_report::report::Report;
use sanlab_report::series::figures;

use crate::made_up::{NOON, failed, hot_addition, known_failure, strings, throughput};

/// Pairs of runs at two MTUs, and what is said of them.
fn comparison(
    title: &str,
    b_mtu: u32,
    b: (f64, f64),
    pairs: u32,
) -> (Vec<LoadedRun>, LoadedComparison) {
    let folder = PathBuf::from(format!("target/sanlab/runs/{title}"));
    let (mut runs, mut a_runs, mut b_runs) = (Vec::new(), Vec::new(), Vec::new());
    let mut chance = fastrand::Rng::with_seed(u64::from(b_mtu));
    for pair in 0..pairs {
        let drift = 1.0 + (chance.f64() - 0.5) * 0.12;
        for (side, mtu, (speed, cost)) in [("a", 65_000, (1.0, 1.0)), ("b", b_mtu, b)] {
            let own = 1.0 + (chance.f64() - 0.5) * 0.03;
            let started = NOON + f64::from(pair) * 20.0 + if side == "b" { 10.0 } else { 0.0 };
            let started = started + f64::from(b_mtu);
            let record = throughput(started, mtu, speed * drift * own, cost);
            let found = figures(&record);
            if side == "a" {
                a_runs.push(found);
            } else {
                b_runs.push(found);
            }
            runs.push(LoadedRun {
                path: folder.join(format!("{side}-{}/record.json", pair + 1)),
                record,
            });
        }
    }
    let rules = Rules::new(6);
    let judgements = comparison::judge(&rules, &a_runs, &b_runs).expect("runs that compare");
    let side = |mtu: u32, name: &str| Side {
        settings: strings(&[("mtu", &mtu.to_string())]),
        records: (1..=pairs)
            .map(|pair| format!("{name}-{pair}/record.json"))
            .collect(),
    };
    let comparison = Comparison {
        format: comparison::FORMAT,
        scenario: "throughput/two_nodes".to_owned(),
        title: title.to_owned(),
        started: NOON,
        seconds: 412.0,
        a: side(65_000, "a"),
        b: side(b_mtu, "b"),
        pairs: pairs as usize,
        verdict: comparison::overall(&judgements),
        rules,
        judgements,
    };
    let path = folder.join("comparison.json");
    (runs, LoadedComparison { path, comparison })
}

fn loaded(record: RunRecord) -> LoadedRun {
    let path = PathBuf::from(format!(
        "target/sanlab/runs/20261122T120000Z-hQIo/{}/record.json",
        record.scenario
    ));
    LoadedRun { path, record }
}

/// One of everything: comparisons with a regression and without, a series with a change of level, a hot addition, a failure, and one
/// that is known.
pub(crate) fn report() -> Report {
    let (mut runs, slow) = comparison("frames of 1500 bytes", 1500, (0.66, 1.46), 12);
    let (more, same) = comparison("the same twice", 65_000, (1.0, 1.0), 12);
    runs.extend(more);
    runs.extend([hot_addition(), failed(), known_failure()].map(loaded));
    let past: Vec<_> = (0..26)
        .map(|day| {
            let old = day < 14;
            let speed = if old { 1.13 } else { 1.0 };
            let mut record = throughput(
                NOON - 86_400.0 * f64::from(27 - day),
                65_000,
                speed,
                1.0 / speed,
            );
            if old {
                for image in record.images.values_mut() {
                    image.kernel_release = image.kernel_release.replace("-50-", "-49-");
                }
            }
            record
        })
        .flat_map(|record| figures(&record))
        .collect();
    let loaded = Loaded {
        runs,
        comparisons: vec![same, slow],
        left_out: Vec::new(),
    };
    Report::new(
        "sanlab, 22 November 2026",
        NOON + 3_600.0,
        loaded,
        &past,
        None,
    )
}

/// A report of runs alone.
pub(crate) fn of_runs(title: &str, records: Vec<RunRecord>) -> Report {
    let runs = records.into_iter().map(loaded).collect();
    let loaded = Loaded {
        runs,
        ..Loaded::default()
    };
    Report::new(title, NOON, loaded, &[], None)
}

/// A measure that all of the report's comparisons have.
pub(crate) const MEASURE: Measure = Measure::Throughput;
