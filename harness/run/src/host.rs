//! What this host is, for the record: figures depend on it.

use sanlab_record::HostUse;

/// Reads it off the kernel; what cannot be read is said to be unknown.
pub fn host() -> HostUse {
    let read = |path: &str| fs_err::read_to_string(path).unwrap_or_default();
    HostUse {
        cpu: cpu(&read("/proc/cpuinfo")),
        cpus: std::thread::available_parallelism()
            .map_or(1, |cpus| u32::try_from(cpus.get()).unwrap_or(u32::MAX)),
        memory_mib: memory_mib(&read("/proc/meminfo")),
        kernel: known(read("/proc/sys/kernel/osrelease").trim()),
    }
}

/// The first processor's model in /proc/cpuinfo.
fn cpu(cpuinfo: &str) -> String {
    let model = cpuinfo.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        (name.trim() == "model name").then(|| value.trim())
    });
    known(model.unwrap_or_default())
}

/// `MemTotal` of /proc/meminfo.
fn memory_mib(meminfo: &str) -> u64 {
    let total = meminfo.lines().find_map(|line| {
        let words = line.strip_prefix("MemTotal:")?;
        words.split_whitespace().next()?.parse::<u64>().ok()
    });
    total.unwrap_or_default() / 1024
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
    fn what_the_kernel_says_is_read() {
        let cpuinfo = "processor\t: 0\nmodel\t\t: 85\nmodel name\t: Some CPU @ 2.50GHz\nprocessor\t: 1\nmodel name\t: Other\n";
        assert_eq!(cpu(cpuinfo), "Some CPU @ 2.50GHz");
        assert_eq!(cpu("processor : 0\n"), "unknown");
        let meminfo = "MemTotal:       24576000 kB\nMemFree: 5 kB\n";
        assert_eq!(memory_mib(meminfo), 24_000);
    }

    #[test]
    fn this_host_is_known() {
        let host = host();
        assert!(host.cpus >= 1 && host.memory_mib > 0, "{host:?}");
        assert_ne!(host.kernel, "unknown");
    }
}
