//! What a pod takes of its node: as much as the largest fleet of the suite, since a shard runs one at a time.

use sanlab_fleet::overhead_mib;
use sanlab_plan::Plan;

/// The program itself, the host's side of disks and networks, MiB.
const PROGRAM_MIB: u64 = 512;
/// Guests wait most of their time: more CPUs than these are asked for by nobody who does not say so.
const CPUS: std::ops::RangeInclusive<u64> = 2..=4;
const ROUNDED_MIB: u64 = 256;

/// Memory and CPUs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Size {
    pub(crate) memory_mib: u64,
    pub(crate) cpus: u64,
}

impl Size {
    /// Enough for each of the plans. Fleets take nine tenths of a limit of memory, so that the limit is more.
    pub(crate) fn of<'a>(plans: impl IntoIterator<Item = &'a Plan>) -> Self {
        let mut size = Self {
            memory_mib: 0,
            cpus: *CPUS.start(),
        };
        for plan in plans {
            let guests = plan
                .booted()
                .map(|node| node.hardware.memory.mib())
                .map(|memory| memory + overhead_mib(memory));
            let cpus = plan.booted().map(|node| u64::from(node.hardware.cpus));
            size.memory_mib = size.memory_mib.max(guests.sum());
            size.cpus = size.cpus.max(cpus.sum());
        }
        let memory = (size.memory_mib * 10).div_ceil(9) + PROGRAM_MIB;
        Self {
            memory_mib: memory.next_multiple_of(ROUNDED_MIB),
            cpus: size.cpus.min(*CPUS.end()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn plan(nodes: &str, memory: &str) -> Plan {
        let text = format!(
            "name = \"a suite\"\nnodes = {{ \"{nodes}\" = {{ arch = \"x86\", memory = \"{memory}\" }} }}\n\
             layer = [{{ nbd = {{ disk = \"64MiB\" }} }}]"
        );
        sanlab_plan::parse(Path::new("a.toml"), &text).unwrap()
    }

    #[test]
    fn the_largest_fleet_fits_into_what_fleets_may_take_of_the_limit() {
        let plans = [plan("vix[0-1]", "256MiB"), plan("vix[0-7]", "512MiB")];
        let size = Size::of(&plans);
        let fleets = size.memory_mib * 9 / 10;
        assert!(fleets >= 8 * (512 + overhead_mib(512)), "{size:?}");
        assert_eq!(size.cpus, 4);
        assert_eq!(Size::of(&plans[..1]).cpus, 2);
    }
}
