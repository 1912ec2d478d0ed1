//! What a process costs the host, from /proc.

use procfs::process::{Process, Stat};

/// What a machine has cost so far.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Usage {
    /// Processor time of all of QEMU's threads, user and system, in seconds.
    pub host_cpu_seconds: f64,
    /// The most memory that was resident at once, in bytes; pages shared with other processes count in full.
    pub peak_rss_bytes: u64,
    /// Proportional set size in bytes: a page shared by n processes counts 1/n. 0 once the process has ended.
    pub pss_bytes: u64,
    /// Instructions that the guest has executed; `None`: they were not counted.
    pub instructions: Option<u64>,
}

impl Usage {
    /// Of a process; `None` once it has been reaped. Of one that waits to be reaped only the processor time is known.
    pub(crate) fn of(pid: u32) -> Option<Self> {
        let process = process(pid)?;
        let stat = process.stat().ok()?;
        let peak_kib = process.status().ok().and_then(|status| status.vmhwm);
        let rollup = process.smaps_rollup().ok();
        let pss = rollup.and_then(|rollup| {
            let map = rollup.memory_map_rollup.0.into_iter().next()?;
            map.extension.map.get("Pss").copied()
        });
        Some(Self {
            host_cpu_seconds: cpu_seconds(&stat),
            peak_rss_bytes: peak_kib.unwrap_or_default() * 1024,
            pss_bytes: pss.unwrap_or_default(),
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

/// Processor time of all threads of a process, those that have ended too, user and system.
pub(crate) fn cpu_seconds(stat: &Stat) -> f64 {
    (stat.utime + stat.stime) as f64 / procfs::ticks_per_second() as f64
}

/// `None` once it has been reaped.
pub(crate) fn process(pid: u32) -> Option<Process> {
    Process::new(pid.try_into().ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_has_memory() {
        let usage = Usage::of(std::process::id()).expect("it runs");
        assert!(
            usage.peak_rss_bytes > 1 << 20 && usage.pss_bytes > 1 << 16,
            "{usage:?}"
        );
    }
}
