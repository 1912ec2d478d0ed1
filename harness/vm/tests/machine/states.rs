//! Saving and loading where the state is a word: what is refused, broken off or damaged.

use std::path::{Path, PathBuf};
use std::time::Duration;

use libtest_mimic::Trial;
use sanlab_vm::{Machine, MachineSpec, Ram, SavedState, VmError};

use crate::bench::{Bench, SOON, recorded, spec};
use crate::trial;

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial("a_save_that_fails_leaves_no_file", a_save_that_fails),
        trial("ram_in_no_file_is_not_saved", ram_in_no_file),
        trial("a_state_is_loaded", a_state_is_loaded),
        trial("a_state_of_another_machine", a_state_of_another_machine),
        trial("damage_is_found_before_qemu_starts", damage),
    ]
}

const STATE: &str = "the state";
/// `printf 'the state' | sha256sum`
const SHA256: &str = "972ec08bc7570a80420693a082eb9a1a5afcb85fd60abcfd1f98fc2b67c9eeaf";

fn saved() -> SavedState {
    SavedState {
        whole: false,
        bytes: 9,
        sha256: SHA256.into(),
    }
}

/// A machine of 384 MiB with an empty RAM file, and the state beside it.
fn kept(bench: &Bench, transcript: &str) -> (MachineSpec, PathBuf) {
    let ram = bench.dir.path().join("ram");
    let file = fs_err::File::create(&ram).expect("a file");
    file.set_len(384 << 20).expect("sparse");
    let mut spec = spec(bench.dir.path(), &recorded(transcript));
    spec.ram = Ram::Kept(ram);
    (spec, bench.dir.path().join("state"))
}

fn reason(error: VmError, state: &Path) -> String {
    match error {
        VmError::NotSaved {
            state: told,
            reason,
            ..
        } => {
            assert_eq!(told, state);
            reason
        }
        error => panic!("{error}"),
    }
}

async fn a_save_that_fails() {
    let bench = Bench::new();
    let (spec, state) = kept(&bench, "saved");
    let machine = Machine::start(spec, &bench.group).await.expect("it starts");
    let soon = Duration::from_millis(200);
    for (deadline, says) in [
        (
            SOON,
            "run the QMP command migrate on vix0: State blocked by non-migratable device 'pci-serial'",
        ),
        (SOON, "Unable to write to socket: Broken pipe"),
        (soon, "it was not done within 0.2 s"),
    ] {
        let error = machine.save(&state, deadline).await.expect_err(says);
        assert_eq!(reason(error, &state), says);
        assert!(!state.exists(), "{says}");
    }

    let written = machine.save(&state, SOON).await.expect("it is saved");
    assert_eq!(written, saved());
    assert_eq!(fs_err::read(&state).expect("a file"), STATE.as_bytes());
    machine.cont().await.expect("it goes on");
    let left = fs_err::read_dir(bench.dir.path()).expect("a folder");
    let mut left: Vec<_> = left
        .map(|entry| entry.expect("a name").file_name())
        .collect();
    left.sort();
    let files = [
        "console.log",
        "processes.stat",
        "qemu.stderr",
        "ram",
        "state",
    ];
    assert_eq!(left, files);
    let error = machine.save(&state, SOON).await.expect_err("it runs");
    assert_eq!(reason(error, &state), "it runs: stop it first");
    bench.end(machine).await;
}

async fn ram_in_no_file() {
    let bench = Bench::new();
    let machine = bench.start("idle").await.expect("it starts");
    let state = bench.dir.path().join("state");
    let error = machine.save(&state, SOON).await.expect_err("no file");
    assert_eq!(reason(error, &state), "its RAM is in no file that stays");
    bench.end(machine).await;
    let bench = Bench::new();
    let spec = spec(bench.dir.path(), &recorded("loaded"));
    let error = Machine::load(spec, &state, &saved(), &bench.group).await;
    let error = error.map(drop).expect_err("no file");
    assert!(
        error
            .to_string()
            .ends_with(" as vix0: its RAM is in no file"),
        "{error}"
    );
    bench.group.close().await.expect("nothing is left");
}

async fn a_state_is_loaded() {
    let bench = Bench::new();
    let (spec, state) = kept(&bench, "loaded");
    fs_err::write(&state, STATE).expect("a file");
    fs_err::write(&spec.console_log, "before\n").expect("a file");
    let machine = Machine::load(spec, &state, &saved(), &bench.group)
        .await
        .expect("it is loaded");
    machine.cont().await.expect("it goes on");
    let log = fs_err::read(machine.console().log_path()).expect("a log");
    assert_eq!(log, b"before\n", "the log is appended to");
    bench.end(machine).await;
}

async fn a_state_of_another_machine() {
    let bench = Bench::new();
    let (spec, state) = kept(&bench, "state-not-understood");
    fs_err::write(&state, STATE).expect("a file");
    let error = Machine::load(spec, &state, &saved(), &bench.group).await;
    let text = format!(
        "load {} as vix0: QEMU exited with 1: \
        qemu-system-x86_64: Unknown savevm section or instance '0000:00:04.0/virtio-blk' 0; \
        qemu-system-x86_64: load of migration failed: Invalid argument",
        state.display()
    );
    assert_eq!(
        error.map(drop).expect_err("it is another's").to_string(),
        text
    );
    bench.group.close().await.expect("nothing is left");
}

async fn damage() {
    let bench = Bench::new();
    let (mut spec, state) = kept(&bench, "loaded");
    // To be reached by nobody.
    spec.qemu = "/nowhere/qemu".into();
    let (Ram::Kept(ram) | Ram::Forked(ram)) = spec.ram.clone() else {
        unreachable!("as made above")
    };
    let load = async |what: &str| {
        let loaded = Machine::load(spec.clone(), &state, &saved(), &bench.group).await;
        let error = loaded.map(drop).expect_err(what);
        assert!(matches!(error, VmError::StateDamaged { .. }), "{error}");
        let folder = format!("{}/", bench.dir.path().display());
        error.to_string().replace(&folder, "")
    };
    let mut told = vec![load("missing").await];
    for damaged in ["", "the stat", "the state!", "the State"] {
        fs_err::write(&state, damaged).expect("a file");
        told.push(load(damaged).await);
    }
    fs_err::write(&state, STATE).expect("a file");
    let file = fs_err::OpenOptions::new().write(true).open(&ram);
    let file = file.expect("a file");
    for mib in [383, 385] {
        file.set_len(mib << 20).expect("sparse");
        told.push(load("wrong size").await);
    }
    fs_err::remove_file(&ram).expect("it is there");
    told.push(load("missing").await);
    insta::assert_snapshot!(told.join("\n"), @r"
    load state: it cannot be read: entity not found
    load state: it has 0 bytes and not 9
    load state: it has 8 bytes and not 9
    load state: it has 10 bytes and not 9
    load state: its SHA-256 is b25ac3a3200d1b12b577827b3daca4cc1dbfb9dc07d0af8b19b9d897125aa638 and not 972ec08bc7570a80420693a082eb9a1a5afcb85fd60abcfd1f98fc2b67c9eeaf
    load ram: it has 401604608 bytes and not 402653184, the machine's RAM
    load ram: it has 403701760 bytes and not 402653184, the machine's RAM
    load ram: it cannot be read: entity not found
    ");
    bench.group.close().await.expect("nothing is left");
}
