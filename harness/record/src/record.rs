//! A whole run, as `record.json` holds it.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::measure::{Measurement, Rate, Timeline};
use crate::{Event, Failure, Finding, PhaseName};

/// Version of the record's shape, its field `format`.
pub const FORMAT: u32 = 1;

/// One run of one scenario.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunRecord {
    /// [`FORMAT`] of the harness that wrote it.
    pub format: u32,
    /// The scenario's identifier: its file's folder and stem, `nbd_striped_ocfs2/mount`.
    pub scenario: String,
    /// The scenario's name for people.
    pub title: String,
    /// When it began, seconds since 1970 by the host's clock.
    pub started: f64,
    /// What its random moments were drawn from: the same seed draws the same.
    pub seed: u64,
    /// How it ended.
    #[serde(flatten)]
    pub outcome: Outcome,
    /// What executed the guests' instructions, by architecture (`x86`, `x86_64`).
    pub accelerator: BTreeMap<String, AcceleratorUse>,
    /// What was booted, by architecture; by nodes (`vix0 vix1`) where those of one architecture differ in it.
    pub images: BTreeMap<String, ImageUse>,
    /// As QEMU prints it.
    pub qemu_version: String,
    /// Bytes of the largest IP packet that the scenario's network carried.
    pub mtu: u32,
    /// The host that it ran on.
    pub host: HostUse,
    /// The storage stack, lowest layer first.
    pub stack: Vec<LayerUse>,
    /// What this run was given in place of what its scenario file says, key by key: `mtu`, `layer.striped.chunk`, `kernel`.
    pub settings: BTreeMap<String, String>,
    /// Of a run that a comparison made: its place there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comparison: Option<InComparison>,
    /// Of a run that an exploration made: its number there. Its figures do not count, since others ran beside it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exploration: Option<u32>,
    /// Stretches of the run in order; they do not overlap, except for background steps.
    pub phases: Vec<Phase>,
    /// Everything that happened, in order.
    pub events: Vec<Event>,
    /// What each writer or reader measured.
    pub samples: Vec<Sample>,
    /// What each repetition of a measuring step moved, and what that cost each node.
    pub measurements: Vec<Measurement>,
    /// What hot additions under load did to those who were there.
    pub dips: Vec<Dip>,
    /// Signs of trouble in kernel logs and layers, and what excuses those that do not count.
    pub findings: Vec<Finding>,
    /// What every node did over the run's time; absent where none was up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeline: Option<Timeline>,
    /// Of a run that did not pass, the last lines of each node's console.
    pub console_tail: BTreeMap<String, Vec<String>>,
    /// What each node cost the host.
    pub nodes: BTreeMap<String, NodeUse>,
}

/// A run's place in a comparison of two sides. Its figures count with those of other runs only if that comparison came to its end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InComparison {
    /// `A` or `B`.
    pub side: String,
    /// Of which pair; pair 0 prepares the others, and nothing of it counts.
    pub pair: u32,
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum Outcome {
    /// Every step did what it must.
    Passed,
    /// The stack under test did not do what the scenario says it must.
    Failed(Failure),
    /// The lab could not do its part: this says nothing about the stack under test.
    Broken(Failure),
    /// It failed in the way that the scenario names as known.
    KnownFailure {
        /// How.
        #[serde(flatten)]
        failure: Failure,
        /// Why that is so.
        known: KnownBy,
    },
    /// It was not run.
    Skipped {
        /// Why.
        reason: String,
    },
}

/// What a scenario says of the failure that it names as known.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KnownBy {
    /// Why it fails.
    pub because: String,
    /// Where that is reported or discussed.
    pub source: String,
}

/// "because (source)".
impl fmt::Display for KnownBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.because, self.source)
    }
}

/// Why a text is not a record that this version can read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// It is not JSON, or not of the shape that its `format` promises.
    #[error("read the record: {0}")]
    Malformed(#[from] serde_json::Error),
    /// Another version of the harness wrote it.
    #[error("read a record of format {found}: this version reads format {FORMAT}")]
    OtherFormat {
        /// What the record says of itself.
        found: u32,
    },
}

impl RunRecord {
    /// The text of `record.json`.
    pub fn to_json(&self) -> String {
        // Maps with string keys and plain numbers: nothing in a record can fail to serialise.
        let mut text = serde_json::to_string_pretty(self).expect("a record is plain data");
        text.push('\n');
        text
    }

    /// How long it took: until the last of its phases or events.
    pub fn seconds(&self) -> f64 {
        let phases = self.phases.iter().map(|phase| phase.at + phase.seconds);
        let events = self.events.iter().map(|event| event.at);
        phases.chain(events).fold(0.0, f64::max)
    }

    /// Reads `record.json`; the format is looked at before the rest.
    pub fn from_json(text: &str) -> Result<Self, ReadError> {
        #[derive(Deserialize)]
        struct Version {
            format: u32,
        }
        let Version { format: found } = serde_json::from_str(text)?;
        if found != FORMAT {
            return Err(ReadError::OtherFormat { found });
        }
        Ok(serde_json::from_str(text)?)
    }
}

impl Sample {
    /// The figure of the first repetition from bytes and the tool's seconds; a time below the clock's grain counts as one
    /// microsecond.
    pub fn new(
        step: &str,
        node: &str,
        arch: &str,
        bytes: u64,
        seconds: f64,
        host_seconds: f64,
    ) -> Self {
        let mib_per_second = bytes as f64 / seconds.max(1e-6) / f64::from(1 << 20);
        Self {
            step: step.to_owned(),
            node: node.to_owned(),
            arch: arch.to_owned(),
            bytes,
            seconds,
            mib_per_second,
            host_seconds,
            repetition: 1,
            warm_up: false,
            at: None,
            latency: None,
            acknowledged: None,
        }
    }
}

impl Outcome {
    /// Of a run that failed, as is known or not, or was broken, how.
    pub const fn failure(&self) -> Option<&Failure> {
        match self {
            Self::Failed(failure) | Self::Broken(failure) | Self::KnownFailure { failure, .. } => {
                Some(failure)
            }
            Self::Passed | Self::Skipped { .. } => None,
        }
    }

    /// The word in the record: one without blanks.
    pub const fn key(&self) -> &'static str {
        match self {
            Self::KnownFailure { .. } => "known_failure",
            _ => self.as_str(),
        }
    }

    /// The words for people.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Failed(_) => "failed",
            Self::Broken(_) => "broken",
            Self::KnownFailure { .. } => "known failure",
            Self::Skipped { .. } => "skipped",
        }
    }
}

/// A stretch of the run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Phase {
    /// What it is about.
    pub name: PhaseName,
    /// When it began; of a phase that was forked, when the fork did.
    pub at: f64,
    /// How long it took in this run: 0 when it was forked.
    pub seconds: f64,
    /// Where its result came from.
    pub origin: Origin,
}

/// Whether a phase was done, or its result taken from what was kept before.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// Done in this run.
    #[default]
    Built,
    /// Done in this run, with guests that were cloned from templates instead of booted.
    Cloned {
        /// The oldest template's key in the store, sha256 in hex.
        key: String,
        /// How long ago that one was made.
        age_seconds: f64,
    },
    /// Not done in this run: the fleet was forked from a checkpoint that was kept after it.
    Forked {
        /// The checkpoint's key in the store.
        key: String,
        /// How long ago it was kept.
        age_seconds: f64,
        /// What the phase took when it was built.
        built_seconds: f64,
    },
}

/// A throughput figure.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Sample {
    /// The step's label.
    pub step: String,
    /// The node that did it.
    pub node: String,
    /// The node's architecture.
    pub arch: String,
    /// Bytes moved.
    pub bytes: u64,
    /// Time by the tool's own report.
    pub seconds: f64,
    /// `bytes / seconds / 2^20`.
    pub mib_per_second: f64,
    /// Time by the host's clock, from the common start to the exit.
    pub host_seconds: f64,
    /// Which repetition of the step it belongs to, from 1; warm-ups count on their own.
    pub repetition: u32,
    /// It was done to warm caches up, and is no figure.
    pub warm_up: bool,
    /// When it began, seconds since the run began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<f64>,
    /// How long single requests took, where the tool reports it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latency: Option<Latency>,
    /// Of a writer that reports every block when it is written: what it reported.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub acknowledged: Option<Acknowledged>,
}

/// How long requests took from submission to completion, microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Latency {
    /// How many requests.
    pub requests: u64,
    /// Half of them took no longer.
    pub p50: f64,
    /// 95 of 100 took no longer.
    pub p95: f64,
    /// 99 of 100 took no longer.
    pub p99: f64,
    /// 999 of 1000 took no longer.
    pub p999: f64,
    /// None took longer.
    pub max: f64,
}

/// Blocks that were acknowledged one by one, with times by the host's clock.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Acknowledged {
    /// How many.
    pub blocks: u64,
    /// The longest time without an acknowledgement while the writer wrote.
    pub longest_gap_seconds: f64,
    /// When that began, seconds since the run began.
    pub longest_gap_at: f64,
    /// Of a writer with a pace, the least time from the begin of a block to that of the next: how fast it was says nothing of the disks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interval_seconds: Option<f64>,
    /// Bytes that were acknowledged in each half second.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate: Option<Rate>,
}

/// The rate of writers before, during and after an event.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Dip {
    /// The `dip` step that looked.
    pub step: String,
    /// The step whose writers were looked at.
    pub of: String,
    /// The step that was the event, such as `add_node`.
    pub around: String,
    /// When that began, seconds since the run began.
    pub from: f64,
    /// When it ended.
    pub to: f64,
    /// What the writers wrote before, MiB/s: the median of half seconds.
    pub before_mib_per_second: f64,
    /// The same between `from` and `to`.
    pub during_mib_per_second: f64,
    /// The same after `to`, while they still wrote.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after_mib_per_second: Option<f64>,
    /// What was missing in the worst half second of the event and its aftermath, as a share of `before`: 0 nothing, 1 all.
    pub depth: f64,
    /// How long the rate stayed below half of `before`, at a stretch, seconds.
    pub length_seconds: f64,
    /// What those who came by the event wrote beside the others afterwards, and by how much all together then exceed `before`:
    /// 0.2 is a fifth more. Absent where no newcomer wrote.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub adds: Option<f64>,
}

/// What a run's figures depend on beside the guests.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostUse {
    /// The processor's model, as the kernel names it.
    pub cpu: String,
    /// How many of its CPUs the lab may use.
    pub cpus: u32,
    /// RAM, MiB.
    pub memory_mib: u64,
    /// Version of the host's kernel.
    pub kernel: String,
}

/// A layer of the storage stack.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LayerUse {
    /// Its key in a scenario file.
    pub kind: String,
    /// Every node that ever has it.
    pub on: Vec<String>,
    /// What it was given, key by key as in a scenario file, defaults too.
    pub parameters: BTreeMap<String, String>,
}

/// What executed instructions, and why that.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AcceleratorUse {
    /// `kvm` or `tcg`.
    pub name: String,
    /// Why it was taken.
    pub reason: String,
}

/// What was booted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageUse {
    /// Manifest name.
    pub name: String,
    /// The store's key, sha256 in hex.
    pub digest: String,
    /// `uname -r`.
    pub kernel_release: String,
    /// What of the user's own was laid over it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub artefacts: Vec<ArtefactUse>,
}

/// Something of the user's own in a guest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ArtefactUse {
    /// `file`, `deb` or `module`.
    pub kind: String,
    /// The path in the guest; of a package its name and version; of a module its name.
    pub name: String,
    /// SHA-256 of the bytes, in hex.
    pub sha256: String,
}

/// "file /usr/bin/nbdkit (sha256 0123456789ab)".
impl fmt::Display for ArtefactUse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digest = self.sha256.get(..12).unwrap_or(&self.sha256);
        write!(f, "{} {} (sha256 {digest})", self.kind, self.name)
    }
}

/// What a node cost the host, and what its port carried.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NodeUse {
    /// Its architecture.
    pub arch: String,
    /// Configured RAM, MiB.
    pub memory_mib: u32,
    /// CPU seconds that its QEMU used.
    pub host_cpu_seconds: f64,
    /// Largest resident set of its QEMU, bytes.
    pub peak_rss_bytes: u64,
    /// Proportional set size before it was ended, bytes.
    pub pss_bytes: u64,
    /// Its switch port; of several networks, its ports together.
    pub port: PortUse,
    /// What each of its ports carried, by network, where the fleet has several.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub networks: BTreeMap<String, PortUse>,
}

/// Counters of a switch port, seen from the guest.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortUse {
    /// Frames that the guest sent.
    pub sent_frames: u64,
    /// Bytes that the guest sent.
    pub sent_bytes: u64,
    /// Frames delivered to the guest.
    pub received_frames: u64,
    /// Bytes delivered to the guest.
    pub received_bytes: u64,
    /// Frames for the guest that did not fit its queue.
    pub dropped_frames: u64,
    /// Frames for the guest that a fault of the network took, because a step says so.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub lost_frames: u64,
}

/// Serde asks by reference.
#[expect(clippy::trivially_copy_pass_by_ref)]
const fn is_zero(count: &u64) -> bool {
    *count == 0
}
