//! Disks that lose their volatile write caches with the power, by the logs that a real QEMU wrote.

use sanlab_fleet::{CacheDraw, Fleet, FleetError, FleetSpec, PowerLoss};
use sanlab_plan::CrashKind;

use crate::crashes::crash_and_lose;
use crate::fixture::{Label, checkpoint, end, listener, names, node_says, spec, store};

/// Writes that are flushed one by one, and writes that are not flushed, of 4 KiB each.
const FLUSHED: u64 = 20;
const UNFLUSHED: u64 = 40;
/// Far from the first of the disk, which tells whose disk it is.
const FIRST: u64 = 16;

/// So many losses of power.
const ROUNDS: u64 = 10;

const DRAW: CacheDraw = CacheDraw {
    seed: 5,
    torn: false,
};

/// Of a clone whose disk was empty, and of a fork; each twice, so that the second disk is what the first loss has left.
pub(crate) async fn lost() {
    let spec = || FleetSpec {
        volatile_caches: names(&["vix0", "vix1"]),
        ..spec(&store(), "caches")
    };
    let (events, _) = listener();
    let two = names(&["vix0", "vix2"]);
    let fleet = Fleet::start(spec(), &two, None, events).await.unwrap();
    for round in ["first", "second"] {
        power_is_cut(&fleet, "vix0", round).await;
    }
    // Nothing was written since, and the other's disk has no such cache.
    for name in two {
        let error = fleet.lose_write_cache(&name, DRAW).await.unwrap_err();
        assert!(matches!(error, FleetError::NotCrashed { .. }), "{error}");
        fleet.crash(&name, CrashKind::Power).await.unwrap();
        assert_eq!(fleet.lose_write_cache(&name, DRAW).await.unwrap(), None);
    }
    end(fleet).await;

    let held = checkpoint().await;
    let label: Label = held.label().unwrap();
    let (events, _) = listener();
    let fleet = Fleet::fork(spec(), &label.fleet, held.path(), None, events);
    let fleet = fleet.await.unwrap();
    for round in ["first", "second"] {
        power_is_cut(&fleet, "vix1", round).await;
        let disk = node_says(&fleet, "vix1", "head -n 1 /dev/vdb").await;
        assert_eq!(disk, "disk of vix1");
    }
    end(fleet).await;
}

/// One writer flushes every block before it tells of it, others never do: all that was told is there, whatever the draw.
pub(crate) async fn honest() {
    let spec = FleetSpec {
        volatile_caches: names(&["vix0"]),
        ..spec(&store(), "honest")
    };
    let (events, _) = listener();
    let fleet = Fleet::start(spec, &names(&["vix0"]), None, events).await;
    let fleet = fleet.unwrap();
    // Behind the blocks that are told of.
    let others = "for n in 1 2 3; do
        (while :; do /bin/dd if=/dev/zero of=/dev/vdb bs=4k count=500 seek=$((8192 + n * 512)) oflag=direct conv=notrunc; done) \
            </dev/null >/dev/null 2>&1 &
    done";
    let mut unflushed = 0;
    for seed in 0..ROUNDS {
        node_says(&fleet, "vix0", others).await;
        let draw = CacheDraw { seed, torn: true };
        let lost = crash_and_lose(&fleet, "vix0", CrashKind::Power, Some(draw)).await;
        unflushed += lost.unwrap().unflushed_writes;
    }
    assert!(unflushed > 0, "nothing was ever at stake");
    end(fleet).await;
}

/// Writes, cuts the power, and finds what must be there and as much of the rest as it was told.
async fn power_is_cut(fleet: &Fleet, name: &str, round: &str) {
    let write = |first: u64, count: u64, flags: &str| {
        let last = first + count - 1;
        format!(
            "for n in $(seq {first} {last}); do
                 printf '%4095s\\n' \"{round} $n\" |
                     /bin/dd of=/dev/vdb bs=4096 seek=$n iflag=fullblock oflag={flags} conv=notrunc 2>/dev/null
             done"
        )
    };
    let unflushed = FIRST + FLUSHED;
    node_says(fleet, name, &write(FIRST, FLUSHED, "direct,dsync")).await;
    node_says(fleet, name, &write(unflushed, UNFLUSHED, "direct")).await;
    fleet.crash(name, CrashKind::Power).await.unwrap();
    let lost = fleet.lose_write_cache(name, DRAW).await.unwrap().unwrap();
    let expected = PowerLoss {
        unflushed_writes: UNFLUSHED,
        unflushed_bytes: UNFLUSHED * 4096,
        ..lost
    };
    assert_eq!(lost, expected);
    assert!((5..=35).contains(&lost.kept_writes), "{lost:?}");
    // It is lost once.
    assert_eq!(fleet.lose_write_cache(name, DRAW).await.unwrap(), None);

    fleet.restart(name).await.unwrap();
    let count = |first: u64, count: u64| {
        format!(
            "/bin/dd if=/dev/vdb bs=4096 skip={first} count={count} iflag=direct 2>/dev/null | grep -ac '{round} ' || :"
        )
    };
    let flushed = node_says(fleet, name, &count(FIRST, FLUSHED)).await;
    assert_eq!(flushed, FLUSHED.to_string());
    let kept = node_says(fleet, name, &count(unflushed, UNFLUSHED)).await;
    assert_eq!(kept, lost.kept_writes.to_string());
}
