//! What a process costs the host, as /proc tells it.

use fs_err as fs;

/// What a machine has cost so far.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Usage {
    /// Processor time of all of QEMU's threads, user and system, in seconds.
    pub host_cpu_seconds: f64,
    /// The most memory that was resident at once, in bytes; pages shared with other processes count in full.
    pub peak_rss_bytes: u64,
    /// Proportional set size in bytes: a page shared by n processes counts 1/n. 0 once the process has ended.
    pub pss_bytes: u64,
    /// Instructions that the guest has executed; `None`: nobody counted them.
    pub instructions: Option<u64>,
}

impl Usage {
    /// Of a process; `None` once it has been reaped. Of one that waits to be reaped only the processor time is known.
    pub(crate) fn of(pid: u32) -> Option<Self> {
        let stat = Stat::of(pid)?;
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
        Some(Self {
            host_cpu_seconds: stat.cpu_seconds,
            peak_rss_bytes: kibibytes(&status, "VmHWM:"),
            pss_bytes: kibibytes(&rollup, "Pss:"),
            instructions: None,
        })
    }

    /// The later of two looks at one process, where the later may no longer know its memory.
    pub(crate) fn or_before(self, before: Self) -> Self {
        Self {
            host_cpu_seconds: self.host_cpu_seconds.max(before.host_cpu_seconds),
            peak_rss_bytes: self.peak_rss_bytes.max(before.peak_rss_bytes),
            pss_bytes: self.pss_bytes,
            instructions: self.instructions.max(before.instructions),
        }
    }
}

/// The fields of /proc/PID/stat that matter here; proc(5).
pub(crate) struct Stat {
    pub(crate) name: String,
    pub(crate) zombie: bool,
    pub(crate) group: u32,
    pub(crate) cpu_seconds: f64,
}

impl Stat {
    pub(crate) fn of(pid: u32) -> Option<Self> {
        Self::parse(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
    }

    fn parse(stat: &str) -> Option<Self> {
        // The name stands in parentheses and may contain both blanks and parentheses.
        let (head, rest) = stat.rsplit_once(')')?;
        let name = head.split_once('(')?.1.to_owned();
        let fields: Vec<&str> = rest.split_whitespace().collect();
        let ticks = fields.get(11)?.parse::<u64>().ok()? + fields.get(12)?.parse::<u64>().ok()?;
        Some(Self {
            name,
            zombie: matches!(*fields.first()?, "Z" | "X"),
            group: fields.get(2)?.parse().ok()?,
            cpu_seconds: ticks as f64 / rustix::param::clock_ticks_per_second() as f64,
        })
    }
}

/// The bytes of a `Name:   123 kB` line.
fn kibibytes(text: &str, name: &str) -> u64 {
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    let number = line.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok());
    number.unwrap_or(0) * 1024
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_blanks_and_parentheses_is_parsed() {
        let stat = Stat::parse("77 (a) (b c) Z 1 42 42 0 -1 0 1 2 3 4 300 200 0 0 20 0 1 0 9 0 0")
            .expect("parses");
        assert_eq!(
            (stat.name.as_str(), stat.zombie, stat.group),
            ("a) (b c", true, 42)
        );
        assert!(
            (stat.cpu_seconds * rustix::param::clock_ticks_per_second() as f64 - 500.0).abs()
                < 1e-6
        );
    }

    #[test]
    fn this_process_has_memory() {
        let usage = Usage::of(std::process::id()).expect("it runs");
        assert!(
            usage.peak_rss_bytes > 1 << 20 && usage.pss_bytes > 1 << 16,
            "{usage:?}"
        );
    }
}
