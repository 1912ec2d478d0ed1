//! `record.json`: its shape is a promise to reports and to old runs.

use sanlab_record::{
    ArtefactUse, BlockRange, Failure, FailureKind, Found, InComparison, KnownBy, LostBlocks,
    Outcome, ReadError, RunRecord, Sample,
};

mod whole;

use whole::record;

/// What records of the present format look like, byte for byte.
const KEPT: &str = include_str!("../../../fixtures/records/format-1.json");

#[test]
fn what_was_laid_over_an_image_is_told() {
    let mut record = record();
    let used = ArtefactUse {
        kind: "file".to_owned(),
        name: "/usr/bin/nbdkit".to_owned(),
        sha256: "cd".repeat(32),
    };
    assert_eq!(
        used.to_string(),
        "file /usr/bin/nbdkit (sha256 cdcdcdcdcdcd)"
    );
    record.images.get_mut("x86").unwrap().artefacts = vec![used];
    assert_eq!(RunRecord::from_json(&record.to_json()).unwrap(), record);
}

#[test]
fn a_run_of_a_comparison_says_so() {
    let side = "B".to_owned();
    let record = RunRecord {
        comparison: Some(InComparison { side, pair: 3 }),
        exploration: Some(17),
        ..record()
    };
    let text = record.to_json();
    let value: serde_json::Value = serde_json::from_str(&text).unwrap();
    let expected = serde_json::json!({ "side": "B", "pair": 3 });
    assert_eq!(value["comparison"], expected);
    assert_eq!(RunRecord::from_json(&text).unwrap(), record);
}

#[test]
fn the_shape_of_the_present_format_stays() {
    // Written once by this very test with the variable set; a difference from then on asks for a new FORMAT, and what
    // was kept of the old one stays beside it.
    if std::env::var_os("SANLAB_WRITE_FIXTURES").is_some() {
        let path = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../../fixtures/records/format-1.json"
        );
        fs_err::write(path, record().to_json()).unwrap();
        return;
    }
    assert_eq!(record().to_json(), KEPT);
}

fn lost() -> LostBlocks {
    LostBlocks {
        file: "/mnt/san/vc.journal".to_owned(),
        writer: "step write on vc".to_owned(),
        acknowledged: 158,
        node: "vd".to_owned(),
        device: Some("/dev/vdb".to_owned()),
        found: Found::Zeros,
        example: "it is all zeros: never written, or lost".to_owned(),
        first_byte: 4096,
        blocks: BlockRange::of([0, 1, 2, 7]),
        acknowledged_at: (30.25, 32.5),
        earlier_run: true,
    }
}

fn known_failure() -> Outcome {
    Outcome::KnownFailure {
        failure: Failure {
            node: Some("vd".to_owned()),
            lost_blocks: vec![lost()],
            ..Failure::new("step verify", FailureKind::BlocksLost, "4 of 158")
        },
        known: KnownBy {
            because: "the journal is not flushed".to_owned(),
            source: "https://example.org/1".to_owned(),
        },
    }
}

#[test]
fn a_known_failure_says_how_it_failed_and_why_that_is_known() {
    let record = RunRecord {
        outcome: known_failure(),
        ..record()
    };
    let value: serde_json::Value = serde_json::from_str(&record.to_json()).unwrap();
    assert_eq!(value["outcome"], record.outcome.key());
    assert_eq!(value["outcome"], "known_failure");
    assert_eq!(value["phase"], "step verify");
    assert_eq!(value["kind"], "blocks_lost");
    assert_eq!(value["known"]["because"], "the journal is not flushed");
    assert_eq!(value["known"]["source"], "https://example.org/1");
}

#[test]
fn a_record_comes_back_as_it_was() {
    assert_eq!(RunRecord::from_json(KEPT).unwrap(), record());
    for outcome in [
        Outcome::Passed,
        Outcome::Broken(Failure {
            node: Some("vc".to_owned()),
            lost_blocks: vec![lost()],
            ..Failure::new("boot", FailureKind::QemuDead, "start qemu: no such file")
        }),
        known_failure(),
        Outcome::Skipped {
            reason: "no image".to_owned(),
        },
    ] {
        let record = RunRecord {
            outcome,
            ..record()
        };
        assert_eq!(RunRecord::from_json(&record.to_json()).unwrap(), record);
    }
}

#[test]
fn another_format_is_refused_by_its_number() {
    let newer = KEPT.replace("\"format\": 1,", "\"format\": 7, \"outcome\": 3, ");
    let error = RunRecord::from_json(&newer).unwrap_err();
    assert!(
        matches!(error, ReadError::OtherFormat { found: 7 }),
        "{error}"
    );
    assert_eq!(
        error.to_string(),
        "read a record of format 7: this version reads format 1"
    );
    assert!(matches!(
        RunRecord::from_json("{").unwrap_err(),
        ReadError::Malformed(_)
    ));
}

#[test]
fn a_rate_is_in_binary_megabytes() {
    let sample = Sample::new("dd", "vix1", "x86", 400 << 20, 8.0, 8.5);
    assert_eq!(sample.mib_per_second.to_bits(), 50.0_f64.to_bits());
    assert!(
        Sample::new("dd", "vix1", "x86", 1, 0.0, 0.0)
            .mib_per_second
            .is_finite()
    );
}
