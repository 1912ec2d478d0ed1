//! The kernel log as evidence: what it must never say, and what it says about the cluster.

use std::sync::LazyLock;

use regex::Regex;
use sanlab_fleet::{Trouble, trouble};
use sanlab_plan::{Action, Plan};

/// What no kernel of a healthy cluster says, beyond the kernel troubles that [`trouble`] knows, and how reports
/// call it.
///
/// Lock-ups, stalls and hung tasks are found by the kernel's own clocks (20 s and more without a tick or a
/// schedule). Guests that share the host's CPUs within the lab's budget never come near that, so these count
/// too, though a host that was stopped for half a minute shows the same. `clocksource: timekeeping watchdog` and
/// `hrtimer: interrupt took` do not count: emulation is slow, and they say no more than that.
static FORBIDDEN: LazyLock<Vec<(&str, Regex)>> = LazyLock::new(|| {
    [
        (
            "rcu violation",
            r"Voluntary context switch within RCU|WARNING: suspicious RCU usage",
        ),
        ("warning", r"WARNING: CPU: \d+ PID: \d+ at "),
        ("call trace", r"Call Trace:"),
        (
            "file system error",
            r"OCFS2: ERROR|On-disk corruption discovered",
        ),
        (
            "fencing",
            r"o2quo_fence_self|ocfs2 is very sorry to be fencing|Heartbeat write timeout to device",
        ),
    ]
    .map(|(name, pattern)| {
        (
            name,
            Regex::new(pattern).expect("the pattern is written here"),
        )
    })
    .into()
});

/// What kernels say when a server is lost, and must not say in a scenario without such a loss.
static LOSS: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"I/O error, dev (?:nbd|dm-|vdb)|block nbd\d+: (?:Connection timed out|Receive control failed)")
        .expect("the pattern is written here")
});

/// The cluster's news: who connected, joined, left, mounted, which paths and peers were lost and came back.
static NEWS: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(
        r"^(?:(?:o2dlm|o2net|o2hb|o2cb|ocfs2|dlm|device-mapper: multipath|block drbd\d+): |drbd |block nbd\d+: (?:Connection timed out|Dead connection|reconnected socket|Receive control failed))",
    )
    .expect("the pattern is written here")
});

/// A line that a healthy kernel does not write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Finding {
    /// What kind of trouble.
    pub(crate) kind: &'static str,
    /// The line, without its time.
    pub(crate) line: String,
}

impl std::fmt::Display for Finding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: `{}`", self.kind, self.line)
    }
}

/// Tells trouble from what a scenario brings about itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Judge {
    /// The scenario takes nodes or servers away: that others miss them is no trouble.
    losses: bool,
}

impl Judge {
    /// For the kernels of a plan's nodes.
    pub(crate) fn new(plan: &Plan) -> Self {
        let takes_away =
            |action: &Action| matches!(action, Action::Crash(_) | Action::StopProcess(_));
        Self {
            losses: plan.steps.iter().any(|step| takes_away(&step.action)),
        }
    }

    /// What is wrong with a line of the kernel log, if anything.
    pub(crate) fn judge(self, line: &str) -> Option<Finding> {
        let line = without_time(line);
        let kind = match trouble(line) {
            Some(Trouble::Panic) => "panic",
            Some(Trouble::Oops) => "oops",
            Some(Trouble::Bug) => "bug",
            Some(Trouble::HungTask) => "hung task",
            Some(Trouble::Lockup) => "lockup",
            Some(Trouble::OutOfMemory) => "out of memory",
            None if LOSS.is_match(line) && !self.losses => "device error",
            None => {
                FORBIDDEN
                    .iter()
                    .find(|(_, pattern)| pattern.is_match(line))?
                    .0
            }
        };
        Some(Finding {
            kind,
            line: line.to_owned(),
        })
    }

    /// The first thing that is wrong with a log: what comes after it follows from it.
    pub(crate) fn first_finding(self, log: &str) -> Option<Finding> {
        log.lines().find_map(|line| self.judge(line))
    }
}

/// The line without its time, if it is about the cluster.
pub(crate) fn news(line: &str) -> Option<&str> {
    let line = without_time(line);
    NEWS.is_match(line).then_some(line)
}

/// `[   12.345678] text` or, with the caller's mark, `[   12.345678][  T1] text`; a console adds `\r`.
fn without_time(line: &str) -> &str {
    let mut rest = line.trim();
    while let Some((mark, after)) = rest
        .strip_prefix('[')
        .and_then(|inner| inner.split_once(']'))
    {
        if !mark
            .trim_start()
            .starts_with(|c: char| c.is_ascii_digit() || c == 'T' || c == 'C')
        {
            break;
        }
        rest = after.trim_start();
    }
    rest
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of a scenario without a loss, and of one with.
    const WHOLE: Judge = Judge { losses: false };
    const WITH_LOSSES: Judge = Judge { losses: true };

    fn kind(line: &str) -> Option<&'static str> {
        WHOLE.judge(line).map(|finding| finding.kind)
    }

    #[test]
    fn trouble_is_found() {
        for (line, expected) in [
            (
                "[   61.1] Kernel panic - not syncing: Fatal exception\r",
                "panic",
            ),
            (
                "[   61.0] BUG: unable to handle page fault for address: 00000010",
                "oops",
            ),
            ("[   61.0] Oops: 0002 [#1] PREEMPT SMP PTI", "oops"),
            ("[   61.0] kernel BUG at fs/ocfs2/journal.c:356!", "bug"),
            (
                "[   61.0] BUG: sleeping function called from invalid context at mm/slab.h:494",
                "bug",
            ),
            (
                "[  245.2] INFO: task mount.ocfs2:812 blocked for more than 120 seconds.",
                "hung task",
            ),
            (
                "[   88.0] watchdog: BUG: soft lockup - CPU#0 stuck for 22s! [dd:901]",
                "lockup",
            ),
            (
                "[   88.0] NMI watchdog: Watchdog detected hard LOCKUP on cpu 0",
                "lockup",
            ),
            (
                "[   88.0] rcu: INFO: rcu_preempt self-detected stall on CPU",
                "lockup",
            ),
            (
                "[   88.0] rcu: INFO: rcu_sched detected stalls on CPUs/tasks:",
                "lockup",
            ),
            (
                "[   12.0][  T88] WARNING: CPU: 0 PID: 88 at fs/ocfs2/dlmglue.c:839 ocfs2_cluster_unlock",
                "warning",
            ),
            (
                "[   12.0] Voluntary context switch within RCU read-side critical section!",
                "rcu violation",
            ),
            ("[   12.0] WARNING: suspicious RCU usage", "rcu violation"),
            ("[   12.0] Call Trace:", "call trace"),
            (
                "[   40.0] Out of memory: Killed process 901 (dd)",
                "out of memory",
            ),
            (
                "[   12.0] OCFS2: ERROR (device dm-0): ocfs2_validate_inode_block: Invalid dinode",
                "file system error",
            ),
            (
                "[   99.0] o2cb: Heartbeat write timeout to device dm-0 after 60000 milliseconds",
                "fencing",
            ),
            (
                "[   99.0] *** ocfs2 is very sorry to be fencing this system by restarting ***",
                "fencing",
            ),
            (
                "[   33.0] I/O error, dev nbd2, sector 1024 op 0x1:(WRITE) flags 0x800",
                "device error",
            ),
            (
                "[   33.0] block nbd2: Receive control failed (result -104)",
                "device error",
            ),
        ] {
            assert_eq!(kind(line), Some(expected), "{line}");
            let expected = (expected != "device error").then_some(expected);
            let found = WITH_LOSSES.judge(line).map(|finding| finding.kind);
            assert_eq!(found, expected, "{line}");
        }
    }

    #[test]
    fn that_others_miss_a_lost_server_is_no_trouble() {
        for line in [
            "[   33.0] block nbd0: Connection timed out, retrying (0/1 alive)",
            "[   33.0] block nbd0: Dead connection, failed to find a fallback",
            "[   33.0] I/O error, dev nbd0, sector 8 op 0x1:(WRITE) flags 0x800 phys_seg 1 prio class 2",
            "[   33.0] device-mapper: multipath: 253:0: Failing path 43:0.",
            "[   33.0] drbd r0: PingAck did not arrive in time.",
            "[   33.0] block drbd0: helper command: /sbin/drbdadm before-resync-target minor-0",
            "[   33.0] o2net: No longer connected to node client1 (num 5) at 10.77.0.15:7777",
        ] {
            assert_eq!(WITH_LOSSES.judge(line), None, "{line}");
        }
    }

    #[test]
    fn slowness_and_refusals_are_no_trouble() {
        for line in [
            "",
            "[    9.2] clocksource: timekeeping watchdog on CPU0: hpet wd-wd read-back delay of 120000ns",
            "[    9.3] hrtimer: interrupt took 9213456 ns",
            "[   50.0] (mount.ocfs2,812,0):ocfs2_find_slot:468 ERROR: no free slots available!",
            "[   50.0] (mount.ocfs2,812,0):ocfs2_mount_volume:1803 ERROR: status = -22",
            "[    0.0] Booting paravirtualized kernel on bare hardware",
            "[    3.0] debugfs: DEBUG: nothing",
            "[    3.0] nbd0: detected capacity change from 0 to 2097152",
        ] {
            assert_eq!(WHOLE.judge(line), None, "{line}");
        }
    }

    #[test]
    fn the_first_finding_is_the_cause() {
        let log = "[ 1.0] ok\n[ 2.0] kernel BUG at fs/x.c:1!\n[ 2.0] Call Trace:\n[ 2.1] Kernel panic - not syncing: x\n";
        assert_eq!(
            WHOLE.first_finding(log).unwrap().to_string(),
            "bug: `kernel BUG at fs/x.c:1!`"
        );
    }

    #[test]
    fn news_are_lines_of_the_cluster() {
        assert_eq!(
            news("[   70.123456] o2dlm: Node 4 joins domain 8F2B ( 0 1 2 3 4 ) 5 nodes\r"),
            Some("o2dlm: Node 4 joins domain 8F2B ( 0 1 2 3 4 ) 5 nodes")
        );
        assert!(
            news(
                "[ 7.0] ocfs2: Mounting device (254,0) on (node 4, slot 4) with ordered data mode."
            )
            .is_some()
        );
        assert!(news("[ 33.0] device-mapper: multipath: 253:0: Failing path 43:0.").is_some());
        assert!(news("[ 33.0] drbd r0: PingAck did not arrive in time.").is_some());
        assert!(news("[ 33.0] block nbd0: Dead connection, failed to find a fallback").is_some());
        assert_eq!(
            news("[ 33.0] block nbd0: Other side returned error (5)"),
            None
        );
        assert_eq!(news("[ 7.0] EXT4-fs (vda): mounted"), None);
        assert_eq!(news("[unknown] o2net: x"), None);
    }
}
