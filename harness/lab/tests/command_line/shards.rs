//! `sanlab plan --shards`, `run --shard` and `merge`, as far as no guest is needed.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use fs_err as fs;

use super::{files, project, said};

/// The program with runs and a history of its own.
fn sanlab(runs: &Path, arguments: &[&str], files: &[PathBuf]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_sanlab"))
        .args(arguments)
        .args(files)
        .current_dir(project())
        .env("SANLAB_RUNS", runs)
        .env("SANLAB_HISTORY", runs.join("none.sqlite"))
        .output()
        .expect("the binary starts")
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a path of letters")
}

#[test]
fn scenarios_are_divided_alike_in_whatever_order_they_are_given() {
    let folder = tempfile::tempdir().unwrap();
    let mut files = files("scenarios");
    let plan = |files: &[PathBuf], arguments: &[&str]| {
        said(
            &sanlab(
                folder.path(),
                &[&["plan", "--shards", "3"], arguments].concat(),
                files,
            ),
            0,
        )
    };
    let shown = plan(&files, &[]);
    files.reverse();
    assert_eq!(plan(&files, &[]), shown);
    let rows = |shard: &str| shown.lines().filter(|line| line.starts_with(shard)).count() - 1;
    // Each shard has a row for each of its scenarios, and one for all of them.
    assert_eq!(
        rows("1/3") + rows("2/3") + rows("3/3"),
        files.len(),
        "{shown}"
    );
    assert!(shown.contains("0 by earlier runs"), "{shown}");
    let durations = folder.path().join("durations.json");
    let known = r#"{"format": 1, "seconds": {"nbd_striped_ocfs2/mount": 9000.0}}"#;
    fs::write(&durations, known).unwrap();
    let shown = plan(&files, &["--durations", text(&durations)]);
    assert!(shown.contains("1 by earlier runs"), "{shown}");
    fs::write(&durations, "").unwrap();
    let arguments = ["plan", "--shards", "3", "--durations", text(&durations)];
    let wrong = said(&sanlab(folder.path(), &arguments, &files), 2);
    assert!(wrong.contains("sanlab history durations"), "{wrong}");
}

#[test]
fn variants_are_divided_like_scenarios() {
    let folder = tempfile::tempdir().unwrap();
    let files = [PathBuf::from("scenarios/nbd-striped-ocfs2/linear.toml")];
    let arguments = ["plan", "--shards", "2", "--matrix", "mtu=1500,9000"];
    let shown = said(&sanlab(folder.path(), &arguments, &files), 0);
    assert!(
        shown.contains("linear[mtu=1500]") && shown.contains("linear[mtu=9000]"),
        "{shown}"
    );
    assert!(shown.contains("2 scenarios in 2 shards"), "{shown}");
}

#[test]
fn an_empty_shard_passes_and_what_the_others_lack_is_broken_in_every_report() {
    let folder = tempfile::tempdir().unwrap();
    let runs = folder.path().join("runs");
    let files = [PathBuf::from("scenarios/nbd-striped-ocfs2/linear.toml")];
    let empty = sanlab(&runs, &["run", "--shard", "2/2", "--repeat", "2"], &files);
    let empty = said(&empty, 0);
    assert!(
        empty.contains("shard 2/2: nothing to run: 1 scenario in 2 shards"),
        "{empty}"
    );
    let merged = folder.path().join("merged");
    let output = sanlab(
        &runs,
        &["merge", text(&runs), "no/such", "-o", text(&merged)],
        &[],
    );
    let shown = said(&output, 3);
    assert!(
        shown.contains("left out: ") && shown.contains("no/such"),
        "{shown}"
    );
    assert!(
        shown.contains("1/2          0        2  not there"),
        "{shown}"
    );
    assert!(
        shown.contains("no record: shard 1/2 is not there"),
        "{shown}"
    );
    assert!(shown.contains("2 broken"), "{shown}");
    let xml = folder.path().join("junit.xml");
    let report = ["report", text(&merged), "--junit", text(&xml)];
    said(&sanlab(&runs, &report, &[]), 0);
    let xml = fs::read_to_string(xml).unwrap();
    assert_eq!(xml.matches("<error").count(), 2, "{xml}");
    let history = folder.path().join("history.sqlite");
    let import = [
        "history",
        "--history",
        text(&history),
        "import",
        text(&merged),
    ];
    let imported = said(&sanlab(&runs, &import, &[]), 0);
    assert!(imported.starts_with("0 runs taken in"), "{imported}");
    // Nothing is written over, and nothing else is merged.
    let again = sanlab(&runs, &["merge", text(&runs), "-o", text(&merged)], &[]);
    assert!(said(&again, 2).contains("it is there and not empty"));
    let none = sanlab(&runs, &["merge", "fixtures/records", "-o", "/nowhere"], &[]);
    assert!(said(&none, 2).contains("sanlab run --shard I/N"));
    let wrong = sanlab(&runs, &["run", "--shard", "3/2"], &files);
    assert!(said(&wrong, 2).contains("I from 1 to N"));
}

#[test]
fn durations_come_from_a_history_that_knows_some() {
    let folder = tempfile::tempdir().unwrap();
    let history = folder.path().join("history.sqlite");
    let history_of = |arguments: &[&str]| {
        let all = [&["history", "--history", text(&history)], arguments].concat();
        sanlab(folder.path(), &all, &[])
    };
    said(
        &history_of(&["import", "fixtures/records/format-1.json"]),
        0,
    );
    // It did not pass.
    let none = said(&history_of(&["durations"]), 2);
    assert!(none.contains("sanlab history import"), "{none}");
    said(
        &history_of(&["import", "fixtures/records/throughput.json"]),
        0,
    );
    let file = folder.path().join("durations.json");
    let written = said(&history_of(&["durations", text(&file)]), 0);
    assert!(written.contains("durations of 1 scenario"), "{written}");
    let text = fs::read_to_string(&file).unwrap();
    assert_eq!(said(&history_of(&["durations"]), 0), text);
}
