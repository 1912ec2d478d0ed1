//! Known failures, and findings that count or are excused, in every form of a report.

use sanlab_record::RunRecord;
use sanlab_report::history::History;
use sanlab_report::load::Loaded;
use sanlab_report::report::Report;
use sanlab_report::series::figures;
use sanlab_report::terminal::report_table;
use sanlab_report::{html, json, junit, markdown};
use serde_json::Value;

use crate::sample::{day, findings, hostile, known, loaded, run};

const BECAUSE: &str = "a flush does not wait for the last write";
const SOURCE: &str = "https://example.org/bugs/17?a=1&b=2";

fn report_of(runs: Vec<RunRecord>) -> Report {
    let runs = runs.into_iter().map(loaded).collect();
    let loaded = Loaded {
        runs,
        comparisons: Vec::new(),
        left_out: Vec::new(),
    };
    Report::new("Nightly", day(10), loaded, &[], None)
}

/// One that passed and has something excused, one that failed, the same known failure twice.
fn report() -> Report {
    let mut excused = run(1, [100.0, 102.0]);
    excused.findings = findings().split_off(1);
    let mut failed = hostile(2, false);
    failed.findings = findings();
    report_of(vec![
        excused,
        failed,
        known(3, BECAUSE, SOURCE),
        known(4, BECAUSE, SOURCE),
    ])
}

#[test]
fn a_known_failure_is_neither_passed_nor_failed_nor_skipped() {
    let report = report();
    let outcomes = report.outcomes();
    assert_eq!(outcomes.to_string(), "1 passed, 2 known failures, 1 failed");
    assert_eq!((outcomes.known_failures, outcomes.skipped), (2, 0));
    assert_eq!(
        figures(&report.runs[2].record),
        [],
        "its figures are not used"
    );
    let series = report.figures().len();
    assert_eq!(series, figures(&report.runs[0].record).len());
}

#[test]
fn a_history_takes_known_failures_in_without_figures() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut history = History::open(&folder.path().join("h.sqlite")).expect("a new history");
    let imported = history
        .import(&[known(1, BECAUSE, SOURCE)])
        .expect("taken in");
    assert_eq!((imported.new, imported.without_figures), (1, 1));
    let mut lines = Vec::new();
    history.export(&mut lines).expect("one line");
    let line: Value = serde_json::from_slice(&lines).expect("JSON");
    assert_eq!(line["outcome"], "known_failure", "the word of records");
    assert_eq!(history.figures().expect("none"), []);
}

#[test]
fn a_terminal_tells_what_counts_and_what_is_known() {
    insta::assert_snapshot!(report_table(&report()));
}

#[test]
fn a_comment_tells_what_is_known_and_what_was_excused() {
    insta::assert_snapshot!(markdown::render(&report()));
}

#[test]
fn a_source_that_is_no_address_is_no_link_in_a_comment() {
    for source in [
        "javascript:alert(1)",
        "https://example.org/> <script>alert(1)</script>",
        "[x](https://example.org) @maintainer",
    ] {
        let text = markdown::render(&report_of(vec![known(1, "<b>@maintainer", source)]));
        let line = text
            .lines()
            .find(|line| line.starts_with("- "))
            .expect("its line");
        for word in [
            "<javascript",
            "<https",
            "<script",
            "](",
            "@maintainer",
            "<b>@",
        ] {
            assert!(!line.contains(word), "{word} in {line}");
        }
    }
}

#[test]
fn a_known_failure_is_skipped_in_junit_with_its_reason() {
    let xml = junit::render(&report()).expect("XML");
    let back = quick_junit::Report::deserialize_from_str(&xml).expect("it is read back");
    let runs = &back.test_suites[0];
    assert_eq!(
        (runs.tests, runs.failures, runs.errors, runs.skipped),
        (4, 1, 0, 2)
    );
    let case = &runs.test_cases[2];
    let quick_junit::TestCaseStatus::Skipped {
        message,
        ty,
        description,
    } = &case.status
    else {
        panic!("{:?}", case.status);
    };
    let text =
        |text: &Option<quick_junit::XmlString>| text.as_ref().map(|text| text.as_str().to_owned());
    assert_eq!(text(message), Some(format!("{BECAUSE} ({SOURCE})")));
    assert_eq!(text(ty), Some("known failure".to_owned()));
    assert!(text(description).is_some_and(|told| told.contains("156-157")));
    let output = text(&case.system_out).unwrap_or_default();
    assert!(
        output.contains("finding: 1 file system error about dm-0 on vc"),
        "{output}"
    );
    assert!(
        output.contains("follows from step crash on storage0a"),
        "{output}"
    );
}

#[test]
fn json_has_the_reason_and_the_findings() {
    let value: Value = serde_json::from_str(&json::render(&report())).expect("JSON");
    let record = &value["runs"][2]["record"];
    assert_eq!(record["outcome"], "known_failure");
    assert_eq!(record["known"]["source"], SOURCE);
    assert_eq!(
        record["findings"][1]["excuse"]["fault"]["node"],
        "storage0a"
    );
}

#[test]
fn a_page_of_known_failures_alone_says_so_first() {
    let page = html::render(&report_of(vec![known(1, BECAUSE, SOURCE)]));
    assert!(page.contains("<title>1 known failure: Nightly</title>"));
    assert!(page.contains("<header class=\"top known_failure\">"));
}
