//! What a kernel complains of: a line of its log as a kind of trouble and what that is about.
//!
//! The words are those of the kernel's own `printk` calls, of Linux 6.1: `block/blk-mq.c`, `fs/buffer.c`, `drivers/block/nbd.c`,
//! `drivers/block/drbd`, `drivers/md`, `drivers/scsi`, `fs/ext4`, `fs/jbd2`, `fs/xfs`, `fs/gfs2`, `fs/dlm`, `fs/ocfs2`, `mm/page_io.c`.

use std::sync::LazyLock;

use regex::Regex;
use sanlab_fleet::{Trouble, trouble};
use sanlab_record::FindingKind;

/// A line that a healthy kernel does not write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Complaint {
    pub(crate) kind: FindingKind,
    /// Nothing: it names neither device nor node.
    pub(crate) about: Option<About>,
}

/// What a complaint is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum About {
    /// A device, as the kernel calls it.
    Device(String),
    /// What is below a device on the same node: a DRBD device whose own half has failed.
    OwnHalf(String),
    /// The same, and no more than that the kernel lets it go: it says so of an error and of a command alike.
    Detached(String),
    /// Another node, by its number in the cluster.
    Node(u8),
}

/// What the kernel says, beyond the troubles that [`trouble`] knows. A group `dev` is the device, `journal` a device followed by
/// the number of the inode where the journal is, `own` a device whose own half it is about, `detached` one that
/// lets it go, `node` the number of a node.
///
/// Lock-ups, stalls and hung tasks are found by the kernel's own clocks (20 s and more without a tick or a
/// schedule). Guests that share the host's CPUs within the lab's budget never come near that, so these count
/// too, though a host that was stopped for half a minute shows the same. `clocksource: timekeeping watchdog` and
/// `hrtimer: interrupt took` do not count: emulation is slow, and they say no more than that.
const SIGNS: &[(FindingKind, &str)] = &[
    (
        FindingKind::RcuViolation,
        r"Voluntary context switch within RCU|WARNING: suspicious RCU usage",
    ),
    (FindingKind::Warning, r"WARNING: CPU: \d+ PID: \d+ at "),
    (FindingKind::CallTrace, r"Call Trace:"),
    (FindingKind::Bug, r"^DLM:  Assertion failed"),
    // Block devices of any kind, and page caches above them.
    (
        FindingKind::DeviceError,
        r"(?:^|: )(?:I/O|critical [a-z ]+|timeout|recoverable transport|protection) error, dev (?<dev>[^\s,]+)",
    ),
    (
        FindingKind::DeviceError,
        r"^Buffer I/O error on dev(?:ice)? (?<dev>[^\s,]+)",
    ),
    (
        FindingKind::DeviceError,
        r"lost page write due to I/O error on (?<dev>[^\s,]+)",
    ),
    (
        FindingKind::DeviceError,
        r"^(?:Read|Write)-error on swap-device",
    ),
    (
        FindingKind::DeviceError,
        r"^block (?<dev>nbd\d+): (?:Connection timed out|(?:Receive|Send) (?:control|data) failed|Other side returned error|Wrong magic|Unexpected reply|Double reply|Suspicious reply)",
    ),
    // A session of iSCSI that is lost is no more than late until its time-out.
    (
        FindingKind::DeviceError,
        r"^session\d+: session recovery timed out",
    ),
    // DRBD.
    (
        FindingKind::SplitBrain,
        r"^(?:block |drbd \S+ )(?<dev>drbd\d+)(?: \S+)?: (?:Split-Brain detected(?: but unresolved|, \d+ primaries, automatically solved)|Unrelated data, aborting)",
    ),
    (
        FindingKind::DeviceError,
        r"^block (?<detached>drbd\d+): .*\bdisk\( \w+ -> Failed \)",
    ),
    (
        FindingKind::DeviceError,
        r"^block (?<own>drbd\d+): (?:Local IO failed|local \w+ IO error|local disk FLUSH FAILED|Local backing device failed|meta-data IO operation timed out|meta data update failed|we had at least one MD IO ERROR)",
    ),
    (
        FindingKind::DeviceError,
        r"^block (?<dev>drbd\d+): (?:IO ERROR: neither local nor remote data|Digest integrity check FAILED)",
    ),
    // md and device-mapper.
    (
        FindingKind::DeviceError,
        r"^md/raid\S+ Disk failure on (?<dev>[^\s,]+)",
    ),
    (
        FindingKind::DeviceError,
        r"^md/raid\S+: (?<dev>[^\s:]+): (?:unrecoverable I/O read error|rescheduling sector|redirecting sector)",
    ),
    (
        FindingKind::DeviceError,
        r"^md/raid\S+: read error (?:NOT corrected|not correctable|on replacement device).* on (?<dev>[^\s)]+)",
    ),
    (
        FindingKind::DeviceError,
        r"^md/raid\S+: Too many read errors, failing device (?<dev>[\w-]+)",
    ),
    (
        FindingKind::DeviceError,
        r"^md/raid\w*:(?<dev>[\w-]+): (?:Cannot continue operation|not enough operational|cannot start dirty degraded|recovery aborted due to read error)",
    ),
    (
        FindingKind::DeviceError,
        r"^md: (?:disabled device|fatal superblock inconsistency in) (?<dev>[^\s,]+)",
    ),
    (FindingKind::DeviceError, r"^md: \w+ gets error="),
    (
        FindingKind::DeviceError,
        r"^device-mapper: multipath: (?:Could not failover|queue_if_no_path timeout)",
    ),
    // ext4 and its journal.
    (
        FindingKind::FileSystemError,
        r"^EXT[234]-fs error \(device (?<dev>[^\s)]+)\)",
    ),
    (
        FindingKind::FileSystemError,
        r"^EXT[234]-fs warning \(device (?<dev>[^\s)]+)\): .*(?:I/O error|[Cc]orrupt|data will be lost)",
    ),
    (
        FindingKind::FileSystemError,
        r"^EXT[234]-fs \((?<dev>[^\s)]+)\): .*(?:Delayed block allocation failed|[Dd]ata will be lost|potential data loss|Remounting filesystem read-only|I/O error|Detected aborted journal|error count since last fsck)",
    ),
    (
        FindingKind::FileSystemError,
        r"^Aborting journal on device (?<journal>\S+)",
    ),
    (
        FindingKind::FileSystemError,
        r"^JBD2: (?:Detected IO errors while flushing file data on|(?:previous )?I/O error .*journal superblock(?: update)? for|Error -?\d+ detected when updating journal superblock for|journal transaction \d+ on) (?<journal>\S+)",
    ),
    (
        FindingKind::FileSystemError,
        r"^JBD2: (?:IO error|error -?\d+ scanning journal|recovery failed|corrupted journal superblock|journal checksum error|Invalid checksum|Failed to read block|bad block at offset|Spotted dirty metadata buffer)",
    ),
    // XFS.
    (
        FindingKind::FileSystemError,
        r"^XFS \((?<dev>[^\s)]+)\): .*(?:I/O [Ee]rror|[Ss]hut down|[Ss]hutting down|[Cc]orruption|CRC error|Internal error|writeback error)",
    ),
    // Cluster file systems.
    (
        FindingKind::FileSystemError,
        r"^OCFS2: (?:ERROR|abort) \(device (?<dev>[^\s)]+)\)",
    ),
    (
        FindingKind::FileSystemError,
        r"OCFS2: ERROR|On-disk corruption discovered|^OCFS2: File system is now read-only|ERROR: JBD2 has aborted our journal|ERROR: Error -?\d+ recovering node \d+ on device",
    ),
    (
        FindingKind::FileSystemError,
        r"ERROR: (?:Another node is heartbeating|Heartbeat (?:generation|sequence) mismatch) on device \((?<dev>[^\s)]+)\)",
    ),
    (
        FindingKind::DeviceError,
        r#"o2hb_\w+:\d+ ERROR: (?:IO Error|Write error -?\d+ on device "(?<dev>[^\s"]+)")"#,
    ),
    (
        FindingKind::FileSystemError,
        r"^gfs2: fsid=\S+: (?:fatal: |about to withdraw|File system withdrawn|Error -?\d+ writing to journal)",
    ),
    // Who had to leave.
    (
        FindingKind::Eviction,
        r"^o2cb: o2dlm has evicted node (?<node>\d+) from domain",
    ),
    (
        FindingKind::Fencing,
        r"o2quo_fence_self|ocfs2 is very sorry to be fencing|Heartbeat write timeout to device|fencing this node because|Loss of cluster connection requires an emergency restart|^dlm: \S+: no userland control daemon, stopping lockspace",
    ),
];

static PATTERNS: LazyLock<Vec<(FindingKind, Regex)>> = LazyLock::new(|| {
    let compiled = SIGNS.iter().map(|&(kind, pattern)| {
        let pattern = Regex::new(pattern).expect("the pattern is written here");
        (kind, pattern)
    });
    compiled.collect()
});

/// What comes before call traces that somebody asked for, or that tell of a shortage whose victim is named later.
static ANNOUNCES_TRACES: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"^sysrq: |^NMI backtrace for cpu |invoked oom-killer: ")
        .expect("the pattern is written here")
});

/// What is wrong with a line of the kernel log, without its time, if anything is.
pub(crate) fn classify(line: &str) -> Option<Complaint> {
    if let Some(trouble) = trouble(line) {
        let kind = match trouble {
            Trouble::Panic => FindingKind::Panic,
            Trouble::Oops => FindingKind::Oops,
            Trouble::Bug => FindingKind::Bug,
            Trouble::HungTask => FindingKind::HungTask,
            Trouble::Lockup => FindingKind::Lockup,
            Trouble::OutOfMemory => FindingKind::OutOfMemory,
        };
        return Some(Complaint { kind, about: None });
    }
    PATTERNS.iter().find_map(|(kind, pattern)| {
        let found = pattern.captures(line)?;
        let named = |group: &str| found.name(group).map(|found| found.as_str());
        let device = |name: &str| About::Device(name.to_owned());
        let about = named("dev")
            .map(device)
            .or_else(|| named("journal").map(|name| device(without_inode(name))))
            .or_else(|| named("own").map(|name| About::OwnHalf(name.to_owned())))
            .or_else(|| named("detached").map(|name| About::Detached(name.to_owned())))
            .or_else(|| named("node")?.parse().ok().map(About::Node));
        Some(Complaint { kind: *kind, about })
    })
}

/// Whether call traces that follow are no complaint of their own.
pub(crate) fn announces_traces(line: &str) -> bool {
    ANNOUNCES_TRACES.is_match(line)
}

/// `dm-0` of `dm-0-18.`: a journal in a file system is called after its device and its inode.
fn without_inode(journal: &str) -> &str {
    let journal = journal.trim_end_matches(['.', ',', ':']);
    let begin = if journal.starts_with("dm-") { 3 } else { 0 };
    match journal[begin..].find('-') {
        Some(end) => &journal[..begin + end],
        None => journal,
    }
}

#[cfg(test)]
mod tests;
