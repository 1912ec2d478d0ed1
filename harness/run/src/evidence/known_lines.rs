//! Lines of healthy kernels that look like trouble: the one list of them. A line that is known excuses itself alone, and the call
//! trace that belongs to it; every other line counts as before.

use std::sync::LazyLock;

use regex::Regex;
use sanlab_record::Excuse;

/// A line that is known.
struct KnownLine {
    /// All of it that does not change from time to time, with file and number: another version has others.
    pattern: &'static str,
    /// The versions of Linux that write it.
    kernels: &'static str,
    /// What it tells of, and why that does no harm.
    because: &'static str,
    /// Where that is written.
    source: &'static str,
}

const KNOWN: &[KnownLine] = &[KnownLine {
    pattern: r"^WARNING: CPU: \d+ PID: \d+ at fs/dlm/requestqueue\.c:47 dlm_add_requestqueue\+",
    kernels: "6.1",
    because: "a lock message that waits for a recovery is copied into memory of its own size, which the checker of copies does not see",
    source: "https://lore.kernel.org/all/20221117221157.2396743-1-aahringo@redhat.com/",
}];

static PATTERNS: LazyLock<Vec<(Regex, &KnownLine)>> = LazyLock::new(|| {
    let compiled = KNOWN.iter().map(|known| {
        let pattern = Regex::new(known.pattern).expect("the pattern is written here");
        (pattern, known)
    });
    compiled.collect()
});

/// Why a line of the kernel log, without its time, does not count, if it is known.
pub(crate) fn excuse(line: &str) -> Option<Excuse> {
    let (_, known) = PATTERNS
        .iter()
        .find(|(pattern, _)| pattern.is_match(line))?;
    Some(Excuse::Known {
        kernels: known.kernels.to_owned(),
        because: known.because.to_owned(),
        source: known.source.to_owned(),
    })
}
