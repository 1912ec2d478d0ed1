//! A guest that is saved, and the guests that go on where it stood still.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::{Duration, Instant};

use guest_trials::Suite;
use sanlab_vm::{Access, Arch, Machine, MachineSpec, Ram, SavedState, VmError, fingerprint};
use sha2::{Digest as _, Sha256};

use crate::BOOTED;
use crate::bench::{Bench, SOON};
use crate::guests::{MARK, MEMORY, files, guest, guest_trial, say};

pub(crate) fn add_to(suite: &mut Suite) {
    guest_trial(suite, "x86_guests_are_saved_and_cloned", || {
        saved_and_cloned(Arch::X86)
    });
    guest_trial(suite, "x86_64_guests_are_saved_and_cloned", || {
        saved_and_cloned(Arch::X86_64)
    });
}

const CLONES: [&str; 3] = ["one", "two", "three"];
const RESEEDED: &str = "dmesg | grep -c 'crng reseeded due to virtual machine fork' || true";

/// Tells each card's driver and address, and gives it another address and the largest MTU that it takes.
const NAMED: &str = r#"
for card in /sys/class/net/eth*; do
    driver=$(basename "$(readlink -f $card/device/driver)")
    was="$driver $(cat $card/address)"
    case $driver in e1000) mtu=16110;; *) mtu=65535;; esac
    ip link set "${card##*/}" mtu $mtu
    ip link set "${card##*/}" address 52:54:00:4d:02:01
    grep -qx 52:54:00:4d:02:01 $card/address
    grep -qx $mtu $card/mtu
    echo "$was"
done | sort
"#;
/// A script that writes one line to the event port.
fn journal_says(line: &str) -> String {
    format!(
        "for port in /sys/class/virtio-ports/*; do
            grep -qx org.sanlab.events $port/name && echo {line} >/dev/${{port##*/}}
        done; true"
    )
}

const TEMPLATES_CARDS: &str = "e1000 52:54:00:4d:01:02\nvirtio_net 52:54:00:4d:01:01";

async fn saved_and_cloned(arch: Arch) {
    let bench = Bench::new();
    let (ram, disk) = files(&bench);
    let state = bench.dir.path().join("state");
    let kept = Ram::Kept(ram.clone());
    let spec = guest(&bench, arch, "template", kept, (&disk, Access::Written)).await;
    let alike = fingerprint(&spec);
    let template = Machine::start(spec, &bench.group).await.expect("it starts");
    template
        .wait_agent(BOOTED)
        .await
        .expect("its agent answers");
    assert_eq!(
        say(&template, "echo saved >/run/mark; cat /run/mark").await,
        "saved"
    );
    assert_eq!(say(&template, RESEEDED).await, "0");
    failed_saves(&template, &state).await;
    let saved = save(&template, &state).await;
    template.shutdown(SOON).await.expect("it ends");
    let before = [&ram, &disk, &state].map(|path| digest(path));

    let mut clones = Vec::new();
    for name in CLONES {
        let ram = Ram::Forked(ram.clone());
        let spec = guest(&bench, arch, name, ram, (&disk, Access::Forked)).await;
        assert_eq!(fingerprint(&spec), alike);
        clones.push(answering(&bench, spec, &state, &saved).await);
    }
    for clone in &clones {
        let mut guest_events = clone.guest_events();
        say(clone, &journal_says("ack 1 2")).await;
        let line = tokio::time::timeout(SOON, guest_events.recv()).await;
        let line = line.expect("in time").expect("a line");
        assert_eq!(line.text, "ack 1 2", "{}", clone.name());
    }
    // All write before any of them reads again.
    let mut random = BTreeSet::new();
    for clone in &clones {
        assert_eq!(say(clone, RESEEDED).await, "1", "{}", clone.name());
        random.insert(say(clone, "head -c 16 /dev/urandom | md5sum").await);
        let token = clone.name();
        let script = format!(
            "cat /run/mark; head -c 16 /dev/vdb; echo; echo {token} >/run/mark; echo {token} >/dev/vdb; sync"
        );
        let mark = String::from_utf8_lossy(MARK);
        assert_eq!(
            say(clone, &script).await,
            format!("saved\n{mark}"),
            "{token}"
        );
    }
    assert_eq!(random.len(), CLONES.len(), "{random:?}");
    for clone in &clones {
        assert_eq!(say(clone, NAMED).await, TEMPLATES_CARDS, "{}", clone.name());
    }
    for clone in &clones {
        let script = "echo 3 >/proc/sys/vm/drop_caches; cat /run/mark; head -n 1 /dev/vdb";
        let token = clone.name();
        assert_eq!(say(clone, script).await, format!("{token}\n{token}"));
        let pss = clone.usage().pss_bytes >> 20;
        assert!(pss < MEMORY.mib() / 2, "{pss} MiB of its own");
    }
    let error = clones[0].save(&state, SOON).await.expect_err("a fork");
    assert!(matches!(error, VmError::NotSaved { .. }), "{error}");
    for clone in clones {
        // The overlay has no name even while it is written to.
        let held = names(&bench, clone.name());
        clone.shutdown(SOON).await.expect("it ends");
        assert_eq!(held, names(&bench, clone.name()));
        assert_eq!(held, ["port0", "port1", "qemu.stderr"]);
    }
    assert_eq!(before, [&ram, &disk, &state].map(|path| digest(path)));

    another_machine(&bench, arch, (&ram, &disk), (&state, &saved)).await;
    forked_again(&bench, arch, (&ram, &disk), (&state, &saved)).await;
    bench.group.close().await.expect("nothing is left");
}

/// None leaves a file, and the machine goes on after each.
async fn failed_saves(machine: &Machine, state: &Path) {
    let nowhere = Path::new("/nowhere/state");
    for (path, deadline) in [(nowhere, SOON), (state, Duration::from_millis(1))] {
        machine.stop().await.expect("it stops");
        let error = machine.save(path, deadline).await.expect_err("no save");
        assert!(matches!(error, VmError::NotSaved { .. }), "{error}");
        assert!(!path.exists(), "{error}");
        machine.cont().await.expect("it goes on");
        assert_eq!(say(machine, "cat /run/mark").await, "saved");
    }
}

async fn save(machine: &Machine, state: &Path) -> SavedState {
    machine.stop().await.expect("it stops");
    let saved = machine.save(state, SOON).await.expect("it is saved");
    assert_eq!(saved.bytes, fs_err::metadata(state).expect("a file").len());
    assert_eq!(saved.sha256, digest(state));
    saved
}

async fn answering(bench: &Bench, spec: MachineSpec, state: &Path, saved: &SavedState) -> Machine {
    let began = Instant::now();
    let clone = Machine::load(spec, state, saved, &bench.group).await;
    let clone = clone.unwrap_or_else(|error| panic!("failed to {error}"));
    let loaded = began.elapsed();
    clone.cont().await.expect("it goes on");
    clone.wait_agent(SOON).await.expect("its agent answers");
    let answered = began.elapsed();
    tracing::info!(name = clone.name(), ?loaded, ?answered, "a clone");
    clone
}

/// A state belongs to machines that are alike.
async fn another_machine(
    bench: &Bench,
    arch: Arch,
    (ram, disk): (&Path, &Path),
    (state, saved): (&Path, &SavedState),
) {
    let forked = Ram::Forked(ram.to_owned());
    let mut spec = guest(bench, arch, "other", forked, (disk, Access::Forked)).await;
    spec.drives.pop();
    let error = Machine::load(spec, state, saved, &bench.group).await;
    let error = error.map(drop).expect_err("it has a disk less");
    assert!(
        matches!(&error, VmError::NotLoaded { reason, .. } if reason.contains("load of migration failed")),
        "{error}"
    );
}

/// A fork that keeps its RAM and disk can be saved and forked in its turn.
async fn forked_again(
    bench: &Bench,
    arch: Arch,
    (ram, disk): (&Path, &Path),
    (state, saved): (&Path, &SavedState),
) {
    let beside = |name: &str| bench.dir.path().join(name);
    let (ram_2, disk_2, state_2) = (beside("ram-2"), beside("disk-2"), beside("state-2"));
    for (from, to) in [(ram, &ram_2), (disk, &disk_2)] {
        fs_err::copy(from, to).expect("a copy");
    }
    let kept = Ram::Kept(ram_2.clone());
    let spec = guest(bench, arch, "parent", kept, (&disk_2, Access::Written)).await;
    let parent = answering(bench, spec, state, saved).await;
    say(
        &parent,
        "echo parent >/run/mark; echo parent >/dev/vdb; sync",
    )
    .await;
    let saved_2 = save(&parent, &state_2).await;
    parent.shutdown(SOON).await.expect("it ends");
    let forked = Ram::Forked(ram_2);
    let spec = guest(bench, arch, "child", forked, (&disk_2, Access::Forked)).await;
    let child = answering(bench, spec, &state_2, &saved_2).await;
    let script = "cat /run/mark; head -n 1 /dev/vdb";
    assert_eq!(say(&child, script).await, "parent\nparent");
    assert_eq!(say(&child, RESEEDED).await, "2");
    child.shutdown(SOON).await.expect("it ends");
}

fn names(bench: &Bench, folder: &str) -> Vec<String> {
    let entries = fs_err::read_dir(bench.dir.path().join(folder)).expect("a folder");
    let mut names: Vec<_> = entries
        .map(|entry| entry.expect("an entry").file_name())
        .map(|name| name.to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

fn digest(path: &Path) -> String {
    let bytes = fs_err::read(path).expect("a file");
    let digits = Sha256::digest(&bytes).map(|byte| format!("{byte:02x}"));
    digits.iter().map(String::as_str).collect()
}
