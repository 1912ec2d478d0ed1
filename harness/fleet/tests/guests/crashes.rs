//! Members that crash on purpose, come back with their disks, and what they had told by then.

use sanlab_fleet::{
    CacheDraw, EVENT_PORT_PATH, Fleet, FleetError, FleetEvent, FleetSpec, GuestEvent, Kind, Node,
    PowerLoss, StartMode,
};
use sanlab_plan::CrashKind;
use sanlab_record::EventKind;
use sha2::{Digest as _, Sha256};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::timeout;

use crate::fixture::{
    FOUR, Label, MINUTE, checkpoint, end, expect_as_saved, listener, names, node_says, says, spec,
    store,
};

/// Of 512 bytes each, and far from the first of the disk, which tells whose disk it is.
const FIRST: u64 = 64;
/// Nobody writes that many before its end comes.
const BLOCKS: u64 = 10_000;

/// Both ways to crash on both architectures, one after another.
pub(crate) async fn clones() {
    let store = store();
    let (events, mut heard) = listener();
    let spec = spec(&store, "crashes");
    let three = names(&["vix0", "vix1", "vix2"]);
    let fleet = Fleet::start(spec, &three, None, events).await.unwrap();
    for (name, how) in [
        ("vix0", CrashKind::Panic),
        ("vix1", CrashKind::Power),
        ("vix0", CrashKind::Power),
        ("vix1", CrashKind::Panic),
    ] {
        crash_at_work(&fleet, name, how).await;
    }
    refused(&fleet).await;

    // One stays down.
    let spent = fleet.node("vix2").unwrap().usage().host_cpu_seconds;
    fleet.crash("vix2", CrashKind::Power).await.unwrap();
    assert_eq!(fleet.nodes().len(), 2);
    let teardown = fleet.shutdown().await;
    assert!(teardown.errors.is_empty(), "{:?}", teardown.errors);
    let usage = &teardown.usage["vix2"];
    assert!(usage.host_cpu_seconds >= spent, "{usage:?}, {spent}");
    assert!(usage.pss_bytes > 0, "{usage:?}");
    drop(fleet);
    told(&mut heard).await;
}

/// Everything but that it crashed is as it should be.
async fn told(heard: &mut UnboundedReceiver<FleetEvent>) {
    let (mut crashed, mut stopped) = (Vec::new(), Vec::new());
    while let Some(event) = heard.recv().await {
        match &event.kind {
            EventKind::Stopped { how } => {
                let node = event.node.clone().unwrap();
                if how == "ended" {
                    stopped.push(node);
                } else {
                    crashed.push((node, how.clone()));
                }
            }
            EventKind::QemuExited { .. }
            | EventKind::Panicked { .. }
            | EventKind::AgentLost
            | EventKind::NetworkFailed { .. } => panic!("{event}"),
            _ => {}
        }
    }
    let (power, panic) = ("lost its power", "panicked as it was told to");
    let expected = [
        ("vix0", panic),
        ("vix1", power),
        ("vix0", power),
        ("vix1", panic),
        ("vix2", power),
    ];
    let expected = expected.map(|(node, how)| (node.to_owned(), how.to_owned()));
    assert_eq!(crashed, expected);
    assert_eq!(stopped, names(&["vix0", "vix1"]));
}

/// What cannot be done is told.
async fn refused(fleet: &Fleet) {
    let error = fleet.restart("vix2").await.unwrap_err().to_string();
    assert_eq!(error, "restart node vix2: it has not crashed");
    let error = fleet
        .crash("vc", CrashKind::Power)
        .await
        .unwrap_err()
        .to_string();
    assert_eq!(error, "crash node vc: it does not run");
    for error in [
        fleet.crash("nobody", CrashKind::Power).await.err(),
        fleet.restart("nobody").await.err(),
    ] {
        assert!(matches!(error, Some(FleetError::UnknownMember { .. })));
    }
    let error = fleet.save().await.unwrap_err();
    assert!(matches!(error, FleetError::NotKept), "{error}");
}

/// Members that boot come back as well.
pub(crate) async fn booted() {
    let spec = FleetSpec {
        start_mode: StartMode::Boot,
        ..spec(&store(), "booted")
    };
    let (events, _) = listener();
    let two = names(&["vix0", "vix1"]);
    let fleet = Fleet::start(spec, &two, None, events).await.unwrap();
    crash_at_work(&fleet, "vix1", CrashKind::Power).await;
    crash_at_work(&fleet, "vix0", CrashKind::Panic).await;
    end(fleet).await;
}

/// A fork's disk survives if that is wanted, and the one that it was forked from stays what it was.
pub(crate) async fn forks() {
    let held = checkpoint().await;
    let digest = || FOUR.map(|name| digest(&held.path().join(format!("{name}.disk"))));
    let before = digest();
    let fleet = fork("survive", true, None).await;
    expect_as_saved(&fleet).await;
    for (name, how) in [("vix0", CrashKind::Power), ("vix1", CrashKind::Panic)] {
        crash_at_work(&fleet, name, how).await;
        let disk = node_says(&fleet, name, "head -n 1 /dev/vdb").await;
        assert_eq!(disk, format!("disk of {name}"));
    }
    // Whoever did not crash noticed nothing.
    assert_eq!(
        node_says(&fleet, "vix2", "cat /tmp/mark").await,
        "memory of vix2"
    );
    end(fleet).await;
    assert_eq!(digest(), before);

    let fleet = fork("lost", false, None).await;
    fleet.crash("vix1", CrashKind::Power).await.unwrap();
    let error = fleet.restart("vix1").await.unwrap_err().to_string();
    assert_eq!(
        error,
        "restart node vix1 with its disk: what was written to it ended with it"
    );
    end(fleet).await;
    assert_eq!(digest(), before);
}

/// One that could have been saved is not after a crash, and its disks are where they were.
pub(crate) async fn kept() {
    let store = store();
    let claim = store.claim(Kind::Checkpoint, "00ee", |_| ()).unwrap();
    let workspace = claim.workspace().unwrap();
    let fleet = fork("kept", false, Some(workspace.path())).await;
    crash_at_work(&fleet, "vix1", CrashKind::Power).await;
    let error = fleet.save().await.unwrap_err();
    assert!(matches!(error, FleetError::NotKept), "{error}");
    fleet.crash("vix1", CrashKind::Power).await.unwrap();
    // Such as a checkpoint that was given up.
    let disk = workspace.path().join("vix1.disk");
    let elsewhere = workspace.path().join("elsewhere");
    fs_err::rename(&disk, &elsewhere).unwrap();
    let error = fleet.restart("vix1").await.unwrap_err();
    assert!(matches!(error, FleetError::DiskLost { .. }), "{error}");
    fs_err::rename(&elsewhere, &disk).unwrap();
    fleet.restart("vix1").await.unwrap();
    let disk = node_says(&fleet, "vix1", "head -n 1 /dev/vdb").await;
    assert_eq!(disk, "disk of vix1");
    end(fleet).await;
}

async fn fork(logs: &str, disks_survive: bool, keep: Option<&std::path::Path>) -> Fleet {
    let held = checkpoint().await;
    let label: Label = held.label().unwrap();
    let spec = FleetSpec {
        shares_cpus: false,
        disks_survive,
        ..spec(&store(), logs)
    };
    let (events, mut heard) = listener();
    let fleet = Fleet::fork(spec, &label.fleet, held.path(), keep, events).await;
    let fleet = fleet.unwrap();
    while let Ok(event) = heard.try_recv() {
        // Nothing is made for a restart that may never be.
        assert!(!matches!(event.kind, EventKind::TemplateStarted { .. }));
    }
    fleet
}

/// Has a member crash while it writes to its disk, and brings it back: every block is there that it had told of by then.
async fn crash_at_work(fleet: &Fleet, name: &str, how: CrashKind) {
    crash_and_lose(fleet, name, how, None).await;
}

/// The same, and its disk may lose its write cache: the blocks are flushed before they are told of. Says what was lost.
pub(crate) async fn crash_and_lose(
    fleet: &Fleet,
    name: &str,
    how: CrashKind,
    draw: Option<CacheDraw>,
) -> Option<PowerLoss> {
    let node = fleet.node(name).unwrap();
    says(&node, "echo before >/run/before").await;
    let mut events = node.machine().guest_events();
    says(&node, &writer()).await;
    let mut told = Vec::new();
    while told.len() < 10 {
        told.push(next(&mut events).await.expect("it writes"));
    }
    let crashed = fleet.crash(name, how).await.unwrap();
    assert!(fleet.node(name).is_none());
    let after = node.machine().kill().await.unwrap();
    assert_eq!(after.status.to_string(), "was ended by SIGKILL");
    while let Some(line) = next(&mut events).await {
        told.push(line);
    }
    for (number, line) in told.iter().enumerate() {
        assert_eq!(line.text, format!("ack {number}"));
    }
    let last = told.last().unwrap();
    assert!(last.at <= crashed.gone, "{:?}", last.at - crashed.gone);

    let loss = match draw {
        Some(draw) => fleet.lose_write_cache(name, draw).await.unwrap(),
        None => None,
    };
    let pid = node.machine().pid();
    drop(node);
    fleet.restart(name).await.unwrap();
    let node = fleet.node(name).unwrap();
    assert_ne!(node.machine().pid(), pid);
    let seen = says(&node, "ls /run/before 2>/dev/null || hostname").await;
    assert_eq!(seen, name);
    let count = told.len();
    let read = format!(
        "/bin/dd if=/dev/vdb bs=512 skip={FIRST} count={count} iflag=direct 2>/dev/null | tr -d ' '"
    );
    let expected: Vec<String> = (0..count).map(|number| format!("block{number}")).collect();
    assert_eq!(says(&node, &read).await, expected.join("\n"));
    reached_by_others(fleet, &node).await;
    loss
}

/// It is on the network for those who never left it.
async fn reached_by_others(fleet: &Fleet, node: &Node) {
    for other in fleet.nodes() {
        let name = node.name();
        if other.name() != name {
            says(&other, &format!("ping -c 1 -W 5 {name} >/dev/null")).await;
        }
    }
}

/// Writes one block after another, past the page cache, and tells of each when it is written.
fn writer() -> String {
    format!(
        "(exec >{EVENT_PORT_PATH}; n=0
          while [ $n -lt {BLOCKS} ]; do
              printf '%511s\\n' \"block $n\" |
                  /bin/dd of=/dev/vdb bs=512 seek=$(({FIRST} + n)) oflag=direct,dsync conv=notrunc 2>/dev/null
              echo ack $n
              n=$((n + 1))
          done) </dev/null >/dev/null 2>&1 &"
    )
}

async fn next(events: &mut UnboundedReceiver<GuestEvent>) -> Option<GuestEvent> {
    timeout(MINUTE, events.recv()).await.expect("in time")
}

fn digest(path: &std::path::Path) -> Vec<u8> {
    Sha256::digest(fs_err::read(path).unwrap()).to_vec()
}
