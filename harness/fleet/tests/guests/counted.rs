//! Members whose instructions are counted, beside others that are not and look the same to their guests; and a user's own
//! QEMU.

use std::collections::BTreeMap;
use std::os::unix::fs::symlink;
use std::path::Path;

use sanlab_fleet::{AcceleratorWish, Fleet, FleetSpec, Held, Kind, NodeCost, fingerprint};
use sanlab_plan::{Arch, CrashKind};
use sanlab_record::EventKind;
use sanlab_vm::{counter_plugin, qemu_binary};

use crate::fixture::{
    FOUR, Label, checkpoint, den, end, expect_as_saved, listener, node_says, publish, spec, store,
};

/// Some hundred thousand turns of the shell: some hundred million instructions.
const WORK: &str = "i=0; while [ $i -lt 100000 ]; do i=$((i + 1)); done";

/// Why this host counts no instructions, if that is no fault of the lab's.
pub(crate) async fn not_counted() -> Option<String> {
    let guests = BTreeMap::from(Arch::ALL.map(|arch| (arch, arch.into())));
    let chosen = sanlab_fleet::accelerators(AcceleratorWish::Auto, None, &guests);
    for (arch, choice) in chosen.await.unwrap() {
        let accelerator = choice.accelerator;
        let program = qemu_binary(arch, accelerator);
        let reason = counter_plugin(accelerator, &program, arch).await.err();
        if let Some(reason) = reason.filter(|reason| !reason.is_a_fault()) {
            return Some(reason.to_string());
        }
    }
    None
}

/// A fork of a fleet that was not counted, saved again; its own forks need not be counted either.
pub(crate) async fn both_ways() {
    let store = store();
    let claim = store.claim(Kind::Checkpoint, "00ee", |_| ()).unwrap();
    let workspace = claim.workspace().unwrap();
    let fleet = fork(checkpoint().await, true, Some(workspace.path())).await;
    expect_as_saved(&fleet).await;
    let before = fleet.costs();
    node_says(&fleet, "vix1", WORK).await;
    let after = fleet.costs();
    assert_eq!(after.keys().collect::<Vec<_>>(), FOUR);
    for name in FOUR {
        let executed = counted(&after[name]) - counted(&before[name]);
        // The others tick and beat, and vix1 speaks to vix0.
        assert!(executed > 0, "{name}");
        let cpu = after[name].host_cpu_seconds - before[name].host_cpu_seconds;
        assert!(cpu > 0.0, "{name} {cpu}");
    }
    let [busy, idle] = ["vix1", "vix2"].map(|name| counted(&after[name]) - counted(&before[name]));
    assert!(busy > 50_000_000 && busy > 10 * idle, "{busy} {idle}");
    assert!(after["vix1"].port.sent_frames > before["vix1"].port.sent_frames);

    let held = publish(&fleet, workspace).await;
    let label: Label = held.label().unwrap();
    fleet.refork(&label.fleet, held.path(), None).await.unwrap();
    expect_as_saved(&fleet).await;
    let again = fleet.costs();
    for name in FOUR {
        assert!(counted(&again[name]) > counted(&after[name]), "{name}");
    }
    let teardown = fleet.shutdown().await;
    assert!(teardown.errors.is_empty(), "{:?}", teardown.errors);
    for name in FOUR {
        let used = teardown.usage[name].instructions;
        assert!(used >= again[name].instructions, "{name}: {used:?}");
    }
    // What was told last stays true when nothing runs any more.
    assert!(counted(&fleet.costs()["vix1"]) >= counted(&again["vix1"]));
    drop(fleet);

    let plain = fork(&held, false, None).await;
    expect_as_saved(&plain).await;
    assert_eq!(plain.costs()["vix0"].instructions, None);
    end(plain).await;
}

/// What a member costs never falls, though its machine is another after a crash.
pub(crate) async fn crashes() {
    let fleet = fork(checkpoint().await, true, None).await;
    node_says(&fleet, "vix1", WORK).await;
    let before = fleet.costs()["vix1"];
    fleet.crash("vix1", CrashKind::Power).await.unwrap();
    let down = fleet.costs()["vix1"];
    assert!(counted(&down) >= counted(&before));
    assert!(down.host_cpu_seconds >= before.host_cpu_seconds);
    fleet.restart("vix1").await.unwrap();
    node_says(&fleet, "vix1", "true").await;
    let back = fleet.costs()["vix1"];
    assert!(counted(&back) > counted(&down));
    assert!(back.host_cpu_seconds > down.host_cpu_seconds);
    end(fleet).await;
}

/// Counting is in no key; a QEMU of the user's own is, by what it is and not by where.
pub(crate) async fn keys() {
    let plain = spec(&store(), "keys");
    let of_host = fingerprint(&plain).await.unwrap();
    let counted = FleetSpec {
        count_instructions: true,
        ..plain.clone()
    };
    assert_eq!(fingerprint(&counted).await.unwrap(), of_host);
    let own = |folder: &Path| FleetSpec {
        qemu: Some(folder.to_owned()),
        ..plain.clone()
    };
    let [one, other] = ["one", "other"].map(|name| own(&own_qemu(name)));
    let text = fingerprint(&one).await.unwrap();
    assert_ne!(text, of_host);
    assert_eq!(fingerprint(&other).await.unwrap(), text);
    // Another program of the same version.
    let folder = other.qemu.unwrap();
    let changed = own(&folder.with_file_name("changed"));
    let changed_folder = changed.qemu.clone().unwrap();
    fs_err::create_dir_all(&changed_folder).unwrap();
    for name in PROGRAMS {
        let program = changed_folder.join(name);
        fs_err::copy(folder.join(name), &program).unwrap();
        let mut bytes = fs_err::OpenOptions::new()
            .append(true)
            .open(&program)
            .unwrap();
        std::io::Write::write_all(&mut bytes, b"x").unwrap();
    }
    assert_ne!(fingerprint(&changed).await.unwrap(), text);
    let none = den().join("qemu/none");
    let error = fingerprint(&own(&none)).await.unwrap_err().to_string();
    assert!(error.contains("qemu/none/qemu-system-"), "{error}");
}

const PROGRAMS: [&str; 2] = ["qemu-system-i386", "qemu-system-x86_64"];

/// A folder with the host's QEMU by other paths.
fn own_qemu(name: &str) -> std::path::PathBuf {
    let folder = den().join("qemu").join(name);
    fs_err::create_dir_all(&folder).unwrap();
    for name in PROGRAMS {
        let path = std::env::var_os("PATH").unwrap();
        let mut places = std::env::split_paths(&path).map(|folder| folder.join(name));
        let program = places.find(|program| program.exists()).unwrap();
        let link = folder.join(name);
        if !link.exists() {
            symlink(program, link).unwrap();
        }
    }
    folder
}

fn counted(cost: &NodeCost) -> u64 {
    cost.instructions.unwrap()
}

/// A fork that is counted, or not, and run by a QEMU of its own.
async fn fork(held: &Held, count: bool, keep: Option<&Path>) -> Fleet {
    let (events, mut heard) = listener();
    let label: Label = held.label().unwrap();
    let folder = own_qemu("one");
    let spec = FleetSpec {
        count_instructions: count,
        shares_cpus: false,
        disks_survive: keep.is_none(),
        qemu: Some(folder.clone()),
        ..spec(&store(), "counted")
    };
    let fleet = Fleet::fork(spec, &label.fleet, held.path(), keep, events).await;
    let fleet = fleet.unwrap();
    while let Ok(event) = heard.try_recv() {
        assert!(
            !matches!(event.kind, EventKind::NotCounted { .. }),
            "{event}"
        );
    }
    let pid = fleet.node("vix0").unwrap().machine().pid();
    let line = fs_err::read_to_string(format!("/proc/{pid}/cmdline")).unwrap();
    assert!(
        line.starts_with(&folder.display().to_string()),
        "{line} is not of {}",
        folder.display()
    );
    assert_eq!(line.contains("-plugin"), count);
    fleet
}
