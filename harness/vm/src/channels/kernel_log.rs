//! What a kernel says when it is in trouble.

/// A kind of kernel distress.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Trouble {
    /// The kernel has given up.
    Panic,
    /// A fault inside the kernel.
    Oops,
    /// A broken assertion inside the kernel.
    Bug,
    /// A task that has been waiting for minutes.
    HungTask,
    /// A processor that does not get around to other work, or an RCU stall.
    Lockup,
    /// The kernel ran out of memory and killed somebody.
    OutOfMemory,
}

/// What each kind looks like. The strings are those of the kernel's own `printk` calls: `kernel/panic.c`,
/// `arch/x86/kernel/dumpstack.c` and `mm/fault.c`, `lib/bug.c`, `kernel/hung_task.c`, `kernel/watchdog.c`,
/// `kernel/rcu/tree_stall.h`, `mm/oom_kill.c`.
const SIGNS: &[(&str, Trouble)] = &[
    ("Kernel panic - not syncing", Trouble::Panic),
    ("Oops: ", Trouble::Oops),
    ("general protection fault", Trouble::Oops),
    ("BUG: kernel NULL pointer dereference", Trouble::Oops),
    ("BUG: unable to handle", Trouble::Oops),
    ("soft lockup - CPU", Trouble::Lockup),
    ("hard LOCKUP on cpu", Trouble::Lockup),
    ("detected stalls on CPUs/tasks", Trouble::Lockup),
    ("self-detected stall on CPU", Trouble::Lockup),
    ("blocked for more than", Trouble::HungTask),
    ("kernel BUG at", Trouble::Bug),
    ("BUG: ", Trouble::Bug),
    ("Out of memory: Killed process", Trouble::OutOfMemory),
    (
        "Memory cgroup out of memory: Killed process",
        Trouble::OutOfMemory,
    ),
];

/// The trouble that a line of a kernel log reports, if any.
///
/// ```
/// use sanlab_vm::{Trouble, trouble};
/// let line = "[  242.1] INFO: task dd:412 blocked for more than 120 seconds.";
/// assert_eq!(trouble(line), Some(Trouble::HungTask));
/// assert_eq!(trouble("o2dlm: Joining domain"), None);
/// ```
pub fn trouble(line: &str) -> Option<Trouble> {
    SIGNS
        .iter()
        .find(|(sign, _)| says(line, sign))
        .map(|(_, trouble)| *trouble)
}

/// Whether `sign` stands in `line` and not as the end of a longer word ("DEBUG: ").
fn says(line: &str, sign: &str) -> bool {
    line.find(sign)
        .is_some_and(|at| !line[..at].ends_with(|before: char| before.is_alphanumeric()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_more_telling_kind_wins() {
        let cases = [
            (
                "[ 1.0] Kernel panic - not syncing: sysrq triggered crash",
                Some(Trouble::Panic),
            ),
            (
                "BUG: kernel NULL pointer dereference, address: 0000000000000000",
                Some(Trouble::Oops),
            ),
            ("Oops: 0002 [#1] PREEMPT SMP NOPTI", Some(Trouble::Oops)),
            ("kernel BUG at fs/ocfs2/dlmglue.c:811!", Some(Trouble::Bug)),
            (
                "BUG: sleeping function called from invalid context at mm/slab.h:1",
                Some(Trouble::Bug),
            ),
            (
                "watchdog: BUG: soft lockup - CPU#0 stuck for 26s! [dd:412]",
                Some(Trouble::Lockup),
            ),
            (
                "rcu: INFO: rcu_preempt self-detected stall on CPU",
                Some(Trouble::Lockup),
            ),
            (
                "INFO: task o2hb-1:300 blocked for more than 120 seconds.",
                Some(Trouble::HungTask),
            ),
            ("DEBUG: nothing to see", None),
            ("debugfs mounted", None),
        ];
        for (line, expected) in cases {
            assert_eq!(trouble(line), expected, "{line}");
        }
    }
}
