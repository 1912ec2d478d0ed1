//! What the machine has to give.

use std::path::{Path, PathBuf};

use crate::FleetError;
use crate::budget::Need;
use crate::registry::Locked;

/// The share of available memory that fleets may take, in tenths: the rest is for the host's page cache and the tests.
const SHARE: u64 = 9;

/// Memory and CPUs for all fleets together. Memory is measured while no fleet runs, and remembered while one does:
/// what running guests have touched by now would otherwise count twice, as used and as claimed.
pub(crate) fn measured(registry: &Locked, idle: bool) -> Result<Need, FleetError> {
    let memo = registry.base.join("capacity.json");
    if !idle
        && let Ok(text) = fs_err::read(&memo)
        && let Ok(capacity) = serde_json::from_slice(&text)
    {
        return Ok(capacity);
    }
    let capacity = Need {
        memory_mib: memory_mib("MemAvailable:")? * SHARE / 10,
        cpus: cpus(),
    };
    fs_err::write(
        &memo,
        serde_json::to_vec(&capacity).map_err(std::io::Error::from)?,
    )?;
    Ok(capacity)
}

/// The whole machine.
pub(crate) fn total() -> Result<Need, FleetError> {
    Ok(Need {
        memory_mib: memory_mib("MemTotal:")?,
        cpus: cpus(),
    })
}

/// CPUs that this process may use: affinity and the cgroup's quota count.
pub(crate) fn cpus() -> u64 {
    std::thread::available_parallelism().map_or(1, |cpus| cpus.get() as u64)
}

/// A line of /proc/meminfo, or the limit of a cgroup that this process is in where that is less.
fn memory_mib(line: &str) -> Result<u64, FleetError> {
    let text = fs_err::read_to_string("/proc/meminfo")?;
    let machine = meminfo(&text, line)
        .ok_or_else(|| std::io::Error::other(format!("/proc/meminfo has no {line}")))?;
    Ok(cgroup_limit().map_or(machine, |limit| machine.min(limit)) >> 20)
}

/// The line's figure in bytes.
fn meminfo(text: &str, line: &str) -> Option<u64> {
    let kib: u64 = text
        .lines()
        .find_map(|found| found.strip_prefix(line))?
        .trim()
        .strip_suffix("kB")?
        .trim()
        .parse()
        .ok()?;
    kib.checked_mul(1024)
}

/// The least `memory.max` from our cgroup (version 2) upwards, in bytes.
fn cgroup_limit() -> Option<u64> {
    let own = fs_err::read_to_string("/proc/self/cgroup").ok()?;
    let own = own.lines().find_map(|line| line.strip_prefix("0::/"))?;
    let limit = |folder: &Path| {
        fs_err::read_to_string(folder.join("memory.max"))
            .ok()?
            .trim()
            .parse::<u64>()
            .ok()
    };
    let own: PathBuf = Path::new("/sys/fs/cgroup").join(own);
    own.ancestors()
        .take_while(|folder| folder.starts_with("/sys/fs/cgroup"))
        .filter_map(limit)
        .min()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_meminfo() {
        let text = "MemTotal:       24683524 kB\nMemAvailable:   24356704 kB\n";
        assert_eq!(meminfo(text, "MemAvailable:"), Some(24_356_704 * 1024));
        assert_eq!(meminfo(text, "MemFree:"), None);
    }

    #[test]
    fn this_machine_has_something() {
        let total = total().unwrap();
        assert!(total.memory_mib > 0 && total.cpus > 0, "{total}");
    }
}
