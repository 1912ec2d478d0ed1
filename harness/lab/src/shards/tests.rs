//! Sharding and merging on made-up records: whatever the split, the order and the repetitions, a merged folder is what one host would have left,
//! or names exactly what is missing.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use fs_err as fs;
use proptest::prelude::*;
use sanlab_plan::Plan;
use sanlab_record::{Failure, FailureKind, KnownBy, Origin, Outcome, Phase, PhaseName, RunRecord};
use sanlab_report::report::Report;
use sanlab_report::{junit, load};

use super::divide::{Item, divide};
use super::division::Division;
use super::durations::Expected;
use super::folders::{self, Found};
use super::merge::{self, Merged, is_missing};
use super::suite::{ShardRun, Suite};
use super::{ShardError, place};
use crate::Exit;
use crate::commands::merge::exit_of_all;
use crate::lab::runs::{attempt_name, without_run};
use crate::terminal::summary::summary_table;

/// A plan of this id.
pub(crate) fn plan(id: &str) -> Plan {
    let text = "name = \"a suite\"\nnodes = { \"vix[0-1]\" = { arch = \"x86\" } }\n\
                layer = [{ nbd = { disk = \"64MiB\" } }]";
    let plan = sanlab_plan::parse(Path::new("a.toml"), text).unwrap();
    Plan {
        id: id.to_owned(),
        ..plan
    }
}

/// When everything began, seconds since 1970.
const BEGAN: f64 = 1_795_313_600.0;

/// How runs end, by number.
fn outcome(number: u8) -> Outcome {
    let failure = |kind| Failure::new(PhaseName::step("verify"), kind, "2 of 158 blocks");
    match number {
        0 | 1 => Outcome::Passed,
        2 => Outcome::Failed(failure(FailureKind::BlocksLost)),
        3 => Outcome::Broken(failure(FailureKind::QemuDead)),
        4 => Outcome::KnownFailure {
            failure: failure(FailureKind::BlocksLost),
            known: KnownBy {
                because: "the bitmap fills the disk".to_owned(),
                source: "https://example.org/bugs/17".to_owned(),
            },
        },
        5 => Outcome::Broken(failure(FailureKind::Interrupted)),
        _ => Outcome::Skipped {
            reason: "after one that did not pass".to_owned(),
        },
    }
}

fn record(id: &str, at: f64, outcome: Outcome) -> RunRecord {
    let phase = Phase {
        name: PhaseName::Boot,
        at: 0.0,
        seconds: 4.5,
        origin: Origin::Built,
    };
    RunRecord {
        started: BEGAN + at,
        phases: vec![phase],
        ..without_run(id, "made up", outcome)
    }
}

/// A record with a log beside it.
fn write(run: &Path, id: &str, attempt: u32, record: &RunRecord) {
    let folder = run.join(attempt_name(id, attempt));
    fs::create_dir_all(folder.join("output")).unwrap();
    fs::write(folder.join("output/n0.txt"), format!("{}", record.started)).unwrap();
    fs::write(folder.join("record.json"), record.to_json()).unwrap();
}

fn division(seconds: &[u64], count: usize) -> Division {
    let item = |(number, seconds): (usize, &u64)| Item {
        id: format!("folder/s{number}"),
        seconds: Duration::from_secs(*seconds),
        checkpoints: Vec::new(),
    };
    let items: Vec<Item> = seconds.iter().enumerate().map(item).collect();
    let shards = divide(&items, count);
    let known = |item| Expected { item, known: true };
    Division {
        suite: items.into_iter().map(known).collect(),
        shards,
    }
}

/// Every file below a folder with its bytes.
fn tree(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut files = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(&next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let bytes = fs::read(&path).unwrap();
                files.insert(path.strip_prefix(folder).unwrap().to_owned(), bytes);
            }
        }
    }
    files
}

fn merge_into(folders: &[PathBuf], out: &Path) -> Merged {
    let Found { folders, .. } = folders::find(folders);
    let paths: Vec<PathBuf> = folders.iter().map(|folder| folder.path.clone()).collect();
    place::check(out, &paths).unwrap();
    let merged = merge::merge(&folders).unwrap();
    place::write(&merged, out).unwrap();
    merged
}

/// The report of a folder, with the folder's own name taken out.
fn xml(folder: &Path) -> String {
    let loaded = load::load(&[folder.to_owned()]).unwrap();
    let report = Report::new("a suite", BEGAN, loaded, &[], None);
    let xml = junit::render(&report).unwrap();
    xml.replace(&folder.display().to_string(), "DIR")
}

/// What a made-up night was like.
#[derive(Debug, Clone)]
struct Night {
    /// What each scenario is expected to take.
    seconds: Vec<u64>,
    attempts: u32,
    count: usize,
    /// How each run ended: more than there are runs.
    outcomes: Vec<u8>,
    /// Of each shard: 0 once, 1 started again after a first run that left a part, 2 not there.
    courses: Vec<u8>,
    /// Runs that left no record, or only its beginning.
    lost: Vec<Option<bool>>,
    /// Draws orders.
    order: u64,
}

fn nights() -> impl Strategy<Value = Night> {
    let lost = prop_oneof![8 => Just(None), 1 => any::<bool>().prop_map(Some)];
    let courses = prop_oneof![4 => Just(0_u8), 2 => Just(1), 1 => Just(2)];
    (
        prop::collection::vec(1_u64..90, 1..7),
        1_u32..3,
        1_usize..5,
        prop::collection::vec(0_u8..8, 12),
        prop::collection::vec(courses, 4),
        prop::collection::vec(lost, 12),
        any::<u64>(),
    )
        .prop_map(
            |(seconds, attempts, count, outcomes, courses, lost, order)| Night {
                seconds,
                attempts,
                count,
                outcomes,
                courses,
                lost,
                order,
            },
        )
}

/// The folders of a night.
struct Folders {
    /// What one host would have left.
    whole: PathBuf,
    records: Vec<RunRecord>,
    /// What the shards left.
    parts: Vec<PathBuf>,
    /// The names of those of which no record can be read.
    missing: BTreeSet<String>,
    /// How many of these have a record that is cut short.
    cut: usize,
}

impl Night {
    fn make(&self, root: &Path) -> Folders {
        let division = division(&self.seconds, self.count);
        let mut folders = Folders {
            whole: root.join("whole"),
            records: Vec::new(),
            parts: Vec::new(),
            missing: BTreeSet::new(),
            cut: 0,
        };
        for (number, course) in (1..=self.count).zip(&self.courses) {
            let runs = match course {
                0 => vec![format!("run-{number}")],
                1 => vec![format!("again-{number}"), format!("run-{number}")],
                _ => Vec::new(),
            };
            for run in runs {
                let path = root.join("shards").join(&run);
                fs::create_dir_all(&path).unwrap();
                let started = BEGAN + number as f64;
                let shard = number;
                let run = ShardRun {
                    shard,
                    run,
                    started,
                };
                let suite = Suite::of_shard(&division, self.attempts, run);
                suite.write(&path).unwrap();
                folders.parts.push(path);
            }
        }
        let runs = Suite::of_shard(&division, self.attempts, first_run());
        for (number, wanted) in runs.wanted().into_iter().enumerate() {
            let (id, attempt) = (wanted.id, wanted.attempt);
            let at = 100.0 * number as f64;
            let record = record(id, at, outcome(self.outcomes[number]));
            write(&folders.whole, id, attempt, &record);
            let part = root.join(format!("shards/run-{}", wanted.shard));
            match self.lost[number] {
                None if part.exists() => write(&part, id, attempt, &record),
                Some(is_cut) if part.exists() && is_cut => {
                    write(&part, id, attempt, &record);
                    let path = part.join(wanted.folder()).join("record.json");
                    let text = fs::read_to_string(&path).unwrap();
                    fs::write(&path, &text[..text.len() / 2]).unwrap();
                    folders.missing.insert(wanted.folder());
                    folders.cut += 1;
                }
                _ => drop(folders.missing.insert(wanted.folder())),
            }
            // What the first run of a shard came to was done again, later.
            let earlier = root.join(format!("shards/again-{}", wanted.shard));
            if earlier.exists() && number % 2 == 0 && !folders.missing.contains(&wanted.folder()) {
                let other = RunRecord {
                    started: record.started - 50.0,
                    ..record.clone()
                };
                write(&earlier, id, attempt, &other);
            }
            folders.records.push(record);
        }
        folders
    }
}

fn first_run() -> ShardRun {
    ShardRun {
        shard: 1,
        run: "first".to_owned(),
        started: BEGAN,
    }
}

/// In an order that is drawn, some of them twice.
fn shuffled(folders: &[PathBuf], seed: u64) -> Vec<PathBuf> {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut folders = folders.to_vec();
    let again: Vec<PathBuf> = folders.iter().filter(|_| random.bool()).cloned().collect();
    folders.extend(again);
    random.shuffle(&mut folders);
    folders
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn a_merged_folder_is_what_one_host_leaves_or_names_what_is_missing(night in nights()) {
        let root = tempfile::tempdir().unwrap();
        let made = night.make(root.path());
        let at = |name: &str| root.path().join(name);
        prop_assume!(!made.parts.is_empty());
        let merged = merge_into(&made.parts, &at("merged"));
        let bytes = tree(&at("merged"));

        // Any order, repeated, one folder above all of them, and in two steps.
        merge_into(&shuffled(&made.parts, night.order), &at("other"));
        prop_assert_eq!(&tree(&at("other")), &bytes);
        merge_into(&[at("shards")], &at("above"));
        prop_assert_eq!(&tree(&at("above")), &bytes);
        let (some, rest) = made.parts.split_at(1 + made.parts.len() / 2);
        merge_into(some, &at("steps"));
        merge_into(&[&[at("steps")], rest].concat(), &at("steps"));
        prop_assert_eq!(&tree(&at("steps")), &bytes);
        // With its own parts again, and alone.
        let before = fs::metadata(at("merged/suite.json")).unwrap().modified().unwrap();
        merge_into(&[&[at("merged")], &made.parts[..]].concat(), &at("merged"));
        merge_into(&[at("merged")], &at("merged"));
        prop_assert_eq!(&tree(&at("merged")), &bytes);
        let after = fs::metadata(at("merged/suite.json")).unwrap().modified().unwrap();
        prop_assert_eq!(before, after);

        let records: Vec<RunRecord> = merged.runs.iter().map(|run| run.record.clone()).collect();
        let missing = merged.runs.iter().filter(|run| is_missing(&run.record.outcome));
        let missing: BTreeSet<String> = missing.map(|run| run.name.clone()).collect();
        prop_assert_eq!(&missing, &made.missing);
        let cut = merged.told.iter().filter(|line| line.contains("cut short"));
        prop_assert_eq!(cut.count(), made.cut);
        for (mine, whole) in records.iter().zip(&made.records) {
            prop_assert!(mine == whole || is_missing(&mine.outcome));
        }
        prop_assert_eq!(records.len(), made.records.len());
        if missing.is_empty() {
            prop_assert_eq!(summary_table(&records), summary_table(&made.records));
            prop_assert_eq!(xml(&at("merged")), xml(&made.whole));
            prop_assert_eq!(exit_of_all(&records), exit_of_all(&made.records));
        } else {
            prop_assert!(exit_of_all(&records) >= Exit::Broken);
            let xml = xml(&at("merged"));
            prop_assert_eq!(xml.matches("no record: shard").count(), 2 * missing.len());
        }
    }
}

/// Two shards of three scenarios, with all their records.
fn two_shards(root: &Path) -> Vec<PathBuf> {
    let night = Night {
        seconds: vec![30, 20, 10],
        attempts: 1,
        count: 2,
        outcomes: vec![0; 12],
        courses: vec![0; 4],
        lost: vec![None; 12],
        order: 0,
    };
    night.make(root).parts
}

#[test]
fn an_interrupted_run_does_not_replace_one_that_came_to_its_end() {
    let root = tempfile::tempdir().unwrap();
    let parts = two_shards(root.path());
    // The shard is started again although it was whole, and interrupted; and once more, and does not come to it.
    let mut again = Vec::new();
    for (name, number) in [("again", 5), ("skipped", 7)] {
        let path = root.path().join(name);
        fs::create_dir_all(&path).unwrap();
        fs::copy(parts[0].join("suite.json"), path.join("suite.json")).unwrap();
        let later = record("folder/s0", 9000.0, outcome(number));
        write(&path, "folder/s0", 1, &later);
        again.push(path);
    }
    let out = root.path().join("merged");
    let merged = merge_into(&[parts, again].concat(), &out);
    assert_eq!(merged.runs[0].record.outcome, Outcome::Passed);
    let told = merged.told.join("\n");
    let told = told.replace(&root.path().display().to_string(), "DIR");
    insta::assert_snapshot!(told);
}

#[test]
fn a_run_of_an_earlier_night_is_told() {
    let root = tempfile::tempdir().unwrap();
    let parts = two_shards(root.path());
    let out = root.path().join("merged");
    assert!(merge_into(&parts, &out).told.is_empty());
    let mut suite = Suite::read(&parts[0]).unwrap();
    suite.runs[0].started -= 2.0 * 86_400.0;
    suite.write(&parts[0]).unwrap();
    let merged = merge_into(&parts, &root.path().join("again"));
    let told = merged.told.join("\n");
    assert!(
        told.starts_with("run-1 and run-2 began 2 d 00 h apart"),
        "{told}"
    );
}

#[test]
fn what_is_no_shard_of_the_same_suite_is_refused() {
    let root = tempfile::tempdir().unwrap();
    let parts = two_shards(root.path());
    let other = |name: &str, seconds: &[u64], count, attempts| {
        let path = root.path().join(name);
        fs::create_dir_all(&path).unwrap();
        let division = division(seconds, count);
        let suite = Suite::of_shard(&division, attempts, first_run());
        suite.write(&path).unwrap();
        path
    };
    let others = [
        other("more-shards", &[30, 20, 10], 3, 1),
        other("repeated", &[30, 20, 10], 2, 5),
        other("other-durations", &[10, 20, 30], 2, 1),
        other("fewer-scenarios", &[30, 20], 2, 1),
    ];
    let shown = |error: &dyn std::error::Error| {
        let text = error.to_string();
        text.replace(&root.path().display().to_string(), "DIR")
    };
    let mut refused: Vec<String> = others
        .iter()
        .map(|other| {
            let Found { folders, .. } = folders::find(&[parts[1].clone(), other.clone()]);
            shown(&merge::merge(&folders).unwrap_err())
        })
        .collect();
    let full = place::check(&others[0], &parts).unwrap_err();
    refused.push(shown(&full));
    let Found { left_out, .. } =
        folders::find(&[root.path().join("whole"), root.path().join("none")]);
    refused.push(shown(&ShardError::NothingToMerge { told: left_out }));
    insta::assert_snapshot!(refused.join("\n\n"));
}

#[test]
fn a_suite_that_leads_out_of_its_folder_is_left_out() {
    let root = tempfile::tempdir().unwrap();
    let parts = two_shards(root.path());
    let path = parts[0].join("suite.json");
    let text = fs::read_to_string(&path).unwrap();
    let refused = [
        text.replace("folder/s0", "../s0"),
        text.replace("folder/s0", "/s0"),
        text.replace("folder/s1", "folder/s0"),
        text.replace("\"attempts\": 1", "\"attempts\": 0"),
        text.replace("\"format\": 1", "\"format\": 9"),
        text[..40].to_owned(),
    ]
    .map(|text| {
        fs::write(&path, text).unwrap();
        let Found { folders, left_out } = folders::find(&parts[..1]);
        assert!(folders.is_empty());
        left_out.join("\n")
    });
    let refused = refused.join("\n");
    insta::assert_snapshot!(refused.replace(&root.path().display().to_string(), "DIR"));
}
