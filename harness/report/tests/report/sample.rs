//! Made-up runs and comparisons.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use sanlab_record::{
    Cost, Failure, FailureKind, Finding, KnownBy, Measurement, Outcome, Phase, RunRecord, Sample,
    Work,
};
use sanlab_report::comparison::{self, Comparison, Rules, Side};
use sanlab_report::load::{LoadedComparison, LoadedRun};
use sanlab_report::measure::Measure;
use sanlab_report::verdict::{Judgement, Verdict};
use serde_json::Value;

const MIB: u64 = 1 << 20;

/// 2026-11-22 02:13:20 UTC, and a day a number later.
pub(crate) fn day(number: u32) -> f64 {
    1_795_313_600.25 + 86_400.0 * f64::from(number)
}

/// Where records that were kept lie.
pub(crate) fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/records")
}

/// A run that passed on some day, with two repetitions of a step of 64 MiB at so many MiB/s each.
pub(crate) fn run(number: u32, rates: [f64; 2]) -> RunRecord {
    let work = Work {
        tool: "dd".to_owned(),
        rw: "write".to_owned(),
        on: vec!["vb".to_owned()],
        block_bytes: MIB,
        bytes_each: 64 * MIB,
        runtime_seconds: None,
        queue_depth: 1,
        direct: true,
        sync: "never".to_owned(),
    };
    let mut measurements = Vec::new();
    let mut samples = Vec::new();
    for (repetition, rate) in (1..).zip(rates) {
        let seconds = 64.0 / rate;
        let at = 2.0 + f64::from(repetition);
        let cost = |instructions| Cost {
            instructions: Some(instructions),
            host_cpu_seconds: seconds / 2.0,
            sent_bytes: 33 * MIB,
            received_bytes: MIB,
        };
        measurements.push(Measurement {
            step: "load".to_owned(),
            repetition,
            warm_up: false,
            work: work.clone(),
            at,
            seconds,
            bytes: 64 * MIB,
            nodes: BTreeMap::from([
                ("va".to_owned(), cost(400_000_000)),
                ("vb".to_owned(), cost(240_000_000)),
            ]),
        });
        let mut sample = Sample::new("load", "vb", "x86", 64 * MIB, seconds * 0.99, seconds);
        sample.repetition = repetition;
        sample.at = Some(at);
        samples.push(sample);
    }
    let text = include_str!("../../../../fixtures/records/throughput.json");
    let kept = RunRecord::from_json(text).expect("a record");
    let node = |name: &str| (name.to_owned(), kept.nodes["client"].clone());
    RunRecord {
        title: "two nodes write".to_owned(),
        started: day(number),
        seed: 6,
        mtu: 65_000,
        phases: vec![Phase {
            name: "step load".into(),
            at: 2.5,
            seconds: 7.25,
            origin: sanlab_record::Origin::Built,
        }],
        events: Vec::new(),
        samples,
        measurements,
        timeline: None,
        nodes: BTreeMap::from(["va", "vb"].map(node)),
        ..kept.clone()
    }
}

/// A run that did not pass, whose words mean something in every form of a report.
pub(crate) fn hostile(number: u32, broken: bool) -> RunRecord {
    let failure = Failure::new(
        "step load",
        FailureKind::CommandFailed,
        "dd on vb: exited with 1\n```\n</pre><script>alert(1)</script> @maintainer #1 ]]> \u{1b}[31m|",
    );
    let mut record = run(number, [100.0, 101.0]);
    record.outcome = if broken {
        Outcome::Broken(failure)
    } else {
        Outcome::Failed(failure)
    };
    "evil/<b>|`*_".clone_into(&mut record.scenario);
    record.console_tail = BTreeMap::from([(
        "vb".to_owned(),
        vec![
            "[   12.5] Kernel panic - not syncing".to_owned(),
            "````` & <i> \u{0}".to_owned(),
        ],
    )]);
    record
}

/// One of each: it counts, it follows from a fault, it is expected.
pub(crate) fn findings() -> Vec<Finding> {
    let text = include_str!("../../../../fixtures/records/format-1.json");
    RunRecord::from_json(text).expect("a record").findings
}

/// A run that failed in the way that its scenario names as known.
pub(crate) fn known(number: u32, because: &str, source: &str) -> RunRecord {
    let mut record = run(number, [100.0, 101.0]);
    "drbd/late_write".clone_into(&mut record.scenario);
    record.outcome = Outcome::KnownFailure {
        failure: Failure::new(
            "step verify",
            FailureKind::BlocksLost,
            "2 of 158 acknowledged blocks of /mnt/san/vb.journal read as zeros on va: 156-157",
        ),
        known: KnownBy {
            because: because.to_owned(),
            source: source.to_owned(),
        },
    };
    record.findings = findings();
    record
}

/// As it would lie in a run's folder.
pub(crate) fn loaded(record: RunRecord) -> LoadedRun {
    LoadedRun {
        path: PathBuf::from(format!("runs/{:.0}/record.json", record.started)),
        record,
    }
}

pub(crate) fn judgement(measure: Measure, verdict: Verdict, ratio: f64) -> Judgement {
    let a = vec![100.0, 102.0, 98.0, 101.0];
    Judgement {
        step: "load".to_owned(),
        measure,
        verdict,
        ratio,
        interval: (ratio - 0.02, ratio + 0.03),
        p: if verdict == Verdict::Regressed {
            0.0002
        } else {
            0.25
        },
        certain: false,
        margin: 0.05,
        within: (verdict == Verdict::NoChange).then_some(0.05),
        noise_floor: Some(0.031),
        b: a.iter().map(|figure| figure * ratio).collect(),
        a,
    }
}

pub(crate) fn comparison(judgements: Vec<Judgement>) -> LoadedComparison {
    let side = |mtu: &str| Side {
        settings: BTreeMap::from([("mtu".to_owned(), mtu.to_owned())]),
        records: vec![format!("a-1/{mtu}/record.json")],
    };
    let verdict = judgements
        .iter()
        .map(|judgement| judgement.verdict)
        .min()
        .unwrap_or(Verdict::Undecided);
    LoadedComparison {
        path: PathBuf::from("runs/compare/comparison.json"),
        comparison: Comparison {
            format: comparison::FORMAT,
            scenario: "throughput/two_nodes".to_owned(),
            title: "two nodes write".to_owned(),
            started: day(9),
            seconds: 125.5,
            a: side("65000"),
            b: side("1500"),
            pairs: 4,
            rules: Rules {
                margins: BTreeMap::from([(Measure::Throughput, 0.05)]),
                noise_floors: BTreeMap::new(),
                exacting: BTreeSet::new(),
                seed: 6,
            },
            judgements,
            verdict,
        },
    }
}

/// JSON without what its numbers say beyond twelve digits: reading a number's text may cost its last binary digit.
pub(crate) fn rounded(text: &str) -> Value {
    fn round(value: &mut Value) {
        match value {
            Value::Number(number) if number.is_f64() => {
                *value = Value::String(format!("{:.11e}", number.as_f64().unwrap_or(f64::NAN)));
            }
            Value::Array(values) => values.iter_mut().for_each(round),
            Value::Object(values) => values.values_mut().for_each(round),
            _ => {}
        }
    }
    let mut value = serde_json::from_str(text).expect("JSON");
    round(&mut value);
    value
}
