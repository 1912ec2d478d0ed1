//! A history of very many runs: what a report needs of it is read fast, and takes little space. A test of its own process, for what
//! a process had in memory at most is counted from its start.
//!
//! `SANLAB_TIER=nightly` takes 100,000 runs, as the limits below are meant for; else it is 5,000, within the same limits.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use fs_err as fs;
use sanlab_record::RunRecord;
use sanlab_report::history::History;
use sanlab_report::series::figures;
use sanlab_report::trend;

const LARGEST_FILE: u64 = 200 << 20;
const MOST_MEMORY: u64 = 200 << 20;
const LONGEST: Duration = Duration::from_secs(1);

/// As `throughput/two_nodes` has it: a step, four repetitions.
fn record(kept: &RunRecord, number: u32) -> RunRecord {
    let mut record = kept.clone();
    record.started += 60.0 * f64::from(number);
    record.seed = u64::from(number);
    for (one, place) in record.measurements.iter_mut().zip(number..) {
        one.seconds *= 1.0 + f64::from(place % 17) / 100.0;
    }
    record
}

#[test]
fn what_a_report_needs_is_read_from_very_many_runs() {
    let nightly = std::env::var("SANLAB_TIER").is_ok_and(|tier| tier == "nightly");
    let runs = if nightly { 100_000 } else { 5_000 };
    let kept = include_str!("../../../../fixtures/records/throughput.json");
    let kept = RunRecord::from_json(kept).expect("a record");
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("history.sqlite");
    let mut history = History::open(&path).expect("it is made");
    let begin = Instant::now();
    for first in (0..runs).step_by(500) {
        let chunk: Vec<_> = (first..first + 500)
            .map(|number| record(&kept, number))
            .collect();
        assert_eq!(history.import(&chunk).expect("imported").new, 500);
    }
    let imported = begin.elapsed();
    drop(history);

    let begin = Instant::now();
    let history = History::open(&path).expect("it is there");
    let series: BTreeSet<_> = figures(&record(&kept, runs))
        .into_iter()
        .map(|figures| figures.series)
        .collect();
    let newest = history.newest(&series, trend::LONGEST).expect("read");
    let trends = trend::trends(&newest);
    let took = begin.elapsed();
    assert_eq!(newest.len(), trend::LONGEST * series.len());
    assert!(!trends.is_empty());
    let begin = Instant::now();
    let all: usize = history
        .series()
        .expect("read")
        .iter()
        .map(|(_, runs)| runs)
        .sum();
    let listed = begin.elapsed();
    assert_eq!(all, runs as usize * series.len());
    drop(history);

    let size = fs::metadata(&path).expect("it is there").len();
    let memory = most_memory();
    let told = format!(
        "{runs} runs: taken in {imported:.1?}, a report's part read in {took:.2?}, all series listed in {listed:.2?}, file {} MiB, \
         memory {} MiB",
        size >> 20,
        memory >> 20
    );
    assert!(took < LONGEST && listed < LONGEST, "{told}");
    assert!(size < LARGEST_FILE && memory < MOST_MEMORY, "{told}");
}

/// What this process had in memory at most, bytes.
fn most_memory() -> u64 {
    let status = fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let number = line.and_then(|line| line.trim().strip_suffix(" kB"));
    number
        .and_then(|kib| kib.trim().parse::<u64>().ok())
        .expect("a number of kB")
        << 10
}
