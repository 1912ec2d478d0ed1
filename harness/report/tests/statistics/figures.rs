//! Figures of records: by series, with circumstances and origin.

use std::collections::BTreeMap;

use sanlab_record::{
    Cost, HostUse, Latency, LayerUse, Measurement, Outcome, RunRecord, Sample, Work,
};
use sanlab_report::measure::Measure;
use sanlab_report::series::{Figures, figures};

/// The fixture tells of a run that failed; this one passed.
fn kept() -> RunRecord {
    let text = include_str!("../../../../fixtures/records/format-1.json");
    let mut record = RunRecord::from_json(text).expect("fixtures are records");
    record.outcome = Outcome::Passed;
    record
}

fn sample(repetition: u32, node: &str, p99: Option<f64>) -> Sample {
    let latency = |p99| Latency {
        requests: 64,
        p50: 1.0,
        p95: 2.0,
        p99,
        p999: 9.0,
        max: 10.0,
    };
    Sample {
        repetition,
        latency: p99.map(latency),
        ..Sample::new("dd", node, "x86", 32 << 20, 0.5, 0.6)
    }
}

fn measurement(repetition: u32, warm_up: bool, seconds: f64) -> Measurement {
    let cost = |instructions, host_cpu_seconds, sent_bytes| Cost {
        instructions: Some(instructions),
        host_cpu_seconds,
        sent_bytes,
        received_bytes: 1,
    };
    Measurement {
        step: "dd".to_owned(),
        repetition,
        warm_up,
        work: Work {
            tool: "dd".to_owned(),
            rw: "write".to_owned(),
            on: vec!["a".to_owned(), "b".to_owned()],
            block_bytes: 64 << 10,
            bytes_each: 32 << 20,
            runtime_seconds: None,
            queue_depth: 1,
            direct: true,
            sync: "never".to_owned(),
        },
        at: 1.0,
        seconds,
        bytes: 64 << 20,
        nodes: BTreeMap::from([
            ("a".to_owned(), cost(320_000_000, 0.5, 64 << 20)),
            ("b".to_owned(), cost(320_000_000, 0.75, 32 << 20)),
        ]),
    }
}

fn today() -> RunRecord {
    let mut record = kept();
    "throughput/two-nodes".clone_into(&mut record.scenario);
    record.host = HostUse {
        cpu: "Example CPU".to_owned(),
        cpus: 2,
        memory_mib: 16000,
        kernel: "6.1.0".to_owned(),
    };
    record.stack = vec![LayerUse {
        kind: "striped".to_owned(),
        on: vec!["a".to_owned(), "b".to_owned()],
        parameters: BTreeMap::from([("chunk".to_owned(), "64KiB".to_owned())]),
    }];
    record.settings = BTreeMap::from(
        [
            ("layer.striped.chunk", "64KiB"),
            ("kernel", "/tmp/vmlinux"),
            ("step.dd.bs", "64KiB"),
            ("step.dd2.bs", "1MiB"),
            ("mtu", "16000"),
        ]
        .map(|(key, value)| (key.to_owned(), value.to_owned())),
    );
    record.measurements = vec![
        measurement(1, true, 9.0),
        measurement(1, false, 2.0),
        measurement(2, false, 4.0),
    ];
    let warm_up = Sample {
        warm_up: true,
        ..sample(1, "a", Some(999.0))
    };
    record.samples = vec![
        warm_up,
        sample(1, "a", Some(5.0)),
        sample(1, "b", Some(7.0)),
        sample(2, "a", Some(6.0)),
        sample(2, "b", None),
    ];
    record
}

#[test]
fn a_record_of_today() {
    insta::assert_snapshot!(serde_json::to_string_pretty(&figures(&today())).unwrap());
}

#[test]
fn a_count_without_one_of_the_guests_is_none() {
    let mut record = today();
    record.measurements[1]
        .nodes
        .get_mut("b")
        .unwrap()
        .instructions = None;
    let found = figures(&record);
    assert_eq!(found[0].repetitions[&Measure::Instructions].len(), 1);
    record.measurements[2]
        .nodes
        .get_mut("a")
        .unwrap()
        .instructions = None;
    assert!(
        !figures(&record)[0]
            .repetitions
            .contains_key(&Measure::Instructions)
    );
    assert_eq!(figures(&record)[0].figure(Measure::Instructions), None);
    assert_eq!(figures(&record)[0].figure(Measure::Throughput), Some(24.0));
}

#[test]
fn a_background_step_says_what_its_samples_say() {
    let mut record = kept();
    for each in [None, Some("400 MiB")] {
        let found = figures(&record);
        let [
            Figures {
                series,
                repetitions,
                ..
            },
        ] = &found[..]
        else {
            panic!("{found:?}");
        };
        assert_eq!(series.step, "load");
        assert_eq!(series.dimensions["work.on"], "vc");
        assert_eq!(
            series.dimensions.get("work.each").map(String::as_str),
            each,
            "how much a writer wrote that went on for as long as it was let is a result"
        );
        // 400 MiB in 6.5 s by the host's clock, at 64 MiB/s by the writer's.
        assert_eq!(repetitions[&Measure::Throughput], [400.0 / 6.5]);
        assert_eq!(repetitions[&Measure::GuestThroughput], [64.0]);
        assert_eq!(repetitions.len(), 2);
        record.samples[0].acknowledged = None;
    }
}

#[test]
fn a_writer_that_keeps_a_pace_has_no_throughput() {
    let mut record = kept();
    assert_eq!(figures(&record).len(), 1);
    let told = record.samples[0].acknowledged.as_mut().unwrap();
    told.interval_seconds = Some(0.02);
    assert!(figures(&record).is_empty());
}

#[test]
fn what_a_run_was_made_of_does_not_set_series_apart() {
    let one = today();
    let mut other = today();
    other.images.get_mut("x86").unwrap().digest = "99".repeat(32);
    other.qemu_version = "8.2.2".to_owned();
    other.seed += 1;
    other
        .settings
        .insert("kernel".to_owned(), "/tmp/other".to_owned());
    let (one, other) = (&figures(&one)[0], &figures(&other)[0]);
    assert_eq!(one.series, other.series);
    assert_ne!(one.origin, other.origin);
}

#[test]
fn circumstances_do() {
    let changes: [fn(&mut RunRecord); 6] = [
        |record| record.mtu = 1500,
        |record| record.host.cpus = 4,
        |record| record.accelerator.get_mut("x86").unwrap().name = "kvm".to_owned(),
        |record| record.measurements[0].work.block_bytes = 512,
        |record| {
            record
                .settings
                .insert("network.loss".to_owned(), "1%".to_owned());
        },
        |record| {
            "1MiB".clone_into(record.stack[0].parameters.get_mut("chunk").unwrap());
        },
    ];
    let as_it_is = figures(&today())[0].series.clone();
    for (at, change) in changes.into_iter().enumerate() {
        let mut record = today();
        change(&mut record);
        assert_ne!(figures(&record)[0].series, as_it_is, "change {at}");
    }
}

#[test]
fn runs_that_did_not_pass_say_nothing() {
    let mut record = today();
    record.outcome = Outcome::Skipped {
        reason: String::new(),
    };
    assert!(figures(&record).is_empty());
}
