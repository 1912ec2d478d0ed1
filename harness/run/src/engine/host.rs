//! What this host is, for the record: figures depend on it.

use procfs::{CpuInfo, Current as _, Meminfo};
use sanlab_record::HostUse;

/// Reads it off the kernel; what cannot be read is said to be unknown.
pub fn host() -> HostUse {
    let cpu = CpuInfo::current().ok();
    let kernel = fs_err::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    HostUse {
        cpu: known(
            cpu.as_ref()
                .and_then(|cpu| cpu.model_name(0))
                .unwrap_or_default(),
        ),
        cpus: std::thread::available_parallelism()
            .map_or(1, |cpus| u32::try_from(cpus.get()).unwrap_or(u32::MAX)),
        memory_mib: Meminfo::current().map_or(0, |memory| memory.mem_total >> 20),
        kernel: known(kernel.trim()),
    }
}

fn known(word: &str) -> String {
    if word.is_empty() {
        "unknown".to_owned()
    } else {
        word.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_host_is_known() {
        let host = host();
        assert!(host.cpus >= 1 && host.memory_mib > 0, "{host:?}");
        assert_ne!(host.kernel, "unknown");
    }
}
