//! What a machine costs, cheap enough to be read twice a second or around a measurement.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use procfs::process::Process;

use crate::process::usage::{cpu_seconds, process};

/// What a machine has cost since its QEMU was started. It never falls: subtract two readings.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Cost {
    /// Processor time of all of QEMU's threads, user and system, in seconds. Exact to about the host's scheduler tick (1
    /// to 10 ms) for each thread that runs at the moment.
    pub host_cpu_seconds: f64,
    /// Instructions that the guest has executed, idle loop included; `None`: they are not counted.
    pub instructions: Option<u64>,
}

/// The processor time of a process, finer than the hundredths of seconds of /proc/PID/stat: the nanoseconds that the
/// scheduler counts for each thread (`/proc/PID/task/TID/schedstat`, first field). Threads that have ended count with what
/// was last seen of them; what they used since is made up for by the coarse figure, which knows them.
#[derive(Debug, Default)]
pub(crate) struct CpuMeter(Mutex<Threads>);

#[derive(Debug, Default)]
struct Threads {
    /// Nanoseconds of those that lived at the last look.
    living: BTreeMap<i32, u64>,
    /// Nanoseconds of those that have ended.
    ended: u64,
    /// What was reported last, in seconds.
    told: f64,
}

impl CpuMeter {
    /// Seconds up to now; of a process that has been reaped, up to the last look.
    pub(crate) fn seconds(&self, pid: u32) -> f64 {
        let process = process(pid);
        let stat = process.as_ref().and_then(|process| process.stat().ok());
        let coarse = stat.map_or(0.0, |stat| cpu_seconds(&stat));
        let mut threads = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        threads.look(process.as_ref().map(seen).unwrap_or_default());
        threads.told = threads.told.max(threads.sum()).max(coarse);
        threads.told
    }
}

impl Threads {
    fn look(&mut self, now: BTreeMap<i32, u64>) {
        for (thread, before) in &self.living {
            // A thread that has less than before is another that was given the number.
            if now.get(thread).is_none_or(|now| now < before) {
                self.ended += before;
            }
        }
        self.living = now;
    }

    fn sum(&self) -> f64 {
        (self.living.values().sum::<u64>() + self.ended) as f64 / 1e9
    }
}

/// Nanoseconds by thread; nothing of a process that is gone, or where the host's kernel does not count them.
fn seen(process: &Process) -> BTreeMap<i32, u64> {
    let threads = process.tasks().into_iter().flatten().flatten();
    // One may end before it is asked.
    let used = threads.filter_map(|thread| Some((thread.tid, thread.schedstat().ok()?)));
    used.map(|(thread, used)| (thread, used.sum_exec_runtime))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_that_have_ended_still_count() {
        let mut meter = Threads::default();
        let mut sums = Vec::new();
        for now in [
            BTreeMap::from([(1, 10), (2, 5)]),
            BTreeMap::from([(1, 12)]),
            BTreeMap::from([(1, 12), (2, 1)]),
            // Another thread 1 with the number of the first.
            BTreeMap::from([(1, 3), (2, 2)]),
            BTreeMap::new(),
        ] {
            meter.look(now);
            sums.push(format!("{:.0}", meter.sum() * 1e9));
        }
        assert_eq!(sums, ["15", "17", "18", "22", "22"]);
    }

    /// This process has worked: both figures tell about the same, and neither look tells less than the one before.
    #[test]
    fn the_fine_figure_agrees_with_the_coarse_one() {
        let pid = std::process::id();
        let meter = CpuMeter::default();
        let before = meter.seconds(pid);
        let began = std::time::Instant::now();
        let mut spun = 0_u64;
        while began.elapsed().as_millis() < 60 {
            spun = std::hint::black_box(spun + 1);
        }
        let after = meter.seconds(pid);
        assert!(after > before, "{before} {after} after {spun} turns");
        let coarse = cpu_seconds(&process(pid).expect("it runs").stat().expect("it runs"));
        // Two roundings down to a tick, and other tests' threads that run meanwhile.
        assert!((after - coarse).abs() < 0.5, "{after} {coarse}");
    }

    #[test]
    fn a_process_that_is_gone_costs_no_less() {
        let meter = CpuMeter::default();
        let here = meter.seconds(std::process::id());
        // No process has this number: it is beyond the kernel's largest.
        assert!(here > 0.0 && meter.seconds(u32::MAX) >= here);
    }
}
