//! The forms of a report: what they say, and the shapes that other programs expect.

use std::path::Path;

use sanlab_report::baseline::Baseline;
use sanlab_report::comparison::Rules;
use sanlab_report::github_action_benchmark::{self, Direction};
use sanlab_report::load::Loaded;
use sanlab_report::measure::Measure;
use sanlab_report::report::Report;
use sanlab_report::series::figures;
use sanlab_report::terminal::comparison_table;
use sanlab_report::verdict::Verdict;
use sanlab_report::{bencher, html, json, junit, markdown};
use serde_json::Value;

use crate::sample::{comparison, day, hostile, judgement, loaded, run};

fn report() -> Report {
    let mut with_setting = run(3, [80.0, 81.0]);
    with_setting
        .settings
        .insert("mtu".to_owned(), "1500".to_owned());
    with_setting.mtu = 1500;
    let runs = vec![
        run(1, [100.0, 102.0]),
        run(2, [98.0, 99.0]),
        with_setting,
        hostile(4, false),
        hostile(5, true),
    ];
    let past: Vec<_> = (0..3)
        .map(|number| run(number, [101.0, 101.0 + f64::from(number)]))
        .collect();
    let past: Vec<_> = past.iter().flat_map(figures).collect();
    Report::new(
        "Nightly | throughput",
        day(10),
        Loaded {
            runs: runs.into_iter().map(loaded).collect(),
            comparisons: vec![comparison(vec![
                judgement(Measure::Throughput, Verdict::Regressed, 0.81),
                judgement(Measure::Instructions, Verdict::NoChange, 1.004),
                judgement(Measure::HostCpu, Verdict::Undecided, 1.062),
                judgement(Measure::SwitchBytes, Verdict::Improved, 0.9),
            ])],
            left_out: Vec::new(),
        },
        &past,
        None,
    )
}

fn of_nothing() -> Report {
    Report::new("nothing", day(10), Loaded::default(), &[], None)
}

#[test]
fn a_report_takes_the_gravest_verdict_and_every_run_once() {
    let report = report();
    assert_eq!(report.verdict, Some(Verdict::Regressed));
    let outcomes = report.outcomes();
    assert_eq!(
        (outcomes.passed, outcomes.failed, outcomes.broken),
        (3, 1, 1)
    );
    let trend = report
        .trends
        .iter()
        .find(|trend| trend.measure == Measure::Throughput && trend.points.len() > 1)
        .expect("the series that history knows");
    let started: Vec<_> = trend.points.iter().map(|point| point.started).collect();
    assert_eq!(
        started,
        [day(0), day(1), day(2)],
        "days 1 and 2 are in both"
    );
    assert_eq!(of_nothing().verdict, None);
}

#[test]
fn what_history_knows_of_other_series_stays_out() {
    let mut other = run(1, [10.0, 11.0]);
    other.mtu = 9000;
    let past = figures(&other);
    let runs = vec![loaded(run(2, [98.0, 99.0]))];
    let report = Report::new(
        "",
        day(10),
        Loaded {
            runs,
            comparisons: Vec::new(),
            left_out: Vec::new(),
        },
        &past,
        None,
    );
    assert!(!report.trends.is_empty());
    assert!(report.trends.iter().all(|trend| trend.points.len() == 1));
}

#[test]
fn markdown_says_the_verdict_first() {
    insta::assert_snapshot!(markdown::render(&report()));
}

#[test]
fn markdown_of_a_baseline() {
    let before: Vec<_> = (0..8).map(|number| run(number, [100.0, 101.0])).collect();
    let before: Vec<_> = before.iter().flat_map(figures).collect();
    let now = vec![run(20, [99.0, 100.0]), run(21, [101.0, 99.5])];
    let figures: Vec<_> = now.iter().flat_map(figures).collect();
    let against = Baseline::of(&before, 20, day(9))
        .and_then(|baseline| baseline.against("ci/base_line.json", &Rules::new(6), &figures, &[]))
        .expect("the same series");
    let loaded = Loaded {
        runs: now.into_iter().map(loaded).collect(),
        comparisons: Vec::new(),
        left_out: Vec::new(),
    };
    let report = Report::new("Baseline", day(30), loaded, &[], Some(against));
    insta::assert_snapshot!(markdown::render(&report));
    let xml = junit::render(&report).expect("XML");
    assert!(
        xml.contains("testsuite name=\"baseline ci/base_line.json\""),
        "{xml}"
    );
}

#[test]
fn hostile_words_stay_words_in_markdown() {
    let text = markdown::render(&report());
    // What is within a fence is shown as it is, by rule; outside nothing of it may be left.
    let mut fence: Option<&str> = None;
    let mut outside = String::new();
    for line in text.lines() {
        let ticks = &line[..line.len() - line.trim_start_matches('`').len()];
        match fence {
            None if ticks.len() >= 3 => fence = Some(ticks),
            None => outside.push_str(line),
            Some(open) if line == open => fence = None,
            Some(_) => {}
        }
    }
    assert_eq!(fence, None, "every fence is closed");
    for word in ["<script", "@maintainer", "<b>", "evil/<", "<i>", "\u{1b}"] {
        assert!(!outside.contains(word), "{word} in:\n{outside}");
    }
    assert!(!text.contains('\u{1b}') && !text.contains('\u{0}'));
}

#[test]
fn a_normalised_throughput_that_instructions_contradict_is_told() {
    let told = |normalised: Verdict, instructions: Verdict| {
        let comparison = comparison(vec![
            judgement(Measure::CpuNormalisedThroughput, normalised, 1.095),
            judgement(Measure::Instructions, instructions, 1.092),
        ]);
        let table = comparison_table(&comparison.comparison);
        let loaded = Loaded {
            runs: Vec::new(),
            comparisons: vec![comparison],
            left_out: Vec::new(),
        };
        let report = Report::new("", day(10), loaded, &[], None);
        let forms = [table, markdown::render(&report), html::render(&report)];
        forms.map(|text| text.contains("go by throughput"))
    };
    assert_eq!(told(Verdict::Improved, Verdict::Regressed), [true; 3]);
    assert_eq!(told(Verdict::Regressed, Verdict::Improved), [true; 3]);
    assert_eq!(told(Verdict::Regressed, Verdict::Regressed), [false; 3]);
    assert_eq!(told(Verdict::Improved, Verdict::NoChange), [false; 3]);
}

#[test]
fn markdown_stays_within_what_a_comment_may_have() {
    let mut report = report();
    let long = "a line of a message that goes on for quite a while, and says little\n".repeat(500);
    for number in 0..200 {
        let mut record = hostile(number, true);
        if let sanlab_record::Outcome::Broken(failure) = &mut record.outcome {
            failure.message.clone_from(&long);
        }
        report.runs.push(loaded(record));
    }
    let text = markdown::render(&report);
    assert!(text.chars().count() < 65_536, "{}", text.chars().count());
    assert!(text.contains("... and 460 more lines"));
    assert!(text.contains("too long for a comment"));
    assert!(
        text.contains("| load | throughput, MiB/s | ❌"),
        "the verdicts stay"
    );
}

#[test]
fn junit_is_xml_that_readers_take_back() {
    let xml = junit::render(&report()).expect("XML");
    insta::assert_snapshot!(xml);
    let back = quick_junit::Report::deserialize_from_str(&xml).expect("it is read back");
    assert_eq!(back.test_suites.len(), 2);
    let (runs, compared) = (&back.test_suites[0], &back.test_suites[1]);
    assert_eq!((runs.tests, runs.failures, runs.errors), (5, 1, 1));
    assert_eq!(
        (compared.tests, compared.failures, compared.skipped),
        (4, 1, 1)
    );
    let message = format!("{:?}", runs.test_cases[3].status);
    assert!(
        message.contains("exited with 1") && message.contains("<script>"),
        "{message}"
    );
}

#[test]
fn json_is_versioned_and_whole() {
    let report = report();
    let value: Value = serde_json::from_str(&json::render(&report)).expect("JSON");
    assert_eq!(value["format"], 1);
    assert_eq!(value["verdict"], "regressed");
    assert_eq!(value["runs"].as_array().expect("runs").len(), 5);
    assert_eq!(
        value["comparisons"][0]["comparison"]["judgements"][0]["measure"],
        "throughput"
    );
    assert_eq!(
        value["figures"].as_array().expect("figures").len(),
        report.figures().len()
    );
    assert_eq!(
        value["figures"][0]["repetitions"]["throughput"]
            .as_array()
            .expect("two")
            .len(),
        2
    );
    let nothing: Value = serde_json::from_str(&json::render(&of_nothing())).expect("JSON");
    assert!(nothing["verdict"].is_null() && nothing["runs"] == Value::Array(Vec::new()));
}

/// The schema that Bencher publishes: names, in them names, in them numbers of which `value` is required.
#[test]
fn bencher_metric_format() {
    let text = bencher::render(&report());
    let value: Value = serde_json::from_str(&text).expect("JSON");
    let benchmarks = value.as_object().expect("an object by benchmark");
    assert_eq!(
        benchmarks.keys().collect::<Vec<_>>(),
        [
            "throughput/two_nodes/load",
            "throughput/two_nodes/load mtu=1500"
        ]
    );
    for (name, measures) in benchmarks {
        assert!((1..=1024).contains(&name.chars().count()));
        for (measure, metric) in measures.as_object().expect("an object by measure") {
            assert!((1..=64).contains(&measure.chars().count()), "{measure}");
            let metric = metric.as_object().expect("a metric");
            let of = |key: &str| metric[key].as_f64().expect("a number");
            assert!(
                of("lower_value") <= of("value") && of("value") <= of("upper_value"),
                "{metric:?}"
            );
            assert_eq!(metric.len(), 3);
        }
    }
    let throughput = &benchmarks["throughput/two_nodes/load"]["throughput (MiB/s)"];
    // Two runs, of 101 and 98.5 on average.
    assert_eq!(throughput["value"].as_f64().map(f64::round), Some(100.0));
    assert_eq!(
        throughput["upper_value"].as_f64().map(f64::round),
        Some(101.0)
    );
    assert_eq!(bencher::render(&of_nothing()), "{}\n");
}

/// What the action reads of each entry: `name`, `unit`, `value`, and the texts `range` and `extra`.
#[test]
fn github_action_benchmark_has_a_file_for_each_direction() {
    let report = report();
    let entries = |direction| -> Vec<Value> {
        let text = github_action_benchmark::render(&report, direction);
        let value: Value = serde_json::from_str(&text).expect("JSON");
        value.as_array().expect("an array").clone()
    };
    let (bigger, smaller) = (
        entries(Direction::BiggerIsBetter),
        entries(Direction::SmallerIsBetter),
    );
    for entry in bigger.iter().chain(&smaller) {
        assert!(entry["value"].is_f64() && entry["name"].is_string() && entry["unit"].is_string());
        assert!(
            entry["range"]
                .as_str()
                .is_some_and(|range| range.starts_with("± "))
        );
        assert!(
            entry["extra"]
                .as_str()
                .is_some_and(|extra| extra.contains("\nmtu: "))
        );
    }
    let units = |entries: &[Value]| {
        let mut units: Vec<_> = entries
            .iter()
            .map(|entry| entry["unit"].to_string())
            .collect();
        units.sort();
        units.dedup();
        units
    };
    assert_eq!(units(&bigger), ["\"MiB/s\""]);
    assert_eq!(
        units(&smaller),
        ["\"B/B\"", "\"CPU s/GiB\"", "\"instructions/MiB\""]
    );
    let names: std::collections::BTreeSet<_> = bigger
        .iter()
        .map(|entry| entry["name"].to_string())
        .collect();
    assert_eq!(names.len(), bigger.len(), "names are unique");
}

#[test]
fn a_report_of_nothing_has_every_form() {
    let report = of_nothing();
    assert!(markdown::render(&report).contains("nothing was compared"));
    assert!(junit::render(&report).expect("XML").contains("tests=\"0\""));
    for direction in Direction::ALL {
        assert_eq!(github_action_benchmark::render(&report, direction), "[]\n");
        assert!(Path::new(direction.file_name()).extension().is_some());
    }
}
