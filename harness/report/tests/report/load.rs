//! Files and folders, good and bad.

use std::path::{Path, PathBuf};

use fs_err as fs;
use sanlab_record::InComparison;
use sanlab_report::load::{counted, load};
use sanlab_report::{FileFault, ReportError};

use crate::sample::{comparison, day, fixtures, judgement, run};
use sanlab_report::measure::Measure;
use sanlab_report::verdict::Verdict;

/// A folder with some files.
fn folder(files: &[(&str, &[u8])]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    for (name, bytes) in files {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().expect("in the folder")).expect("its folder");
        fs::write(path, bytes).expect("written");
    }
    folder
}

/// What is said of a folder with this one record, without the folder's own name.
fn fault(bytes: &[u8]) -> String {
    let folder = folder(&[("record.json", bytes)]);
    let error = load(&[folder.path().join("record.json")]).expect_err("a bad record");
    assert!(matches!(error, ReportError::Unreadable(_)), "{error:?}");
    format!("failed to {error}").replace(&folder.path().display().to_string(), "FOLDER")
}

#[test]
fn records_that_were_kept_are_read() {
    let loaded = load(&[
        fixtures().join("format-1.json"),
        fixtures().join("throughput.json"),
    ]);
    assert_eq!(loaded.expect("all can be read").runs.len(), 2);
}

#[test]
fn what_a_comparison_discarded_does_not_count() {
    let mut compared = comparison(vec![judgement(Measure::Throughput, Verdict::NoChange, 1.0)]);
    compared.comparison.pairs = 1;
    compared.comparison.a.records = ["a-0", "a-1"]
        .map(|run| format!("{run}/record.json"))
        .to_vec();
    // This side was proved a moment before: its first run counts.
    compared.comparison.b.records = vec!["b-1/record.json".to_owned()];
    let compared = serde_json::to_vec(&compared.comparison).expect("plain data");
    let [first, second, third] = [1, 2, 3].map(|day| run(day, [90.0, 91.0]).to_json());
    let folder = folder(&[
        ("x/comparison.json", &compared),
        ("x/a-0/record.json", first.as_bytes()),
        ("x/a-1/record.json", second.as_bytes()),
        ("x/b-1/record.json", third.as_bytes()),
    ]);
    let loaded = load(&[folder.path().to_owned()]).expect("all good");
    let days: Vec<_> = counted(&loaded.runs, &loaded.comparisons)
        .map(|record| record.started)
        .collect();
    assert_eq!((loaded.runs.len(), days), (3, vec![day(2), day(3)]));
}

#[test]
fn folders_are_searched_and_sorted_by_time() {
    let compared = comparison(vec![judgement(Measure::Throughput, Verdict::NoChange, 1.0)]);
    let compared = serde_json::to_vec(&compared.comparison).expect("plain data");
    let (first, second) = (run(1, [90.0, 91.0]), run(2, [92.0, 93.0]));
    let folder = folder(&[
        ("a/late/record.json", second.to_json().as_bytes()),
        ("b/early/record.json", first.to_json().as_bytes()),
        ("b/comparison.json", &compared),
        ("b/other.json", b"not looked at"),
        ("b/early/console.log", b"not looked at"),
    ]);
    let loaded = load(&[folder.path().to_owned()]).expect("all good");
    let started: Vec<_> = loaded.runs.iter().map(|run| run.record.started).collect();
    assert_eq!(started, [day(1), day(2)]);
    assert_eq!(loaded.comparisons.len(), 1);
    // A file that is named and lies in the folder as well counts once.
    let twice = [
        folder.path().join("a/late/record.json"),
        folder.path().to_owned(),
    ];
    assert_eq!(load(&twice).expect("all good"), {
        let mut same = loaded.clone();
        same.runs
            .sort_by(|one, other| one.record.started.total_cmp(&other.record.started));
        same
    });
}

#[test]
fn a_run_is_named_by_scenario_settings_and_folder() {
    let mut record = run(1, [90.0, 91.0]);
    record.settings.insert("mtu".to_owned(), "1500".to_owned());
    let folder = folder(&[("x.json", record.to_json().as_bytes())]);
    let loaded = load(&[folder.path().join("x.json")]).expect("a file of any name");
    assert_eq!(
        loaded.runs[0].name(),
        format!(
            "throughput/two_nodes mtu=1500 ({})",
            folder.path().display()
        )
    );
}

#[test]
fn nothing_found_says_where_and_what_would_be() {
    let folder = folder(&[("notes.txt", b"hello")]);
    let error = load(&[folder.path().to_owned()]).expect_err("no record there");
    let text = error
        .to_string()
        .replace(&folder.path().display().to_string(), "FOLDER");
    insta::assert_snapshot!(format!("failed to {text}"));
}

#[test]
fn a_path_that_is_not_there_is_named() {
    let error = load(&[PathBuf::from("/nowhere/at/all")]).expect_err("it is not there");
    assert!(error.to_string().contains("/nowhere/at/all"), "{error}");
}

#[test]
fn bad_files() {
    let good = run(1, [90.0, 91.0]).to_json();
    let of_format =
        |format: u32| good.replacen("\"format\": 1", &format!("\"format\": {format}"), 1);
    let without = |key: &str| good.replacen(&format!("\"{key}\""), "\"other\"", 1);
    let cases: Vec<(&str, Vec<u8>)> = vec![
        ("empty", b" \n".to_vec()),
        ("cut short", good.as_bytes()[..good.len() / 2].to_vec()),
        (
            "cut short by its last brace",
            good.as_bytes()[..good.len() - 2].to_vec(),
        ),
        ("not JSON", b"hello = \"world\"\n".to_vec()),
        ("not text", vec![0xff, 0xfe, 0x00, 0x01]),
        ("another JSON", b"{\"name\": \"something\"}".to_vec()),
        ("a format from the future", of_format(5).into_bytes()),
        ("no format there ever was", of_format(0).into_bytes()),
        (
            "two records in one file",
            format!("{good}{good}").into_bytes(),
        ),
        ("a field is missing", without("qemu_version").into_bytes()),
        ("the host is missing", without("host").into_bytes()),
        (
            "a number is a word",
            good.replacen("\"mtu\": 65000", "\"mtu\": \"much\"", 1)
                .into_bytes(),
        ),
    ];
    let said: Vec<_> = cases
        .iter()
        .map(|(what, bytes)| format!("== {what}\n{}\n", fault(bytes)))
        .collect();
    insta::assert_snapshot!(said.join("\n"));
}

#[test]
fn all_bad_files_are_told_at_once() {
    let good = run(1, [90.0, 91.0]).to_json();
    let folder = folder(&[
        ("a/record.json", b"{"),
        ("b/record.json", good.as_bytes()),
        ("c/comparison.json", b"{\"format\": 99, \"judgements\": []}"),
    ]);
    let bad = ["a/record.json", "c/comparison.json"].map(|name| folder.path().join(name));
    let Err(ReportError::Unreadable(faults)) = load(&bad) else {
        panic!("two files are bad");
    };
    let paths: Vec<&Path> = faults.iter().map(|fault| fault.path.as_path()).collect();
    assert_eq!(paths, bad);
    assert!(
        faults[1].to_string().contains("a comparison of format 99"),
        "{}",
        faults[1]
    );
    // Of a folder they are left out, so that one of them does not take all the others along.
    let loaded = load(&[folder.path().to_owned()]).expect("one is good");
    assert_eq!(loaded.runs.len(), 1);
    let told: Vec<String> = faults.iter().map(ToString::to_string).collect();
    assert_eq!(loaded.left_out, told);
    let error = load(&[folder.path().join("a")]).expect_err("nothing good is there");
    assert!(matches!(error, ReportError::NothingFound { .. }));
    assert!(error.to_string().contains(&told[0]), "{error}");
}

#[test]
fn runs_of_a_comparison_count_only_when_it_came_to_its_end() {
    let of_pair = |day: u32, pair: u32| {
        let mut record = run(day, [90.0, 91.0]);
        let side = "A".to_owned();
        record.comparison = Some(InComparison { side, pair });
        record.to_json()
    };
    let texts = [of_pair(1, 0), of_pair(2, 1), run(3, [90.0, 91.0]).to_json()];
    let mut compared = comparison(vec![judgement(Measure::Throughput, Verdict::NoChange, 1.0)]);
    compared.comparison.pairs = 1;
    compared.comparison.a.records = ["a-0", "a-1"]
        .map(|run| format!("{run}/record.json"))
        .to_vec();
    compared.comparison.b.records = Vec::new();
    let compared = serde_json::to_vec(&compared.comparison).expect("plain data");
    let folder = folder(&[
        ("x/a-0/record.json", texts[0].as_bytes()),
        ("x/a-1/record.json", texts[1].as_bytes()),
        ("y/record.json", texts[2].as_bytes()),
    ]);
    let days = || {
        let loaded = load(&[folder.path().to_owned()]).expect("all good");
        let counted = counted(&loaded.runs, &loaded.comparisons);
        counted.map(|record| record.started).collect::<Vec<_>>()
    };
    assert_eq!(days(), [day(3)], "it was interrupted");
    fs::write(folder.path().join("x/comparison.json"), compared).expect("written");
    assert_eq!(days(), [day(2), day(3)]);
}

#[test]
fn a_record_that_is_cut_anywhere_is_never_taken_for_a_whole_one() {
    let good = run(1, [90.0, 91.0]).to_json();
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("record.json");
    // All but the newline at the end, which nobody misses.
    for length in 1..good.len() - 1 {
        fs::write(&path, &good.as_bytes()[..length]).expect("written");
        let Err(ReportError::Unreadable(faults)) = load(std::slice::from_ref(&path)) else {
            panic!("{length} bytes of it were taken for a record");
        };
        assert!(
            matches!(faults[0].fault, FileFault::CutShort { .. }),
            "{length}: {}",
            faults[0]
        );
    }
}
