//! What people read of events.

use super::*;

#[test]
fn each_kind_has_one_sentence() {
    let text = |text: &str| text.to_owned();
    let key = "3f2a91c04d5e".repeat(6);
    let exited = |status: &str, cause: Option<&str>, full: Option<&str>, stderr: &str| {
        EventKind::QemuExited {
            status: text(status),
            cause: cause.map(text),
            full: full.map(text),
            stderr: text(stderr),
        }
    };
    let kinds = [
        EventKind::Swept {
            run: text("/tmp/sanlab-0/r1"),
            killed: vec![7, 9],
        },
        EventKind::NotSwept {
            run: text("/tmp/sanlab-0/r2"),
            reason: text("SIGKILL does not end its processes: 7"),
        },
        EventKind::TemplateMade {
            about: text("x86"),
            seconds: 9.26,
            bytes: 90 << 20,
        },
        EventKind::TemplateFailed {
            about: text("x86"),
            reason: text("boot template of x86: the agent is silent"),
        },
        EventKind::Saved {
            folder: text("saved"),
            seconds: 0.64,
            bytes: 199 << 20,
            left_out: [(text("vix1"), text("its kernel has panicked"))].into(),
        },
        EventKind::NotSaved {
            reason: text("no node runs"),
        },
        EventKind::Booting,
        EventKind::Answered { seconds: 0.391 },
        EventKind::Panicked {
            console_tail: text("one\nKernel panic - not syncing"),
        },
        exited("exited with 0", Some("guest-reset"), None, ""),
        exited(
            "was ended by SIGBUS",
            None,
            Some("the tmpfs at /dev/shm"),
            "",
        ),
        exited("exited with 1", None, None, "out of patience"),
        EventKind::Crashed {
            how: CrashKind::Power,
            after_seconds: 1.25,
        },
        EventKind::WriteCacheLost {
            unflushed_writes: 51,
            unflushed_bytes: 3_355_443,
            kept_writes: 23,
            torn_writes: 0,
        },
        EventKind::WriteCacheLost {
            unflushed_writes: 2,
            unflushed_bytes: 8192,
            kept_writes: 1,
            torn_writes: 1,
        },
        EventKind::WriteCacheLost {
            unflushed_writes: 1,
            unflushed_bytes: 65_536,
            kept_writes: 0,
            torn_writes: 0,
        },
        EventKind::WriteCacheLost {
            unflushed_writes: 1,
            unflushed_bytes: 65_536,
            kept_writes: 1,
            torn_writes: 1,
        },
        EventKind::WriteCacheLost {
            unflushed_writes: 0,
            unflushed_bytes: 0,
            kept_writes: 0,
            torn_writes: 0,
        },
        EventKind::FaultBegan {
            what: text("pull the network cable of vix0"),
        },
        EventKind::FaultEnded {
            step: text("link"),
            seconds: 5.0,
        },
        EventKind::Forked {
            checkpoint: text("layers"),
            key: key.clone(),
            age_seconds: 725.0,
        },
        EventKind::Kept {
            checkpoint: text("written"),
            key,
            seconds: 0.31,
            bytes: 480 << 20,
        },
        EventKind::ProvedBefore {
            run: text("runs/7/mount"),
            age_seconds: 7200.0,
        },
        EventKind::Printed {
            file: text("output/step-run/vix0.txt"),
            command: text("uname -m"),
            status: text("exited with 0"),
            stdout_bytes: 7,
            stderr_bytes: 0,
        },
        EventKind::Failed {
            message: text("exited with 1"),
        },
        EventKind::KnownFailure {
            message: text("exited with 1"),
        },
    ];
    let told = kinds.map(|kind| kind.about(Some("vix0"))).join("\n");
    insta::assert_snapshot!(told, @r"
    vix0: cleared away the dead run /tmp/sanlab-0/r1 and its processes [7, 9]
    vix0: the dead run /tmp/sanlab-0/r2 was not cleared away: SIGKILL does not end its processes: 7
    vix0: the template of x86 was made in 9.3 s and takes 90 MiB
    vix0: without a template of x86 its nodes boot: failed to boot template of x86: the agent is silent
    vix0: the fleet was saved in 0.64 s, 199 MiB on disk: saved; without vix1: its kernel has panicked
    vix0: the fleet was not saved: no node runs
    vix0: boots
    vix0: answered after 0.39 s
    vix0: the kernel panicked: Kernel panic - not syncing
    vix0: QEMU exited with 0 (guest-reset)
    vix0: QEMU was ended by SIGBUS: there is no space left on the tmpfs at /dev/shm
    vix0: QEMU exited with 1: out of patience
    vix0: crashed (power) after 1.2 s
    vix0: power lost: 51 writes of 3.2 MiB were not flushed, 23 of them are on the disk
    vix0: power lost: 2 writes of 8 KiB were not flushed, 1 of them are on the disk, 1 of these in part
    vix0: power lost: a write of 64 KiB was not flushed, and is lost
    vix0: power lost: a write of 64 KiB was not flushed, and is on the disk in part
    vix0: power lost: every write to its disk had been flushed
    vix0: pull the network cable of vix0
    vix0: what step link broke is whole again after 5.0 s
    vix0: `layers` forked from 3f2a91c04d5e of 12 min 05 s ago
    vix0: `written` kept as 3f2a91c04d5e in 0.31 s, 480 MiB on disk
    vix0: what is written was proved 2 h 00 min ago, in runs/7/mount
    vix0: `uname -m` exited with 0 and printed 7 bytes: output/step-run/vix0.txt
    vix0: FAILED: exited with 1
    vix0: KNOWN FAILURE: exited with 1
    ");
}
