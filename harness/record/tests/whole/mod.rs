//! A record with everything in it.

use std::collections::BTreeMap;

use sanlab_record::{
    AcceleratorUse, Acknowledged, Cost, CrashKind, Dip, Event, EventKind, Excuse, FORMAT, Failure,
    FailureKind, Finding, FindingKind, HostUse, ImageUse, Lane, Latency, LayerUse, Measurement,
    NodeUse, Origin, Outcome, Phase, PortUse, Rate, RunRecord, Sample, Source, Timeline, TraceLine,
    Work,
};

fn event(at: f64, phase: &str, node: Option<&str>, kind: EventKind) -> Event {
    Event {
        at,
        phase: Some(phase.into()),
        node: node.map(str::to_owned),
        kind,
    }
}

/// One of each source and excuse.
fn findings() -> Vec<Finding> {
    let counts = Finding {
        at: 16.25,
        until: 16.25,
        count: 1,
        node: "vc".to_owned(),
        phase: Some("step load".into()),
        kind: FindingKind::FileSystemError,
        about: Some("dm-0".to_owned()),
        source: Source::KernelLog,
        text: "OCFS2: ERROR (device dm-0): ocfs2_read_blocks: status = -5".to_owned(),
        excuse: None,
        trace: Vec::new(),
    };
    vec![
        Finding {
            trace: vec![
                TraceLine {
                    text: "ocfs2_read_blocks+0x1f/0x40 [ocfs2]".to_owned(),
                    lines: vec![
                        "./include/linux/buffer_head.h:322".to_owned(),
                        "fs/ocfs2/buffer_head_io.c:229".to_owned(),
                    ],
                },
                TraceLine {
                    text: "? vfs_read+0x1/0x20".to_owned(),
                    lines: Vec::new(),
                },
            ],
            ..counts.clone()
        },
        Finding {
            at: 16.75,
            until: 18.5,
            count: 14,
            phase: Some("step crash".into()),
            kind: FindingKind::DeviceError,
            about: Some("nbd0".to_owned()),
            text: "I/O error, dev nbd0, sector 8 op 0x1:(WRITE)".to_owned(),
            excuse: Some(Excuse::Fault {
                step: "crash".to_owned(),
                node: "storage0a".to_owned(),
            }),
            ..counts.clone()
        },
        Finding {
            at: 17.0,
            until: 17.0,
            phase: Some("step crash".into()),
            kind: FindingKind::Eviction,
            about: Some("storage0b".to_owned()),
            text: "o2dlm: Node 1 leaves domain".to_owned(),
            excuse: Some(Excuse::Fenced {
                node: "storage0b".to_owned(),
                by: "vc".to_owned(),
            }),
            ..counts.clone()
        },
        Finding {
            at: 18.0,
            until: 18.0,
            kind: FindingKind::DeviceError,
            about: Some("nbd1".to_owned()),
            text: "block nbd1: Receive control failed (result -32)".to_owned(),
            excuse: Some(Excuse::Lost {
                node: "storage1a".to_owned(),
            }),
            ..counts.clone()
        },
        Finding {
            at: 19.0,
            until: 19.0,
            node: "storage0b".to_owned(),
            phase: None,
            kind: FindingKind::LayerState,
            about: None,
            source: Source::Layer {
                kind: "drbd".to_owned(),
            },
            text: "r0 is StandAlone".to_owned(),
            excuse: Some(Excuse::Expected {
                step: "pull".to_owned(),
            }),
            ..counts.clone()
        },
        Finding {
            at: 20.5,
            until: 20.5,
            kind: FindingKind::Warning,
            about: None,
            text: "WARNING: CPU: 0 PID: 297 at fs/dlm/requestqueue.c:47".to_owned(),
            excuse: Some(Excuse::Known {
                kernels: "6.1".to_owned(),
                because: "a checker takes a copy for an overflow".to_owned(),
                source: "https://example.org/2".to_owned(),
            }),
            ..counts
        },
    ]
}

/// A run that uses every field and every kind of event.
pub(crate) fn record() -> RunRecord {
    let step = "step load";
    let by = "vc".to_owned();
    RunRecord {
        format: FORMAT,
        scenario: "hot_node_addition".to_owned(),
        title: "hot node addition".to_owned(),
        started: 1_180_656_000.5,
        seed: 4_711,
        outcome: Outcome::Failed(Failure::new(
            step,
            FailureKind::CommandFailed,
            "dd on vc: exited with 1: No space left on device",
        )),
        accelerator: BTreeMap::from([(
            "x86".to_owned(),
            AcceleratorUse {
                name: "tcg".to_owned(),
                reason: "/dev/kvm does not exist".to_owned(),
            },
        )]),
        images: BTreeMap::from([(
            "x86".to_owned(),
            ImageUse {
                name: "debian-bookworm".to_owned(),
                digest: "ab".repeat(32),
                kernel_release: "6.1.0-37-686-pae".to_owned(),
                artefacts: Vec::new(),
            },
        )]),
        qemu_version: "7.2.22".to_owned(),
        mtu: 16_000,
        host: HostUse {
            cpu: "Some CPU @ 2.50GHz".to_owned(),
            cpus: 2,
            memory_mib: 24_000,
            kernel: "6.1.0-37-amd64".to_owned(),
        },
        stack: vec![LayerUse {
            kind: "striped".to_owned(),
            on: vec!["vix0".to_owned(), "vc".to_owned()],
            parameters: BTreeMap::from([("chunk".to_owned(), "64KiB".to_owned())]),
        }],
        settings: BTreeMap::from([("layer.striped.chunk".to_owned(), "64KiB".to_owned())]),
        // Below, by itself: such a run is no run like others.
        comparison: None,
        exploration: None,
        phases: vec![
            Phase {
                name: "boot".into(),
                at: 0.25,
                seconds: 9.5,
                origin: Origin::Cloned {
                    key: "cd".repeat(32),
                    age_seconds: 3_600.5,
                },
            },
            Phase {
                name: "fork".into(),
                at: 0.25,
                seconds: 0.5,
                origin: Origin::Built,
            },
            Phase {
                name: "layer nbd".into(),
                at: 0.25,
                seconds: 0.0,
                origin: Origin::Forked {
                    key: "ef".repeat(32),
                    age_seconds: 720.5,
                    built_seconds: 4.25,
                },
            },
            Phase {
                name: step.into(),
                at: 9.75,
                seconds: 6.75,
                origin: Origin::Built,
            },
        ],
        events: vec![
            Event {
                at: 0.0,
                phase: None,
                node: None,
                kind: EventKind::Waiting {
                    what: "2 CPUs".to_owned(),
                },
            },
            event(0.25, "boot", None, EventKind::PhaseStarted),
            event(
                8.0,
                "boot",
                Some("vc"),
                EventKind::Answered { seconds: 7.5 },
            ),
            event(9.75, "boot", None, EventKind::PhaseEnded { seconds: 9.5 }),
            event(
                9.75,
                "fork",
                None,
                EventKind::Forked {
                    checkpoint: "layers".to_owned(),
                    key: "ef".repeat(32),
                    age_seconds: 720.5,
                },
            ),
            event(
                9.75,
                "fork",
                None,
                EventKind::Discarded {
                    kind: "checkpoint".to_owned(),
                    key: "01".repeat(32),
                    reason: "vix0.state has another digest than when it was saved".to_owned(),
                },
            ),
            event(
                9.75,
                step,
                None,
                EventKind::Kept {
                    checkpoint: "written".to_owned(),
                    key: "23".repeat(32),
                    seconds: 0.25,
                    bytes: 500_000_000,
                },
            ),
            event(
                9.75,
                step,
                None,
                EventKind::NotKept {
                    checkpoint: "written".to_owned(),
                    reason: "no space left on device".to_owned(),
                },
            ),
            event(
                9.75,
                step,
                None,
                EventKind::ProvedBefore {
                    run: "runs/7/mount".to_owned(),
                    age_seconds: 7200.0,
                },
            ),
            event(
                9.75,
                step,
                None,
                EventKind::Progress {
                    text: "1 writer".to_owned(),
                },
            ),
            event(
                10.0,
                step,
                Some("vc"),
                EventKind::KernelSaid {
                    line: "o2dlm: Node 4 joins domain".to_owned(),
                },
            ),
            event(
                16.5,
                step,
                Some("vc"),
                EventKind::Measured {
                    step: "load".to_owned(),
                    mib_per_second: 64.0,
                },
            ),
            event(
                16.5,
                "step crash",
                Some("storage0a"),
                EventKind::Crashed {
                    how: CrashKind::Power,
                    after_seconds: 1.25,
                },
            ),
            event(
                16.5,
                "step crash",
                Some("storage0a"),
                EventKind::WriteCacheLost {
                    unflushed_writes: 51,
                    unflushed_bytes: 3_355_648,
                    kept_writes: 23,
                    torn_writes: 4,
                },
            ),
            event(
                16.4,
                "step cut",
                None,
                EventKind::FaultBegan {
                    what: "cut vix0 off from vix1".to_owned(),
                },
            ),
            event(
                16.4,
                "step cut",
                None,
                EventKind::FaultEnded {
                    step: "cut".to_owned(),
                    seconds: 5.0,
                },
            ),
            event(
                16.5,
                "step crash",
                Some("storage0b"),
                EventKind::Fenced { by },
            ),
            event(
                16.5,
                step,
                None,
                EventKind::Failed {
                    message: "dd on vc: exited with 1".to_owned(),
                },
            ),
            event(
                17.0,
                "collect",
                Some("vc"),
                EventKind::Collected {
                    file: "vc/dmesg.txt".to_owned(),
                },
            ),
            event(
                17.5,
                "step load",
                Some("vc"),
                EventKind::Printed {
                    file: "output/step-load/vc.txt".to_owned(),
                    command: "cd '/run/sanlab/load'".to_owned(),
                    status: "exited with 1".to_owned(),
                    stdout_bytes: 0,
                    stderr_bytes: 91,
                },
            ),
        ],
        samples: vec![
            Sample {
                at: Some(10.25),
                acknowledged: Some(Acknowledged {
                    blocks: 1_600,
                    longest_gap_seconds: 3.75,
                    longest_gap_at: 12.25,
                    interval_seconds: None,
                    rate: Some(Rate {
                        from: 10.0,
                        every: 0.5,
                        bytes: vec![262_144, 524_288, 0],
                    }),
                }),
                ..Sample::new("load", "vc", "x86", 419_430_400, 6.25, 6.5)
            },
            Sample {
                repetition: 2,
                warm_up: true,
                at: Some(17.25),
                latency: Some(Latency {
                    requests: 4_096,
                    p50: 900.5,
                    p95: 1_800.0,
                    p99: 3_500.0,
                    p999: 9_000.0,
                    max: 12_345.5,
                }),
                ..Sample::new("small reads", "vc", "x86", 16_777_216, 4.0, 4.125)
            },
        ],
        measurements: vec![Measurement {
            step: "small reads".to_owned(),
            repetition: 2,
            warm_up: true,
            work: Work {
                tool: "fio".to_owned(),
                rw: "randread".to_owned(),
                on: vec!["vc".to_owned()],
                block_bytes: 4_096,
                bytes_each: 0,
                runtime_seconds: Some(4.0),
                queue_depth: 8,
                direct: true,
                sync: "never".to_owned(),
            },
            at: 17.25,
            seconds: 4.125,
            bytes: 16_777_216,
            nodes: BTreeMap::from([
                (
                    "vc".to_owned(),
                    Cost {
                        instructions: Some(160_000_000),
                        host_cpu_seconds: 1.5,
                        sent_bytes: 400_000,
                        received_bytes: 17_000_000,
                    },
                ),
                (
                    "vix0".to_owned(),
                    Cost {
                        instructions: None,
                        host_cpu_seconds: 0.75,
                        sent_bytes: 17_000_000,
                        received_bytes: 400_000,
                    },
                ),
            ]),
        }],
        findings: findings(),
        dips: vec![Dip {
            step: "dip".to_owned(),
            of: "load".to_owned(),
            around: "add_node".to_owned(),
            from: 12.0,
            to: 15.5,
            before_mib_per_second: 8.0,
            during_mib_per_second: 3.0,
            after_mib_per_second: Some(7.5),
            depth: 0.75,
            length_seconds: 1.5,
            adds: Some(0.125),
        }],
        timeline: Some(Timeline {
            at: vec![0.75, 1.25],
            from: 0.25,
            nodes: BTreeMap::from([(
                "vc".to_owned(),
                Lane {
                    host_cpu_seconds: vec![0.25, 0.5],
                    sent_bytes: vec![0, 1_500],
                    received_bytes: vec![60, 3_000],
                },
            )]),
        }),
        console_tail: BTreeMap::from([(
            "vc".to_owned(),
            vec!["[   16.5] I/O error, dev nbd0, sector 8".to_owned()],
        )]),
        nodes: BTreeMap::from([(
            "vc".to_owned(),
            NodeUse {
                arch: "x86".to_owned(),
                memory_mib: 256,
                host_cpu_seconds: 12.5,
                peak_rss_bytes: 300_000_000,
                pss_bytes: 250_000_000,
                port: PortUse {
                    sent_frames: 5,
                    sent_bytes: 5_000,
                    received_frames: 4,
                    received_bytes: 4_000,
                    dropped_frames: 1,
                    lost_frames: 7,
                },
                networks: BTreeMap::from([(
                    "cluster".to_owned(),
                    PortUse {
                        sent_frames: 2,
                        sent_bytes: 200,
                        received_frames: 1,
                        received_bytes: 100,
                        dropped_frames: 0,
                        lost_frames: 7,
                    },
                )]),
            },
        )]),
    }
}
