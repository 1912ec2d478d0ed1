//! What the machine has to give.

use std::path::{Path, PathBuf};

use procfs::process::Process;
use procfs::{Current as _, Meminfo};

use crate::error::FleetError;
use crate::host::locked::Locked;
use crate::host::need::Need;

/// The share of available memory that fleets may take, in tenths: the rest is for the host's page cache and the tests.
const SHARE: u64 = 9;

/// What fleets may have together.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Capacity {
    /// At best, when no other program has any memory.
    pub(crate) most: Need,
    /// Now, beside what other programs have.
    pub(crate) available: Need,
}

impl Capacity {
    pub(crate) fn of_machine() -> Result<Self, FleetError> {
        let memory = Meminfo::current().map_err(std::io::Error::other)?;
        let limit = cgroup_limit().unwrap_or(u64::MAX);
        let share = |bytes: u64| Need {
            memory_mib: (bytes.min(limit) >> 20) * SHARE / 10,
            cpus: cpus(),
        };
        let available = memory
            .mem_available
            .ok_or_else(|| std::io::Error::other("/proc/meminfo does not tell the memory"))?;
        Ok(Self {
            most: share(memory.mem_total),
            available: share(available),
        })
    }

    /// What is available when no fleet runs, as it is now or, while fleets run, was before the first: what running guests
    /// have touched by now would otherwise count twice, as used and as claimed.
    pub(crate) fn when_idle(self, registry: &Locked, idle: bool) -> Result<Need, FleetError> {
        let memo = registry.path().join("capacity.json");
        if !idle
            && let Ok(text) = fs_err::read(&memo)
            && let Ok(capacity) = serde_json::from_slice(&text)
        {
            return Ok(capacity);
        }
        let text = serde_json::to_vec(&self.available).map_err(std::io::Error::from)?;
        fs_err::write(&memo, text)?;
        Ok(self.available)
    }
}

/// How many guests shall do short work side by side for each CPU: more would only wait for it, against their deadlines.
const AT_ONCE: usize = 8;

/// How many guests shall do short work side by side, such as to come to life.
pub fn at_once() -> usize {
    usize::try_from(cpus()).map_or(AT_ONCE, |cpus| cpus.saturating_mul(AT_ONCE))
}

/// CPUs that this process may use: affinity and the cgroup's quota count.
pub(crate) fn cpus() -> u64 {
    std::thread::available_parallelism().map_or(1, |cpus| cpus.get() as u64)
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
        let Capacity { most, available } = Capacity::of_machine().unwrap();
        assert!(available.memory_mib > 0 && available.cpus > 0);
        assert!(available.fits(most), "{available}, {most}");
    }
}
