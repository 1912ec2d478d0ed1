//! What the machine has to give.

use std::path::{Path, PathBuf};

use procfs::process::Process;
use procfs::{Current as _, Meminfo};

use crate::error::FleetError;
use crate::host::locked::Locked;
use crate::host::need::Need;

/// The share of available memory that fleets may take, in tenths: the rest is for the host's page cache and the tests.
const SHARE: u64 = 9;

/// Memory and CPUs for all fleets together. Memory is measured while no fleet runs, and remembered while one does:
/// what running guests have touched by now would otherwise count twice, as used and as claimed.
pub(crate) fn measured(registry: &Locked, idle: bool) -> Result<Need, FleetError> {
    let memo = registry.path().join("capacity.json");
    if !idle
        && let Ok(text) = fs_err::read(&memo)
        && let Ok(capacity) = serde_json::from_slice(&text)
    {
        return Ok(capacity);
    }
    let capacity = Need {
        memory_mib: memory_mib(|memory| memory.mem_available)? * SHARE / 10,
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
        memory_mib: memory_mib(|memory| Some(memory.mem_total))?,
        cpus: cpus(),
    })
}

/// CPUs that this process may use: affinity and the cgroup's quota count.
pub(crate) fn cpus() -> u64 {
    std::thread::available_parallelism().map_or(1, |cpus| cpus.get() as u64)
}

/// A figure of /proc/meminfo, or the limit of a cgroup that this process is in where that is less.
fn memory_mib(figure: impl Fn(&Meminfo) -> Option<u64>) -> Result<u64, FleetError> {
    let memory = Meminfo::current().map_err(std::io::Error::other)?;
    let machine = figure(&memory)
        .ok_or_else(|| std::io::Error::other("/proc/meminfo does not tell the memory"))?;
    Ok(cgroup_limit().map_or(machine, |limit| machine.min(limit)) >> 20)
}

/// The least `memory.max` from our cgroup (version 2) upwards, in bytes.
fn cgroup_limit() -> Option<u64> {
    let own = Process::myself().ok()?.cgroups().ok()?;
    let own = own.into_iter().find(|group| group.hierarchy == 0)?;
    let own = own.pathname.strip_prefix('/')?;
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
    fn this_machine_has_something() {
        let total = total().unwrap();
        assert!(total.memory_mib > 0 && total.cpus > 0, "{total}");
    }
}
