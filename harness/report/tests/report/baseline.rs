//! Baselines: made, committed, and held against.

use std::path::Path;

use sanlab_record::RunRecord;
use sanlab_report::ReportError;
use sanlab_report::baseline::Baseline;
use sanlab_report::comparison::Rules;
use sanlab_report::measure::Measure;
use sanlab_report::series::{Figures, figures};
use sanlab_report::verdict::Verdict;

use crate::sample::{day, rounded, run};

fn all(records: &[RunRecord]) -> Vec<Figures> {
    records.iter().flat_map(figures).collect()
}

/// Runs of so many days at about a rate: one per cent up and down.
fn runs(days: std::ops::Range<u32>, rate: f64) -> Vec<RunRecord> {
    days.map(|day| {
        let wobble = 1.0 + (f64::from(day * 7 % 5) - 2.0) / 200.0;
        run(day, [rate * wobble, rate * wobble * 1.001])
    })
    .collect()
}

fn baseline(records: &[RunRecord]) -> Baseline {
    Baseline::of(&all(records), 20, day(100)).expect("there are figures")
}

/// What the history knows: a session a day, all at about the same level.
fn past() -> Vec<Figures> {
    all(&runs(0..12, 100.0))
}

#[test]
fn what_is_timed_needs_to_know_how_far_sessions_lie_apart() {
    let baseline = baseline(&runs(0..12, 100.0));
    let now = all(&runs(200..210, 80.0));
    let against = |past: &[Figures]| {
        let against = baseline.against("b.json", &Rules::new(6), &now, past);
        let series = against.expect("the same series").series;
        let of = |measure| {
            let mut all = series.iter();
            let found = all.find(|one| one.judgement.measure == measure).unwrap();
            (found.judgement.verdict, found.drift)
        };
        (of(Measure::Throughput), of(Measure::Instructions).0)
    };
    let (throughput, instructions) = against(&[]);
    assert_eq!(throughput, (Verdict::Undecided, None));
    assert_eq!(instructions, Verdict::NoChange);
    assert_eq!(against(&past()).0.0, Verdict::Regressed);
    // Where days lie a third apart, a fifth is nothing.
    let drifting = [runs(0..6, 100.0), runs(6..12, 140.0)].concat();
    let ((throughput, drift), _) = against(&all(&drifting));
    assert!(drift.unwrap() > 0.35, "{drift:?}");
    assert_ne!(throughput, Verdict::Regressed);
}

#[test]
fn a_baseline_of_another_host_is_no_mistake() {
    let mut elsewhere = runs(200..203, 100.0);
    for record in &mut elsewhere {
        "Another CPU".clone_into(&mut record.host.cpu);
    }
    let error = baseline(&runs(0..3, 100.0))
        .against("b.json", &Rules::new(6), &all(&elsewhere), &[])
        .expect_err("another host");
    assert!(matches!(error, ReportError::NoBaselineHere(_)), "{error}");
    insta::assert_snapshot!(format!("failed to {error}"));
}

#[test]
fn it_keeps_the_last_runs_and_survives_its_file() {
    let baseline =
        Baseline::of(&all(&runs(0..30, 100.0)), 20, day(100)).expect("there are figures");
    assert_eq!(baseline.series.len(), 1);
    let means = &baseline.series[0].means[&Measure::Throughput];
    assert_eq!(means.len(), 20);
    assert_eq!(
        Some(means[19]),
        all(&runs(29..30, 100.0))[0].figure(Measure::Throughput),
        "the last one is the latest"
    );
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("baseline.json");
    baseline.write(&path).expect("written");
    let read = Baseline::read(&path).expect("read");
    assert_eq!(rounded(&read.to_json()), rounded(&baseline.to_json()));
}

#[test]
fn the_same_is_no_change_and_a_fifth_slower_regressed() {
    let baseline = baseline(&runs(0..12, 100.0));
    let verdict = |rate: f64| {
        let now = all(&runs(200..210, rate));
        let against = baseline
            .against("b.json", &Rules::new(6), &now, &past())
            .expect("the same series");
        let of = |measure| {
            let found = against
                .series
                .iter()
                .find(|one| one.judgement.measure == measure);
            found.expect("both have it").judgement.verdict
        };
        (
            of(Measure::Throughput),
            of(Measure::Instructions),
            against.verdict,
        )
    };
    assert_eq!(
        verdict(100.0),
        (Verdict::NoChange, Verdict::NoChange, Verdict::NoChange)
    );
    let (throughput, instructions, whole) = verdict(80.0);
    assert_eq!(throughput, Verdict::Regressed);
    assert_eq!(instructions, Verdict::NoChange, "the work is the same");
    assert_eq!(whole, Verdict::Regressed);
    assert_eq!(verdict(130.0).0, Verdict::Improved);
}

#[test]
fn one_run_against_it_is_undecided() {
    let baseline = baseline(&runs(0..12, 100.0));
    let now = all(&runs(200..201, 70.0));
    let against = baseline
        .against("b.json", &Rules::new(6), &now, &past())
        .expect("the same series");
    assert_eq!(against.verdict, Verdict::Undecided);
}

#[test]
fn series_of_one_side_only_are_told() {
    let other_step = |mut record: RunRecord| {
        record
            .measurements
            .iter_mut()
            .for_each(|one| one.step = "other".to_owned());
        record
            .samples
            .iter_mut()
            .for_each(|one| one.step = "other".to_owned());
        record
    };
    let mut before = runs(0..3, 100.0);
    before.push(other_step(run(4, [10.0, 11.0])));
    let mut now = runs(200..203, 100.0);
    let mut elsewhere = run(204, [10.0, 11.0]);
    elsewhere.mtu = 1500;
    now.push(elsewhere);
    let against = baseline(&before)
        .against("b.json", &Rules::new(6), &all(&now), &past())
        .expect("one series in common");
    assert_eq!(against.missing.len(), 1);
    assert_eq!(against.missing[0].step, "other");
    assert_eq!(against.unknown.len(), 1);
    assert_eq!(against.unknown[0].dimensions["mtu"], "1500");
}

#[test]
fn nothing_in_common_says_what_differs() {
    let mut elsewhere = runs(200..203, 100.0);
    for record in &mut elsewhere {
        record.mtu = 1500;
    }
    let error = baseline(&runs(0..3, 100.0))
        .against("b.json", &Rules::new(6), &all(&elsewhere), &[])
        .expect_err("another series");
    insta::assert_snapshot!(format!("failed to {error}"));
}

#[test]
fn bad_files() {
    let good = baseline(&runs(0..3, 100.0)).to_json();
    let cases = [
        ("cut short", good[..good.len() / 2].to_owned()),
        ("not JSON", "hello".to_owned()),
        (
            "another format",
            good.replacen("\"format\": 1", "\"format\": 7", 1),
        ),
        (
            "no series",
            "{\"format\": 1, \"made\": 1.0, \"series\": []}".to_owned(),
        ),
        ("a record", run(1, [1.0, 2.0]).to_json()),
    ];
    let said: Vec<_> = cases
        .iter()
        .map(|(what, text)| {
            let error = Baseline::from_json(Path::new("baseline.json"), text).expect_err("bad");
            format!("== {what}\nfailed to {error}\n")
        })
        .collect();
    insta::assert_snapshot!(said.join("\n"));
}

#[test]
fn no_figures_no_baseline() {
    let error = Baseline::of(&[], 20, day(1)).expect_err("nothing to make it of");
    assert!(matches!(error, ReportError::EmptyBaseline), "{error:?}");
}
