//! Lines of kernels that look like trouble, and whose cause is known and does no harm to what is tested: the one list of them. A line
//! that is known excuses itself alone, and the call trace that belongs to it; every other line counts as before.

use std::sync::LazyLock;

use regex::Regex;
use sanlab_record::Excuse;

/// A line that is known.
struct KnownLine {
    /// All of it that does not change from time to time, with file and number: another version has others.
    pattern: &'static str,
    /// The function that must be in its call trace, where the line alone does not tell what it is about.
    caller: Option<&'static str>,
    /// The versions of Linux that write it.
    kernels: &'static str,
    /// What it tells of, and why that does no harm.
    because: &'static str,
    /// Where that is written.
    source: &'static str,
}

const KNOWN: &[KnownLine] = &[
    KnownLine {
        pattern: r"^WARNING: CPU: \d+ PID: \d+ at fs/dlm/requestqueue\.c:47 dlm_add_requestqueue\+",
        caller: None,
        kernels: "6.1",
        because: "a lock message that waits for a recovery is copied into memory of its own size, which the checker of copies does not see",
        source: "https://lore.kernel.org/all/20221117221157.2396743-1-aahringo@redhat.com/",
    },
    KnownLine {
        pattern: r"^(Voluntary context switch within RCU read-side critical section!|WARNING: CPU: \d+ PID: \d+ at kernel/rcu/tree_plugin\.h:\d+ rcu_note_context_switch\+)",
        caller: Some("w_after_conn_state_ch"),
        kernels: "6.1",
        because: "DRBD's worker writes its metadata under rcu_read_lock when a peer was fenced; the list that RCU protects there changes only when a device is added or removed",
        source: "drivers/block/drbd/drbd_state.c, w_after_conn_state_ch",
    },
];

static PATTERNS: LazyLock<Vec<(Regex, &KnownLine)>> = LazyLock::new(|| {
    let compiled = KNOWN.iter().map(|known| {
        let pattern = Regex::new(known.pattern).expect("the pattern is written here");
        (pattern, known)
    });
    compiled.collect()
});

/// Why a line of the kernel log, without its time, does not count, if it is known.
pub(crate) fn excuse(line: &str) -> Option<Excuse> {
    let mut alone = PATTERNS.iter().filter(|(_, known)| known.caller.is_none());
    let (_, known) = alone.find(|(pattern, _)| pattern.is_match(line))?;
    Some(known.excuse())
}

/// Whether its call trace will tell.
pub(crate) fn waits_for_its_trace(line: &str) -> bool {
    let mut called = PATTERNS.iter().filter(|(_, known)| known.caller.is_some());
    called.any(|(pattern, _)| pattern.is_match(line))
}

/// Why a line does not count, if that is known by `trace`, a line of the call trace after it.
pub(crate) fn excuse_before(line: &str, trace: &str) -> Option<Excuse> {
    let calls = |known: &KnownLine| {
        let caller = known.caller?;
        let (before, after) = trace.split_once(caller)?;
        Some(before.trim().is_empty() && after.starts_with("+0x"))
    };
    let mut called = PATTERNS
        .iter()
        .filter(|(_, known)| calls(known) == Some(true));
    let (_, known) = called.find(|(pattern, _)| pattern.is_match(line))?;
    Some(known.excuse())
}

impl KnownLine {
    fn excuse(&self) -> Excuse {
        Excuse::Known {
            kernels: self.kernels.to_owned(),
            because: self.because.to_owned(),
            source: self.source.to_owned(),
        }
    }
}
