//! `sanlab report` and `sanlab history` on records that are there.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Output};

use fs_err as fs;
use sanlab_record::{KnownBy, Outcome, RunRecord};
use sanlab_report::comparison::{Comparison, FORMAT, Rules, Side};
use sanlab_report::measure::Measure;
use sanlab_report::verdict::{Judgement, Verdict};

use super::project;

/// A run with throughput steps, as it was kept.
const RECORD: &str = "fixtures/records/throughput.json";

/// The program with a history of its own.
fn sanlab(history: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_sanlab"))
        .args(arguments)
        .current_dir(project())
        .env("SANLAB_HISTORY", history)
        .output()
        .expect("the binary starts")
}

fn done(history: &Path, arguments: &[&str], code: i32) -> String {
    let output = sanlab(history, arguments);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let complained = String::from_utf8_lossy(&output.stderr);
    assert_eq!(
        output.status.code(),
        Some(code),
        "{arguments:?}: {said}{complained}"
    );
    format!("{said}{complained}")
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a path of letters")
}

/// A comparison with that verdict in a folder.
fn compared(folder: &Path, verdict: Verdict) {
    let judgement = Judgement {
        step: "write".to_owned(),
        measure: Measure::Throughput,
        verdict,
        ratio: 0.8,
        interval: (0.78, 0.82),
        p: 0.003,
        certain: false,
        margin: 0.05,
        within: None,
        noise_floor: None,
        a: vec![40.0, 41.0, 39.0, 40.5],
        b: vec![32.0, 33.0, 31.0, 32.5],
    };
    let side = |settings| Side {
        settings,
        records: Vec::new(),
    };
    let comparison = Comparison {
        format: FORMAT,
        scenario: "throughput/two_nodes".to_owned(),
        title: "two nodes".to_owned(),
        started: 1_800_000_000.0,
        seconds: 90.0,
        a: side(BTreeMap::new()),
        b: side(BTreeMap::from([("mtu".to_owned(), "1500".to_owned())])),
        pairs: 4,
        rules: Rules::new(1),
        judgements: vec![judgement],
        verdict,
    };
    let text = serde_json::to_string(&comparison).expect("plain data");
    fs::write(folder.join("comparison.json"), text).expect("a folder of the test's");
}

#[test]
fn the_verdict_is_the_exit_code() {
    let cases = [
        (Verdict::NoChange, 0),
        (Verdict::Improved, 0),
        (Verdict::Regressed, 1),
        (Verdict::Undecided, 5),
    ];
    for (verdict, code) in cases {
        let folder = tempfile::tempdir().unwrap();
        compared(folder.path(), verdict);
        let history = folder.path().join("none.sqlite");
        let said = done(&history, &["report", text(folder.path())], code);
        assert!(said.contains(verdict.as_str()), "{said}");
        assert!(!history.exists(), "a report made a history");
    }
}

#[test]
fn one_report_is_written_in_every_form() {
    let folder = tempfile::tempdir().unwrap();
    compared(folder.path(), Verdict::Regressed);
    let at = |name: &str| folder.path().join("out").join(name);
    let arguments = [
        ("--html", at("report.html"), "<html"),
        ("--markdown", at("report.md"), "regressed"),
        ("--junit", at("report.xml"), "<testsuites"),
        ("--json", at("report.json"), "\"comparisons\""),
        ("--bencher", at("bencher.json"), "\"value\""),
    ];
    let github = at("github");
    let mut command = vec!["report", text(folder.path()), RECORD];
    for (option, path, _) in &arguments {
        command.extend([*option, text(path)]);
    }
    command.extend(["--github-action-benchmark", text(&github)]);
    done(&folder.path().join("none.sqlite"), &command, 1);
    for (option, path, word) in &arguments {
        let written = fs::read_to_string(path).unwrap();
        assert!(
            written.contains(word),
            "{option}: no {word} in {written:.400}"
        );
    }
    for name in ["bigger-is-better.json", "smaller-is-better.json"] {
        let written = fs::read_to_string(github.join(name)).unwrap();
        assert!(written.contains("\"unit\""), "{name}: {written:.400}");
    }
}

#[test]
fn a_known_failure_is_reported_with_its_reason_and_is_no_regression() {
    let folder = tempfile::tempdir().unwrap();
    let text_of = |name: &str| fs::read_to_string(project().join(name)).unwrap();
    let mut record = RunRecord::from_json(&text_of("fixtures/records/format-1.json")).unwrap();
    let failure = record.outcome.failure().cloned().unwrap();
    record.outcome = Outcome::KnownFailure {
        failure,
        known: KnownBy {
            because: "the bitmap fills the disk".to_owned(),
            source: "https://example.org/bugs/17".to_owned(),
        },
    };
    fs::write(folder.path().join("record.json"), record.to_json()).unwrap();
    let (junit, markdown) = (folder.path().join("r.xml"), folder.path().join("r.md"));
    let history = folder.path().join("none.sqlite");
    let arguments = [
        "report",
        text(folder.path()),
        RECORD,
        "--junit",
        text(&junit),
        "--markdown",
        text(&markdown),
    ];
    let said = done(&history, &arguments, 0);
    assert!(said.contains("1 passed, 1 known failure"), "{said}");
    assert!(
        said.contains("because: the bitmap fills the disk"),
        "{said}"
    );
    let written = fs::read_to_string(&junit).unwrap();
    assert!(written.contains("<skipped "), "{written}");
    let written = fs::read_to_string(&markdown).unwrap();
    assert!(
        written.contains("(<https://example.org/bugs/17>)"),
        "{written}"
    );
    let imported = done(&history, &["history", "import", text(folder.path())], 0);
    assert!(
        imported.starts_with("1 run taken in, 0 were there already, 1 had no figures"),
        "{imported}"
    );
}

#[test]
fn a_baseline_is_saved_and_held_against() {
    let folder = tempfile::tempdir().unwrap();
    let history = folder.path().join("none.sqlite");
    let baseline = folder.path().join("baseline.json");
    // Some runs of the same, a little apart, and one of them as it is.
    let record = fs::read_to_string(project().join(RECORD)).unwrap();
    let mut record = RunRecord::from_json(&record).unwrap();
    let runs = folder.path().join("runs");
    let past = folder.path().join("past");
    let write_in = |runs: &Path, record: &RunRecord, name: &str| {
        fs::create_dir_all(runs.join(name)).unwrap();
        fs::write(runs.join(name).join("record.json"), record.to_json()).unwrap();
    };
    for day in 0..3_u32 {
        record.started += 86_400.0;
        write_in(&past, &record, &day.to_string());
    }
    record.started += 86_400.0;
    let write = |record: &RunRecord, name: &str| write_in(&runs, record, name);
    for number in 0..6_u32 {
        record.started += 60.0;
        write(&record, &number.to_string());
    }
    let save = ["report", text(&runs), "--save-baseline", text(&baseline)];
    done(&history, &save, 0);
    let against = ["report", text(&runs), "--baseline", text(&baseline)];
    // How far days lie apart is not known yet.
    done(&history, &against, 5);
    done(&history, &["history", "import", text(&past)], 0);
    done(&history, &against, 0);
    // Everything takes half as long again.
    for measurement in &mut record.measurements {
        measurement.seconds *= 1.5;
    }
    for number in 0..6_u32 {
        record.started += 60.0;
        write(&record, &number.to_string());
    }
    let said = done(&history, &against, 1);
    assert!(said.contains("regressed"), "{said}");
}

#[test]
fn what_cannot_be_read_is_named_with_a_way_out() {
    let folder = tempfile::tempdir().unwrap();
    let history = folder.path().join("none.sqlite");
    let empty = done(&history, &["report", text(folder.path())], 2);
    assert!(empty.contains("sanlab run"), "{empty}");
    let whole = fs::read_to_string(project().join(RECORD)).unwrap();
    let cut = folder.path().join("record.json");
    fs::write(&cut, &whole[..whole.len() / 2]).unwrap();
    let said = done(&history, &["report", text(folder.path())], 2);
    assert!(
        said.contains("cut short") && said.contains("record.json"),
        "{said}"
    );
    let said = done(&history, &["report", "no/such/folder"], 2);
    assert!(said.contains("no/such/folder"), "{said}");
    for command in [&["history", "export"][..], &["history", "ls"]] {
        let said = done(&history, command, 2);
        assert!(said.contains("sanlab history import"), "{said}");
    }
    let said = done(
        &folder.path().join("other"),
        &["report", RECORD, "--history", text(&history)],
        2,
    );
    assert!(said.contains("none.sqlite"), "{said}");
}

#[test]
fn history_takes_runs_in_once_and_gives_them_back() {
    let folder = tempfile::tempdir().unwrap();
    let (one, other) = (
        folder.path().join("one.sqlite"),
        folder.path().join("other.sqlite"),
    );
    // The first did not pass, and has no figures.
    let import = [
        "history",
        "import",
        "fixtures/records/format-1.json",
        RECORD,
    ];
    let said = done(&one, &import, 0);
    assert!(said.starts_with("2 runs taken in"), "{said}");
    let again = done(&one, &import, 0);
    assert!(again.starts_with("0 runs taken in"), "{again}");
    let lines = folder.path().join("all.jsonl");
    done(&one, &["history", "export", text(&lines)], 0);
    let shown = done(&one, &["history", "export"], 0);
    assert_eq!(shown, fs::read_to_string(&lines).unwrap());
    assert!(shown.lines().count() >= 1);
    done(&other, &["history", "import", text(&lines)], 0);
    // Figures may differ in their last digit, which JSON's reader rounds.
    let all_but_figures = |lines: &str| -> Vec<String> {
        let before = |line: &str| line.split("\"repetitions\"").next().map(str::to_owned);
        lines.lines().filter_map(before).collect()
    };
    let back = done(&other, &["history", "export"], 0);
    assert_eq!(all_but_figures(&back), all_but_figures(&shown));
    let listed = done(&one, &["history", "ls"], 0);
    assert!(listed.contains("accelerator="), "{listed}");
    // The option is the environment's better.
    let said = done(&one, &["history", "ls", "--history", text(&other)], 0);
    assert!(said.contains("other.sqlite"), "{said}");
}

#[test]
fn the_newest_run_folders_stay_and_those_in_use() {
    let folder = tempfile::tempdir().unwrap();
    let (history, runs) = (folder.path().join("h.sqlite"), folder.path().join("runs"));
    let record = text(Path::new(RECORD)).to_owned();
    done(&history, &["history", "import", &record], 0);
    let at = |name: &str| runs.join(name);
    for day in 1..=5 {
        fs::create_dir_all(at(&format!("2026110{day}T120000Z-ab{day}d")).join("mount")).unwrap();
    }
    fs::create_dir_all(at("my notes")).unwrap();
    let in_use = fs::File::open(at("20261101T120000Z-ab1d")).unwrap();
    in_use.file().lock_shared().unwrap();
    let pruned = |keep: &str| {
        let output = Command::new(env!("CARGO_BIN_EXE_sanlab"))
            .args(["history", "prune", "--run-folders", keep])
            .current_dir(project())
            .env("SANLAB_HISTORY", &history)
            .env("SANLAB_RUNS", &runs)
            .output()
            .expect("the binary starts");
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{said}");
        said
    };
    let said = pruned("2");
    assert!(said.contains("2 run folders removed"), "{said}");
    let mut left: Vec<_> = fs::read_dir(&runs)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    left.sort_unstable();
    assert_eq!(
        left,
        [
            "20261101T120000Z-ab1d",
            "20261104T120000Z-ab4d",
            "20261105T120000Z-ab5d",
            "my notes"
        ]
    );
    drop(in_use);
    assert!(pruned("2").contains("1 run folder removed"));
    assert!(pruned("2").contains("0 run folders removed"));
}
