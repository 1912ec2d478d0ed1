//! Records as a lab with good and bad days would have written them.

use std::collections::BTreeMap;

use sanlab_record::{
    Acknowledged, Cost, CrashKind, Dip, Event, EventKind, Excuse, Failure, FailureKind, Finding,
    FindingKind, KnownBy, Latency, Measurement, NodeUse, Origin, Outcome, Phase, Rate, RunRecord,
    Sample, Source, Timeline, Work,
};

const MIB: u64 = 1 << 20;

/// 2026-11-22 12:00 UTC.
pub(crate) const NOON: f64 = 1_795_348_800.0;

const NODES: [(&str, &str); 5] = [
    ("va", "x86_64"),
    ("vb", "x86"),
    ("vc", "x86"),
    ("vd", "x86_64"),
    ("ve", "x86"),
];

fn bytes(mib: f64) -> u64 {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a few hundred MiB"
    )]
    let bytes = (mib * MIB as f64).max(0.0) as u64;
    bytes
}

pub(crate) fn strings(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    let owned = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
    pairs.iter().map(owned).collect()
}

fn phase(name: &str, at: f64, seconds: f64) -> Phase {
    Phase {
        name: name.into(),
        at,
        seconds,
        origin: Origin::Built,
    }
}

fn forked(name: &str, at: f64, built_seconds: f64) -> Phase {
    Phase {
        origin: Origin::Forked {
            key: "3a47374e2374e99ffec61769d919400f7d4d09252d6ef289a98fe5695626584e".to_owned(),
            age_seconds: 3_725.0,
            built_seconds,
        },
        ..phase(name, at, 0.0)
    }
}

fn event(at: f64, phase: &str, node: &str, kind: EventKind) -> Event {
    Event {
        at,
        phase: Some(phase.into()),
        node: (!node.is_empty()).then(|| node.to_owned()),
        kind,
    }
}

/// What every record of this lab has: that of a real run, without what it did.
fn blank(scenario: &str, title: &str, started: f64) -> RunRecord {
    let text = include_str!("../../../../fixtures/records/throughput.json");
    let kept = RunRecord::from_json(text).expect("a record");
    let node = |(number, (name, arch)): (usize, &(&str, &str))| {
        let node = NodeUse {
            arch: (*arch).to_owned(),
            host_cpu_seconds: 21.0 + number as f64,
            ..kept.nodes["client"].clone()
        };
        ((*name).to_owned(), node)
    };
    RunRecord {
        scenario: scenario.to_owned(),
        title: title.to_owned(),
        started,
        phases: Vec::new(),
        events: Vec::new(),
        samples: Vec::new(),
        measurements: Vec::new(),
        timeline: None,
        nodes: NODES.iter().enumerate().map(node).collect(),
        ..kept.clone()
    }
}

/// A writer that tells of every block: its rate by `rate(second)` from `from` to `to`.
fn writer(step: &str, node: usize, (from, to): (f64, f64), rate: &dyn Fn(f64) -> f64) -> Sample {
    let (name, arch) = NODES[node];
    let mut told = Vec::new();
    let mut at = from;
    while at < to {
        told.push(bytes(rate(at + 0.25) * 0.5));
        at += 0.5;
    }
    let total = told.iter().sum();
    let mut sample = Sample::new(step, name, arch, total, to - from, to - from);
    sample.at = Some(from);
    sample.acknowledged = Some(Acknowledged {
        blocks: total / 65_536,
        longest_gap_seconds: 1.42,
        longest_gap_at: 36.5,
        interval_seconds: None,
        rate: Some(Rate {
            from,
            every: 0.5,
            bytes: told,
        }),
    });
    sample
}

/// CPU and switch of every node by `cpu(node, second)` and `sent(node, second)`.
fn timeline(
    nodes: usize,
    to: f64,
    cpu: &dyn Fn(usize, f64) -> f64,
    sent: &dyn Fn(usize, f64) -> f64,
) -> Timeline {
    let mut timeline = Timeline {
        at: Vec::new(),
        from: 0.0,
        nodes: BTreeMap::new(),
    };
    let mut at = 0.0;
    while at < to {
        at += 0.5;
        timeline.at.push(at);
        for (number, (name, _)) in NODES.iter().enumerate().take(nodes) {
            let lane = timeline.nodes.entry((*name).to_owned()).or_default();
            lane.host_cpu_seconds.push(cpu(number, at).max(0.0) * 0.5);
            lane.sent_bytes.push(bytes(sent(number, at) * 0.5));
            lane.received_bytes.push(bytes(sent(number, at) * 0.4));
        }
    }
    timeline
}

/// Four nodes write, a fifth joins, and writes as well.
pub(crate) fn hot_addition() -> RunRecord {
    let mut record = blank(
        "nbd_striped_ocfs2/hot_node_addition",
        "a node joins under load",
        NOON,
    );
    let mut chance = fastrand::Rng::with_seed(5);
    let noise: Vec<f64> = (0..400).map(|_| chance.f64() * 0.5 - 0.25).collect();
    let noise = |node: usize, at: f64| {
        let half_seconds = std::iter::successors(Some(0.0), |time| Some(time + 0.5));
        let number = half_seconds.take_while(|time| *time < at).count();
        noise[number % 80 + node * 80]
    };
    let rate = |node: usize, at: f64| {
        let usual = 2.6 - node as f64 * 0.2 + noise(node, at);
        match at {
            at if (36.0..37.5).contains(&at) => 0.0,
            at if (34.8..41.0).contains(&at) => usual * 0.55,
            at if at > 46.0 => usual * 0.84,
            _ => usual,
        }
    };
    record.phases = vec![
        phase("prepare", 0.0, 0.1),
        phase("fork", 0.1, 0.9),
        forked("layer nbd", 1.0, 4.25),
        forked("layer striped", 1.0, 0.57),
        forked("layer o2cb", 1.0, 1.6),
        forked("layer ocfs2", 1.0, 11.5),
        phase("step load", 20.0, 38.0),
        phase("step a fifth node", 34.8, 9.6),
        phase("step more", 46.0, 12.0),
        phase("step wait", 58.0, 0.1),
        phase("step the dip", 58.1, 0.01),
        phase("step check", 58.2, 6.4),
        phase("take down", 64.6, 3.0),
    ];
    record.samples = (0..4)
        .map(|node| {
            let end = 57.0 + node as f64 * 0.3;
            writer("load", node, (20.1, end), &|at| rate(node, at))
        })
        .collect();
    record
        .samples
        .push(writer("more", 4, (46.1, 58.0), &|at| rate(4, at) * 1.4));
    record.timeline = Some(timeline(
        5,
        67.5,
        &|node, at| match at {
            _ if node == 4 && at < 35.0 => 0.0,
            at if at < 20.0 => 0.06,
            at if node == 4 && at < 46.0 => 0.9,
            at if at < 58.0 => 0.25 + rate(node, at) * 0.13,
            _ => 0.2 + noise(node, at).abs(),
        },
        &|node, at| {
            if (20.0..58.0).contains(&at) {
                rate(node, at) * 1.02
            } else {
                0.01
            }
        },
    ));
    record.dips = vec![Dip {
        step: "the dip".to_owned(),
        of: "load".to_owned(),
        around: "a fifth node".to_owned(),
        from: 34.8,
        to: 44.4,
        before_mib_per_second: 9.21,
        during_mib_per_second: 7.86,
        after_mib_per_second: Some(7.71),
        depth: 1.0,
        length_seconds: 1.5,
        adds: Some(0.12),
    }];
    let step = "step a fifth node";
    record.events = vec![
        event(20.0, "step load", "", EventKind::PhaseStarted),
        event(34.8, step, "", EventKind::PhaseStarted),
        event(36.1, step, "ve", EventKind::Answered { seconds: 1.1 }),
        event(
            40.2,
            step,
            "va",
            EventKind::KernelSaid {
                line: "o2net: Accepted connection from node ve (num 4) at 10.77.0.15:7777"
                    .to_owned(),
            },
        ),
        event(
            43.9,
            step,
            "vb",
            EventKind::KernelSaid {
                line: "o2dlm: Node 4 joins domain C7BAB708DB62446C922ED91E43C581A4".to_owned(),
            },
        ),
        event(44.4, step, "", EventKind::PhaseEnded { seconds: 9.6 }),
    ];
    record
}

/// A power cut that the cluster did not get over.
pub(crate) fn failed() -> RunRecord {
    let mut record = blank(
        "gnbd_drbd_multipath/failover",
        "a storage is lost and comes back",
        NOON + 300.0,
    );
    record.outcome = Outcome::Failed(Failure::new(
        "step its paths have failed",
        FailureKind::ConditionNotMet,
        "va: the map san still has 2 active paths after 20.0 s: multipathd did not fail \
                  the path to storage vb; it was seen last:\n\
                  san (36001405a) dm-0 LIO-ORG,disk\n\
                  size=100M features='1 queue_if_no_path' hwhandler='0' wp=rw",
    ));
    record.phases = vec![
        phase("prepare", 0.0, 0.14),
        phase("boot", 0.14, 1.9),
        phase("layer membership", 2.0, 5.4),
        phase("layer drbd", 7.4, 11.2),
        phase("keep layers", 18.6, 1.3),
        phase("step load", 20.0, 33.0),
        phase("step loss", 21.0, 3.9),
        phase("step its paths have failed", 24.9, 20.1),
        phase("collect", 45.0, 8.0),
    ];
    let rate = |at: f64| if at < 24.9 { 4.1 } else { 0.0 };
    record.samples = vec![
        writer("load", 0, (20.1, 45.0), &rate),
        writer("load", 3, (20.1, 45.0), &|at| rate(at) * 0.9),
    ];
    record.timeline = Some(timeline(
        4,
        46.0,
        &|node, at| match at {
            at if at > 24.9 && node == 1 => 0.0,
            at if at < 20.0 => 0.5,
            _ => 0.35 + rate(at) * 0.1,
        },
        &|node, at| {
            if node == 1 && at > 24.9 {
                0.0
            } else {
                0.05 + rate(at) * 0.7
            }
        },
    ));
    record.events = vec![
        event(
            24.9,
            "step loss",
            "vb",
            EventKind::Crashed {
                how: CrashKind::Power,
                after_seconds: 3.9,
            },
        ),
        event(
            30.4,
            "step its paths have failed",
            "va",
            EventKind::KernelSaid {
                line: "drbd r0: PingAck did not arrive in time.".to_owned(),
            },
        ),
        event(
            31.2,
            "step its paths have failed",
            "vb",
            EventKind::Fenced {
                by: "va".to_owned(),
            },
        ),
        event(
            45.0,
            "step its paths have failed",
            "",
            EventKind::Failed {
                message: "va: the map san still has 2 active paths after 20.0 s".to_owned(),
            },
        ),
    ];
    let console = |node: &str| -> Vec<String> {
        (0..38)
            .map(|line| {
                format!(
                    "[   {}.{line:06}] {node}: device-mapper: multipath: 253:0: retrying",
                    21 + line
                )
            })
            .chain([
                "\u{1b}[1;31mKernel panic - not syncing: hung_task: blocked tasks\u{1b}[0m"
                    .to_owned(),
            ])
            .collect()
    };
    record.console_tail = ["va", "vb"]
        .into_iter()
        .map(|node| (node.to_owned(), console(node)))
        .collect();
    record
}

/// Where a known failure is reported.
pub(crate) const REPORTED: &str = "https://lore.example.org/all/20260711093015.1?a=1&b=2";

fn finding(at: f64, node: &str, kind: FindingKind, about: &str, text: &str) -> Finding {
    Finding {
        at,
        until: at,
        count: 1,
        node: node.to_owned(),
        phase: Some("step crash".into()),
        kind,
        about: (!about.is_empty()).then(|| about.to_owned()),
        source: Source::KernelLog,
        text: text.to_owned(),
        excuse: None,
        trace: Vec::new(),
    }
}

/// A failure that the scenario names as known, of a run with findings of every sort.
pub(crate) fn known_failure() -> RunRecord {
    let mut record = blank(
        "drbd/late_write",
        "a write after a split stays",
        NOON + 400.0,
    );
    record.outcome = Outcome::KnownFailure {
        failure: Failure::new(
            "step verify",
            FailureKind::BlocksLost,
            "2 of 158 acknowledged blocks of /mnt/san/vb.journal read as zeros on va: 156-157, acknowledged from 30.2 s to 30.3 s",
        ),
        known: KnownBy {
            because: "a flush does not wait for the last write of the peer".to_owned(),
            source: REPORTED.to_owned(),
        },
    };
    record.phases = vec![phase("boot", 0.0, 9.0), phase("step verify", 30.0, 4.0)];
    let crash = |mut finding: Finding| {
        finding.excuse = Some(Excuse::Fault {
            step: "the power of the first storage is cut".to_owned(),
            node: "vb".to_owned(),
        });
        finding
    };
    record.findings = vec![
        Finding {
            until: 33.9,
            count: 1_482,
            ..crash(finding(
                30.2,
                "va",
                FindingKind::DeviceError,
                "nbd0",
                "I/O error, dev nbd0, sector 2048 op 0x1:(WRITE) flags 0x8800 phys_seg 1 prio class 2",
            ))
        },
        crash(finding(
            31.0,
            "vc",
            FindingKind::Eviction,
            "vb",
            "o2dlm: Node 1 leaves domain C7BAB708DB62446C922ED91E43C581A4",
        )),
        finding(
            33.0,
            "vd",
            FindingKind::FileSystemError,
            "dm-12",
            "OCFS2: ERROR (device dm-12): ocfs2_validate_inode_block: Invalid dinode #17: signature = ________________________________",
        ),
        Finding {
            source: Source::Layer {
                kind: "drbd".to_owned(),
            },
            excuse: Some(Excuse::Expected {
                step: "pull".to_owned(),
            }),
            ..finding(
                34.0,
                "va",
                FindingKind::LayerState,
                "",
                "r0: connection StandAlone, disk UpToDate/DUnknown",
            )
        },
        Finding {
            excuse: Some(Excuse::Expected {
                step: "pull".to_owned(),
            }),
            ..finding(
                34.5,
                "va",
                FindingKind::OutOfMemory,
                "",
                "Out of memory: Killed process 812 (nbdkit)",
            )
        },
    ];
    record
}

/// A throughput run: dd and fio, five repetitions each. `speed` is 1.0 on a usual day, `cost` likewise.
pub(crate) fn throughput(started: f64, mtu: u32, speed: f64, cost: f64) -> RunRecord {
    let mut record = blank(
        "throughput/two_nodes",
        "two nodes, one striped disk",
        started,
    );
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a seed"
    )]
    let mut chance = fastrand::Rng::with_seed(started as u64);
    record.mtu = mtu;
    record.settings = strings(&[("mtu", &mtu.to_string())]);
    record.nodes.retain(|name, _| name.as_str() < "vc");
    let mut at = 2.0;
    for (step, tool, usual) in [("write", "dd", 41.0), ("random reads", "fio", 12.0)] {
        let begin = at;
        for number in 0..6 {
            let rate = usual * speed * (1.0 + (chance.f64() - 0.5) * 0.08);
            let seconds = 64.0 / rate;
            let mut nodes = BTreeMap::new();
            for (node, (name, arch)) in NODES.iter().enumerate().take(2) {
                let wobble = 1.0 + (chance.f64() - 0.5) * 0.006;
                let instructions = 64.0 * 7.3e6 * cost * wobble * (1.0 + node as f64 * 0.4);
                #[expect(
                    clippy::cast_possible_truncation,
                    clippy::cast_sign_loss,
                    reason = "positive"
                )]
                let cost = Cost {
                    instructions: Some(instructions as u64),
                    host_cpu_seconds: seconds * (0.8 + node as f64 * 0.1),
                    sent_bytes: bytes(33.0),
                    received_bytes: bytes(31.0),
                };
                nodes.insert((*name).to_owned(), cost);
                let mut sample = Sample::new(step, name, arch, 32 * MIB, seconds * 0.98, seconds);
                sample.at = Some(at);
                sample.repetition = if number == 0 { 1 } else { number };
                sample.warm_up = number == 0;
                if tool == "fio" {
                    sample.latency = Some(Latency {
                        requests: 8_192,
                        p50: 310.0 / speed,
                        p95: 520.0 / speed,
                        p99: 890.0 / speed * (1.0 + (chance.f64() - 0.5) * 0.1),
                        p999: 2_100.0,
                        max: 8_400.0,
                    });
                }
                record.samples.push(sample);
            }
            record.measurements.push(Measurement {
                step: step.to_owned(),
                repetition: if number == 0 { 1 } else { number },
                warm_up: number == 0,
                work: Work {
                    tool: tool.to_owned(),
                    rw: if tool == "dd" { "write" } else { "randread" }.to_owned(),
                    on: vec!["va".to_owned(), "vb".to_owned()],
                    block_bytes: if tool == "dd" { MIB } else { 4_096 },
                    bytes_each: 32 * MIB,
                    runtime_seconds: None,
                    queue_depth: if tool == "dd" { 1 } else { 8 },
                    direct: true,
                    sync: "never".to_owned(),
                },
                at,
                seconds,
                bytes: 64 * MIB,
                nodes,
            });
            at += seconds + 0.3;
        }
        record
            .phases
            .push(phase(&format!("step {step}"), begin, at - begin));
    }
    let samples = record.samples.clone();
    let busy = move |at: f64| {
        let is_on = |sample: &Sample| {
            sample
                .at
                .is_some_and(|from| (from..from + sample.host_seconds).contains(&at))
        };
        samples
            .iter()
            .find(|sample| is_on(sample))
            .map_or(0.0, |sample| sample.mib_per_second)
    };
    record.timeline = Some(timeline(
        2,
        at,
        &|node, at| {
            if busy(at) > 0.0 {
                0.85 + node as f64 * 0.1
            } else {
                0.08
            }
        },
        &|_, at| busy(at),
    ));
    record.phases.push(phase("teardown", at, 0.1));
    record
}
