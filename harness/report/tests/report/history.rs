//! The history's file: what goes in comes out, once.

use std::collections::BTreeMap;
use std::path::Path;

use fs_err as fs;
use sanlab_record::RunRecord;
use sanlab_report::ReportError;
use sanlab_report::history::{History, Imported, Learnt, Pruned};
use sanlab_report::measure::Measure;
use sanlab_report::series::figures;

use crate::sample::{day, hostile, rounded, run};

fn open() -> (tempfile::TempDir, History) {
    let folder = tempfile::tempdir().expect("a folder");
    let history = History::open(&folder.path().join("deep/er/history.sqlite")).expect("it is made");
    (folder, history)
}

fn imported(new: usize, known: usize, without_figures: usize) -> Imported {
    Imported {
        new,
        known,
        without_figures,
    }
}

fn text(history: &History) -> String {
    let mut bytes = Vec::new();
    history.export(&mut bytes).expect("exported");
    String::from_utf8(bytes).expect("JSON is text")
}

fn lines(text: &str) -> Vec<serde_json::Value> {
    text.lines().map(rounded).collect()
}

#[test]
fn an_empty_history_has_nothing_and_says_so() {
    let (_folder, history) = open();
    assert_eq!(history.runs().expect("read"), 0);
    assert!(history.figures().expect("read").is_empty());
    assert!(history.series().expect("read").is_empty());
    let error = history.export(&mut Vec::new()).expect_err("nothing");
    assert!(error.to_string().contains("it knows no runs"), "{error}");
}

#[test]
fn every_repetition_comes_out_as_it_went_in() {
    let (_folder, mut history) = open();
    let records = [run(2, [92.0, 93.0]), run(1, [90.0, 91.0])];
    let found = history.import(&records).expect("imported");
    assert_eq!(found, imported(2, 0, 0));
    let mut expected: Vec<_> = records.iter().flat_map(figures).collect();
    expected.sort_by(|one, other| one.started.total_cmp(&other.started));
    assert!(!expected.is_empty() && expected[0].repetitions[&Measure::Throughput].len() == 2);
    assert_eq!(history.figures().expect("read"), expected);
    let series = history.series().expect("read");
    assert_eq!(series.len(), 1, "the same circumstances: {series:?}");
    assert_eq!(series[0].1, 2);
}

#[test]
fn the_same_run_twice_is_one_run() {
    let (_folder, mut history) = open();
    let records = [
        run(1, [90.0, 91.0]),
        run(1, [90.0, 91.0]),
        hostile(2, false),
    ];
    assert_eq!(history.import(&records).expect("imported").new, 2);
    let before = text(&history);
    assert_eq!(
        history.import(&records).expect("imported"),
        imported(0, 2, 0)
    );
    assert_eq!(text(&history), before);
}

#[test]
fn runs_that_differ_in_one_thing_are_two_runs() {
    let (_folder, mut history) = open();
    let one = run(1, [90.0, 91.0]);
    let change = |change: fn(&mut RunRecord)| {
        let mut other = one.clone();
        change(&mut other);
        other
    };
    let records = [
        one.clone(),
        change(|run| run.started += 0.001),
        change(|run| run.seed += 1),
        change(|run| run.scenario.push('2')),
        change(|run| {
            run.settings.insert("mtu".to_owned(), "1500".to_owned());
        }),
    ];
    assert_eq!(
        history.import(&records).expect("imported").new,
        records.len()
    );
}

#[test]
fn runs_that_did_not_pass_are_known_and_have_no_figures() {
    let (_folder, mut history) = open();
    let found = history
        .import(&[hostile(1, false), hostile(2, true)])
        .expect("imported");
    assert_eq!(found, imported(2, 0, 2));
    assert_eq!(history.runs().expect("read"), 2);
    assert!(history.figures().expect("read").is_empty());
    assert_eq!(text(&history).lines().count(), 2);
}

#[test]
fn lines_go_from_one_history_into_another() {
    let (_folder, mut history) = open();
    let mut records: Vec<_> = (1..5)
        .map(|day| run(day, [90.0 + f64::from(day), 93.5]))
        .collect();
    records.push(hostile(7, true));
    history.import(&records).expect("imported");
    let exported = text(&history);

    let (_other_folder, mut other) = open();
    let name = Path::new("lines.jsonl");
    assert_eq!(
        other.import_lines(name, &exported).expect("imported"),
        imported(5, 0, 1)
    );
    assert_eq!(lines(&text(&other)), lines(&exported));
    assert_eq!(
        other.figures().expect("read").len(),
        history.figures().expect("read").len()
    );
    // And neither the lines nor the records come in a second time.
    assert_eq!(
        other.import_lines(name, &exported).expect("imported").new,
        0
    );
    assert_eq!(other.import(&records).expect("imported"), imported(0, 5, 0));
}

#[test]
fn a_bad_line_is_named_and_nothing_of_the_file_comes_in() {
    let (_folder, mut history) = open();
    history.import(&[run(1, [90.0, 91.0])]).expect("imported");
    let good = text(&history);
    let (_other_folder, mut other) = open();
    let cut = &good[..good.len() / 2];
    let cases = [
        ("cut short", format!("{good}\n{cut}")),
        (
            "another format",
            good.replacen("\"format\":1", "\"format\":9", 1),
        ),
        ("a record", "{\n  \"format\": 4\n}\n".to_owned()),
        ("not JSON", "hello\n".to_owned()),
        ("nothing", "\n\n".to_owned()),
    ];
    let said: Vec<_> = cases
        .iter()
        .map(|(what, text)| {
            let error = other
                .import_lines(Path::new("lines.jsonl"), text)
                .expect_err("a bad line");
            format!("== {what}\nfailed to {error}\n")
        })
        .collect();
    insta::assert_snapshot!(said.join("\n"));
    assert_eq!(other.runs().expect("read"), 0);
}

#[test]
fn the_newest_runs_of_a_series_are_read_and_the_others_pruned() {
    let (_folder, mut history) = open();
    let mut records: Vec<RunRecord> = (1..=9).map(|day| run(day, [90.0, 91.0])).collect();
    records[3].mtu = 1500;
    // Without figures.
    records.extend((20..=24).map(|day| hostile(day, false)));
    history.import(&records).expect("taken in");
    let series: Vec<_> = history.series().expect("read");
    let counts: Vec<usize> = series.iter().map(|(_, runs)| *runs).collect();
    assert_eq!(counts, [1, 8]);
    let many = series.into_iter().find(|(_, runs)| *runs == 8).unwrap().0;
    let days = |history: &History| -> Vec<f64> {
        let newest = history.newest(&[many.clone()].into(), 3).expect("read");
        newest.iter().map(|figures| figures.started).collect()
    };
    assert_eq!(days(&history), [day(7), day(8), day(9)]);
    let all = history.figures().expect("read");
    let last = all.last().expect("there are some");
    let newest = history.newest(&[many.clone()].into(), 1).expect("read");
    assert_eq!(newest.first(), Some(last), "the same by either way");
    let pruned = history.prune(3).expect("pruned");
    assert_eq!((pruned.runs, pruned.entries), (5 + 2, 5));
    assert_eq!(history.runs().expect("read"), 1 + 3 + 3);
    assert_eq!(days(&history), [day(7), day(8), day(9)]);
    assert_eq!(history.prune(3).expect("pruned"), Pruned::default());
}

#[test]
fn the_noise_learnt_last_on_this_class_of_host_counts() {
    let (_folder, mut history) = open();
    let mut learn = |host: &str, floor: f64, at: f64, pairs: u32| {
        let learnt = Learnt {
            at,
            pairs,
            comparisons: 100,
        };
        let floors = BTreeMap::from([
            (Measure::Throughput, floor),
            (Measure::HostCpu, floor / 2.0),
        ]);
        history
            .learn_noise(host, "tcg", &floors, learnt)
            .expect("kept")
    };
    assert_eq!(learn("slow", 0.12, 100.0, 5), None);
    assert_eq!(learn("slow", 0.08, 200.0, 20), None);
    assert_eq!(learn("fast", 0.01, 300.0, 5), None);
    // Fewer pairs never replace more.
    let known = learn("slow", 0.02, 400.0, 19).expect("known");
    assert_eq!((known.pairs, known.at), (20, 200.0));
    let floors = history.noise_floors("slow", "tcg").expect("read");
    assert_eq!(
        floors,
        BTreeMap::from([(Measure::Throughput, 0.08), (Measure::HostCpu, 0.04)])
    );
    assert!(
        history
            .noise_floors("slow", "kvm")
            .expect("read")
            .is_empty()
    );
}

#[test]
fn a_history_is_kept_between_programs() {
    let (folder, mut history) = open();
    history.import(&[run(1, [90.0, 91.0])]).expect("imported");
    let before = text(&history);
    drop(history);
    let again = History::open(&folder.path().join("deep/er/history.sqlite")).expect("it is there");
    assert_eq!(text(&again), before);
}

#[test]
fn two_programs_at_a_time_lose_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("history.sqlite");
    std::thread::scope(|scope| {
        for part in 0..4 {
            let path = &path;
            scope.spawn(move || {
                let mut history = History::open(path).expect("opened by all");
                for number in 0..5 {
                    let record = run(part * 5 + number, [90.0, 91.0]);
                    history.import(&[record]).expect("waits for the others");
                }
            });
        }
    });
    assert_eq!(
        History::open(&path).expect("opened").runs().expect("read"),
        20
    );
}

#[test]
fn files_that_are_no_history_stay_as_they_are() {
    let folder = tempfile::tempdir().expect("a folder");
    let text = folder.path().join("notes.txt");
    fs::write(
        &text,
        "these are notes, and more than a hundred bytes of them: ".repeat(40),
    )
    .expect("written");
    let error = History::open(&text).expect_err("notes");
    assert!(matches!(error, ReportError::NotHistory { .. }), "{error:?}");

    let foreign = folder.path().join("other.sqlite");
    let connection = rusqlite::Connection::open(&foreign).expect("made");
    connection
        .execute_batch("CREATE TABLE birds (name TEXT)")
        .expect("made");
    let error = History::open(&foreign).expect_err("birds");
    assert!(matches!(error, ReportError::NotHistory { .. }), "{error:?}");
    let tables: i64 = connection
        .query_row("SELECT count(*) FROM sqlite_schema", (), |row| row.get(0))
        .expect("read");
    assert_eq!(tables, 1, "nothing was added to it");
}

#[test]
fn a_history_from_the_future_is_left_alone() {
    let (folder, history) = open();
    drop(history);
    let path = folder.path().join("deep/er/history.sqlite");
    let connection = rusqlite::Connection::open(&path).expect("opened");
    connection
        .pragma_update(None, "user_version", 99)
        .expect("set");
    drop(connection);
    let error = History::open(&path).expect_err("from the future");
    assert!(error.to_string().contains("of version 99"), "{error}");
}

#[test]
fn what_scenarios_took_is_the_median_of_their_newest_runs_that_went_through() {
    let (_folder, mut history) = open();
    let took = |number: u32, seconds: f64| {
        let mut record = run(number, [90.0, 91.0]);
        record.events.clear();
        record.phases.truncate(1);
        record.phases[0].at = 0.0;
        record.phases[0].seconds = seconds;
        record
    };
    // The oldest is the sixth from the end.
    let seconds = [500.0, 10.0, 11.0, 14.0, 12.0, 13.0];
    let mut records: Vec<_> = (1..)
        .zip(seconds)
        .map(|(day, took_then)| took(day, took_then))
        .collect();
    let mut failed = hostile(9, false);
    failed.scenario.clone_from(&records[0].scenario);
    records.push(failed);
    let scenario = records[0].scenario.clone();
    history.import(&records).expect("imported");
    let durations = history.durations().expect("read");
    assert_eq!(durations.get(&scenario), Some(&12.0), "{durations:?}");

    // An older version's lines do not say it; the records add it.
    let all = text(&history);
    let without = all.lines().map(|line| {
        let mut line: serde_json::Value = serde_json::from_str(line).expect("a line");
        line.as_object_mut().expect("an object").remove("seconds");
        line.to_string() + "\n"
    });
    let without: String = without.collect();
    let (_folder, mut older) = open();
    older
        .import_lines(Path::new("older.jsonl"), &without)
        .expect("imported");
    assert!(older.durations().expect("read").is_empty());
    let found = older.import(&records).expect("imported");
    assert_eq!((found.new, found.known), (0, 7));
    assert_eq!(older.durations().expect("read"), durations);
}
