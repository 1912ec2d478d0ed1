//! Real lines of each family, and lines that are none.

use super::*;

fn all(expected: FindingKind, lines: &[(&str, &str)]) {
    for &(line, about) in lines {
        let found = classify(line);
        let Some(Complaint { kind, about: found }) = found else {
            panic!("nothing in {line}");
        };
        let found = match found {
            Some(About::Device(device)) => device,
            Some(About::OwnHalf(device)) => format!("own half of {device}"),
            Some(About::Detached(device)) => format!("{device} without its half"),
            Some(About::Node(number)) => format!("node {number}"),
            None => String::new(),
        };
        assert_eq!((kind, &*found), (expected, about), "{line}");
    }
}

#[test]
fn a_kernel_that_stumbles_is_heard() {
    for (line, kind) in [
        (
            "Kernel panic - not syncing: Fatal exception",
            FindingKind::Panic,
        ),
        (
            "BUG: unable to handle page fault for address: 00000010",
            FindingKind::Oops,
        ),
        ("Oops: 0002 [#1] PREEMPT SMP PTI", FindingKind::Oops),
        ("kernel BUG at fs/ocfs2/journal.c:356!", FindingKind::Bug),
        (
            "BUG: sleeping function called from invalid context at mm/slab.h:494",
            FindingKind::Bug,
        ),
        (
            "DLM:  Assertion failed on line 1239 of file fs/dlm/lock.c",
            FindingKind::Bug,
        ),
        (
            "INFO: task mount.ocfs2:812 blocked for more than 120 seconds.",
            FindingKind::HungTask,
        ),
        (
            "watchdog: BUG: soft lockup - CPU#0 stuck for 22s! [dd:901]",
            FindingKind::Lockup,
        ),
        (
            "NMI watchdog: Watchdog detected hard LOCKUP on cpu 0",
            FindingKind::Lockup,
        ),
        (
            "rcu: INFO: rcu_preempt self-detected stall on CPU",
            FindingKind::Lockup,
        ),
        (
            "rcu: INFO: rcu_sched detected stalls on CPUs/tasks:",
            FindingKind::Lockup,
        ),
        (
            "WARNING: CPU: 0 PID: 88 at fs/ocfs2/dlmglue.c:839 ocfs2_cluster_unlock",
            FindingKind::Warning,
        ),
        (
            "Voluntary context switch within RCU read-side critical section!",
            FindingKind::RcuViolation,
        ),
        ("WARNING: suspicious RCU usage", FindingKind::RcuViolation),
        ("Call Trace:", FindingKind::CallTrace),
        (
            "Out of memory: Killed process 901 (dd)",
            FindingKind::OutOfMemory,
        ),
    ] {
        all(kind, &[(line, "")]);
    }
}

#[test]
fn requests_to_devices_fail() {
    all(
        FindingKind::DeviceError,
        &[
            (
                "I/O error, dev nbd2, sector 1024 op 0x1:(WRITE) flags 0x800 phys_seg 1 prio class 2",
                "nbd2",
            ),
            ("I/O error, dev drbd0, sector 64 op 0x1:(WRITE)", "drbd0"),
            ("I/O error, dev md127, sector 64 op 0x1:(WRITE)", "md127"),
            (
                "I/O error, dev dm-3, sector 0 op 0x0:(READ) flags 0x0",
                "dm-3",
            ),
            ("I/O error, dev vdb, sector 8 op 0x0:(READ)", "vdb"),
            ("blk_update_request: I/O error, dev nbd0, sector 8", "nbd0"),
            (
                "critical medium error, dev vdb, sector 8 op 0x0:(READ) flags 0x0",
                "vdb",
            ),
            (
                "critical space allocation error, dev dm-0, sector 8 op 0x1:(WRITE)",
                "dm-0",
            ),
            ("timeout error, dev nbd0, sector 16 op 0x0:(READ)", "nbd0"),
            (
                "Buffer I/O error on dev nbd0, logical block 7, lost async page write",
                "nbd0",
            ),
            (
                "Buffer I/O error on dev dm-0, logical block 7, lost sync page write",
                "dm-0",
            ),
            (
                "Buffer I/O error on dev nbd0, logical block 0, async page read",
                "nbd0",
            ),
            (
                "Buffer I/O error on device dm-0, logical block 4711",
                "dm-0",
            ),
            ("lost page write due to I/O error on nbd0", "nbd0"),
            ("Write-error on swap-device (43:0:65536)", ""),
            ("block nbd2: Receive control failed (result -104)", "nbd2"),
            ("block nbd2: Receive data failed (result -32)", "nbd2"),
            ("block nbd2: Send control failed (result -32)", "nbd2"),
            ("block nbd0: Connection timed out", "nbd0"),
            (
                "block nbd0: Connection timed out, retrying (0/1 alive)",
                "nbd0",
            ),
            ("block nbd0: Other side returned error (5)", "nbd0"),
            ("session1: session recovery timed out after 120 secs", ""),
            (
                "(o2hb-5F3B2A,911,0):o2hb_bio_end_io:375 ERROR: IO Error 10",
                "",
            ),
            (
                "(o2hb-5F3B2A,911,0):o2hb_do_disk_heartbeat:1140 ERROR: Write error -5 on device \"dm-0\"",
                "dm-0",
            ),
        ],
    );
}

#[test]
fn drbd_loses_its_disk_or_its_peer() {
    all(
        FindingKind::DeviceError,
        &[
            (
                "block drbd0: disk( UpToDate -> Failed ) ",
                "drbd0 without its half",
            ),
            (
                "block drbd0: role( Primary -> Secondary ) disk( UpToDate -> Failed )",
                "drbd0 without its half",
            ),
            (
                "block drbd0: Local IO failed in __req_mod. Detaching...",
                "own half of drbd0",
            ),
            (
                "block drbd0: local WRITE IO error sector 64+8 on vdb",
                "own half of drbd0",
            ),
            (
                "block drbd1: we had at least one MD IO ERROR during bitmap IO",
                "own half of drbd1",
            ),
            (
                "block drbd0: IO ERROR: neither local nor remote data, sector 64+8",
                "drbd0",
            ),
        ],
    );
    all(
        FindingKind::SplitBrain,
        &[
            (
                "block drbd0: Split-Brain detected but unresolved, dropping connection!",
                "drbd0",
            ),
            (
                "block drbd0: Split-Brain detected, 1 primaries, automatically solved. Sync from this node",
                "drbd0",
            ),
            (
                "drbd r0/0 drbd3 peer1: Split-Brain detected but unresolved, dropping connection!",
                "drbd3",
            ),
            ("block drbd0: Unrelated data, aborting!", "drbd0"),
        ],
    );
}

#[test]
fn md_and_multipath_run_out_of_disks() {
    all(
        FindingKind::DeviceError,
        &[
            (
                "md/raid1:md7: Disk failure on nbd1, disabling device.",
                "nbd1",
            ),
            (
                "md/raid10:md7: Disk failure on dm-1, disabling device.",
                "dm-1",
            ),
            (
                "md/raid0md7: Disk failure on nbd1 detected, failing array.",
                "nbd1",
            ),
            (
                "md/raid1:md127: nbd0: unrecoverable I/O read error for block 64",
                "nbd0",
            ),
            ("md/raid1:md127: nbd0: rescheduling sector 64", "nbd0"),
            (
                "md/raid:md127: read error NOT corrected!! (sector 64 on nbd0).",
                "nbd0",
            ),
            (
                "md/raid:md127: read error not correctable (sector 64 on dm-2).",
                "dm-2",
            ),
            (
                "md/raid:md127: Too many read errors, failing device nbd0.",
                "nbd0",
            ),
            (
                "md/raid:md127: Cannot continue operation (2/3 failed).",
                "md127",
            ),
            ("md/raid1:md127: not enough operational mirrors.", "md127"),
            ("md: super_written gets error=-5", ""),
            (
                "md: disabled device nbd0, could not read superblock.",
                "nbd0",
            ),
            (
                "device-mapper: multipath: queue_if_no_path timeout on 253:0, failing queued IO",
                "",
            ),
            (
                "device-mapper: multipath: Could not failover device. Error 5.",
                "",
            ),
        ],
    );
}

#[test]
fn file_systems_are_damaged_or_cannot_write() {
    all(
        FindingKind::FileSystemError,
        &[
            (
                "EXT4-fs error (device drbd0): ext4_find_entry:1455: inode #2: comm ls: reading directory lblock 0",
                "drbd0",
            ),
            (
                "EXT4-fs error (device dm-0) in ext4_do_update_inode:5190: Journal has aborted",
                "dm-0",
            ),
            (
                "EXT4-fs warning (device nbd0): ext4_end_bio:343: I/O error 10 writing to inode 12 starting block 34816)",
                "nbd0",
            ),
            (
                "EXT4-fs (nbd0): Delayed block allocation failed for inode 12 at logical offset 0 with max blocks 1 with error 5",
                "nbd0",
            ),
            (
                "EXT4-fs (nbd0): This should not happen!! Data will be lost",
                "nbd0",
            ),
            (
                "EXT4-fs (nbd0): Delayed block allocation failed for inode 12 at logical offset 0 with max blocks 1 with error 5. This should not happen!! Data will be lost",
                "nbd0",
            ),
            ("EXT4-fs (dm-0): Remounting filesystem read-only", "dm-0"),
            ("EXT4-fs (dm-0): I/O error while writing superblock", "dm-0"),
            ("EXT4-fs (dm-0): error count since last fsck: 3", "dm-0"),
            (
                "JBD2: Detected IO errors while flushing file data on dm-0-18",
                "dm-0",
            ),
            (
                "JBD2: I/O error when updating journal superblock for nbd0-8.",
                "nbd0",
            ),
            (
                "JBD2: previous I/O error detected for journal superblock update for dm-0-8.",
                "dm-0",
            ),
            ("JBD2: IO error -5 recovering block 7 in log", ""),
            ("JBD2: recovery failed", ""),
            ("Aborting journal on device drbd0-8.", "drbd0"),
            ("Aborting journal on device vdb-8.", "vdb"),
            (
                "XFS (dm-0): metadata I/O error in \"xlog_iodone\" at daddr 0x2 len 64 error 5",
                "dm-0",
            ),
            ("XFS (dm-0): log I/O error -5", "dm-0"),
            (
                "XFS (dm-0): Filesystem has been shut down due to log error (0x2).",
                "dm-0",
            ),
            (
                "XFS (nbd0): Metadata corruption detected at xfs_agf_verify+0x5e/0x150 [xfs], xfs_agf block 0x1",
                "nbd0",
            ),
            (
                "OCFS2: ERROR (device dm-0): ocfs2_validate_inode_block: Invalid dinode #17: signature = ",
                "dm-0",
            ),
            (
                "OCFS2: abort (device dm-0): ocfs2_journal_toggle_dirty: Journal aborted",
                "dm-0",
            ),
            (
                "On-disk corruption discovered. Please run fsck.ocfs2 once the filesystem is unmounted.",
                "",
            ),
            ("OCFS2: File system is now read-only.", ""),
            (
                "(kworker/u2:1,71,0):ocfs2_recovery_thread:1500 ERROR: Error -5 recovering node 1 on device (254,0)!",
                "",
            ),
            (
                "(o2hb-5F3B2A,911,0):o2hb_check_own_slot:620 ERROR: Another node is heartbeating on device (dm-0): expected(1:0x1, 0x2), ondisk(1:0x3, 0x4)",
                "dm-0",
            ),
            ("gfs2: fsid=san:vol.0: fatal: I/O error", ""),
            (
                "gfs2: fsid=san:vol.0: about to withdraw this file system",
                "",
            ),
            ("gfs2: fsid=san:vol.0: File system withdrawn", ""),
        ],
    );
}

#[test]
fn nodes_leave_and_are_put_out() {
    all(
        FindingKind::Eviction,
        &[(
            "o2cb: o2dlm has evicted node 1 from domain ADA600",
            "node 1",
        )],
    );
    all(
        FindingKind::Fencing,
        &[
            (
                "o2cb: Heartbeat write timeout to device dm-0 after 60000 milliseconds",
                "",
            ),
            (
                "*** ocfs2 is very sorry to be fencing this system by restarting ***",
                "",
            ),
            (
                "(kworker/0:2,71,0):o2quo_make_decision:177 ERROR: fencing this node because it is only connected to 1 nodes and 2 is needed to make a quorum out of 3 heartbeating nodes",
                "",
            ),
            (
                "dlm: vol: no userland control daemon, stopping lockspace",
                "",
            ),
        ],
    );
}

#[test]
fn what_a_healthy_or_a_slow_kernel_says_is_no_complaint() {
    for line in [
        "",
        "clocksource: timekeeping watchdog on CPU0: hpet wd-wd read-back delay of 120000ns",
        "hrtimer: interrupt took 9213456 ns",
        "(mount.ocfs2,812,0):ocfs2_find_slot:468 ERROR: no free slots available!",
        "(mount.ocfs2,812,0):ocfs2_mount_volume:1803 ERROR: status = -22",
        "Booting paravirtualized kernel on bare hardware",
        "debugfs: DEBUG: nothing",
        "nbd0: detected capacity change from 0 to 2097152",
        "block nbd0: Dead connection, failed to find a fallback",
        "block nbd0: NBD_DISCONNECT",
        "block nbd0: Possible stuck request 00000000d1e2: control (read@0,4096B). Runtime 30 seconds",
        "block nbd0: Disconnected due to user request.",
        "device-mapper: multipath: 253:0: Failing path 43:0.",
        "device-mapper: multipath: 253:0: Reinstating path 43:0.",
        "drbd r0: PingAck did not arrive in time.",
        "block drbd0: pdsk( UpToDate -> Failed ) ",
        "block drbd0: disk( Attaching -> UpToDate ) ",
        "block drbd0: disk( UpToDate -> Outdated ) ",
        "block drbd0: Split-Brain detected, manually solved. Sync from peer node",
        "block drbd0: helper command: /sbin/drbdadm split-brain minor-0",
        "block drbd0: helper command: /sbin/drbdadm before-resync-target minor-0",
        "o2net: No longer connected to node client1 (num 5) at 10.77.0.15:7777",
        "o2dlm: Node 1 leaves domain ADA600 ( 0 ) 1 nodes",
        "(kworker/0:2,71,0):o2quo_make_decision:199 not fencing this node, heartbeating: 1, connected: 0, lowest: 0 (reachable)",
        "ocfs2: Begin replay journal (node 1, slot 1) on device (254,0)",
        "md/raid1:md127: active with 2 out of 2 mirrors",
        "EXT4-fs (nbd0): mounted filesystem with ordered data mode. Quota mode: none.",
        "EXT4-fs (nbd0): recovery complete",
        "EXT4-fs (nbd0): unmounting filesystem.",
        "XFS (dm-0): Ending clean mount",
        "gfs2: fsid=san:vol.0: recover generation 2 done",
        "dlm: vol: remove member 2",
    ] {
        assert_eq!(classify(line), None, "{line}");
    }
}

#[test]
fn traces_that_were_asked_for_are_announced() {
    for line in [
        "sysrq: Show backtrace of all active CPUs",
        "NMI backtrace for cpu 0",
        "dd invoked oom-killer: gfp_mask=0x1100dca(GFP_HIGHUSER_MOVABLE|__GFP_ZERO), order=0",
    ] {
        assert!(announces_traces(line), "{line}");
        assert_eq!(classify(line), None, "{line}");
    }
    assert!(!announces_traces(
        "CPU: 0 PID: 412 Comm: dd Not tainted 6.1.0-50-amd64"
    ));
}
