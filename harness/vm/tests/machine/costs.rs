//! What a machine costs. Where its QEMU is a recording, nobody counts but the test; the host's QEMU counts the probe guest, and
//! a guest of two processors.

use std::collections::BTreeMap;
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;

use guest_trials::{Suite, Tier};
use libtest_mimic::{Completion, Trial};
use sanlab_vm::{
    Accelerator, AcceleratorWish, Access, Arch, Counter, CounterPlugin, Machine, MachineSpec,
    PluginApi, Ram, choose_accelerators, counter_plugin, qemu_binary,
};

use crate::bench::{Bench, SOON, recorded, spec};
use crate::guests::{files, guest, say};
use crate::{BOOTED, in_runtime, run, trial};

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial("a_counter_is_read_to_the_end", read_to_the_end),
        trial("a_counter_that_cannot_be_right_is_not_used", not_used),
        Trial::ignorable_test("the_probe_guest_is_counted", || {
            let reason = in_runtime(probe_guest())?;
            Ok(reason.map_or(Completion::Completed, Completion::ignored_with))
        }),
    ]
}

pub(crate) fn add_to(suite: &mut Suite) {
    suite.guests_unless(
        "a_guest_of_two_processors_is_counted",
        Tier::Nightly,
        || in_runtime(two_are_not_counted()).expect("a runtime"),
        || run(two_processors),
    );
}

/// Needs the host's QEMU and half a second. Why its guests cannot be counted, if that is no fault of the plugin's.
async fn probe_guest() -> Option<String> {
    for arch in [Arch::X86, Arch::X86_64] {
        let program = qemu_binary(arch, Accelerator::Tcg);
        let plugin = counter_plugin(Accelerator::Tcg, &program, arch).await;
        if let Err(reason) = plugin {
            assert!(!reason.is_a_fault(), "{reason}");
            return Some(reason.to_string());
        }
    }
    None
}

/// Why the host's QEMU does not count guests of two processors.
async fn two_are_not_counted() -> Option<String> {
    let arch = Arch::X86_64;
    let wanted = BTreeMap::from([(arch, arch.into())]);
    let chosen = choose_accelerators(AcceleratorWish::Auto, None, &wanted, None).await;
    let accelerator = chosen.expect("TCG at least")[&arch].accelerator;
    let plugin = counter_plugin(accelerator, &qemu_binary(arch, accelerator), arch).await;
    let reason = plugin.and_then(|plugin| plugin.for_cpus(2)).err()?;
    (!reason.is_a_fault()).then(|| reason.to_string())
}

/// What both do at once is counted as when one does it after the other.
async fn two_processors() {
    let bench = Bench::new();
    let (ram, disk) = files(&bench);
    let kept = Ram::Kept(ram);
    let arch = Arch::X86_64;
    let mut spec = guest(&bench, arch, "two", kept, (&disk, Access::Written)).await;
    let plugin = counter_plugin(spec.accelerator, &spec.qemu, arch).await;
    spec.hardware.cpus = 2;
    spec.counter = Some(Counter {
        plugin: plugin.expect("asked before"),
        file: spec.dir.join("instructions"),
    });
    let machine = Machine::start(spec, &bench.group).await.expect("it starts");
    machine.wait_agent(BOOTED).await.expect("its agent answers");
    let counted = async |script: String| {
        let before = machine.instructions().expect("it is counted");
        say(&machine, &script).await;
        machine.instructions().expect("it is counted") - before
    };
    assert_eq!(say(&machine, "grep -c ^processor /proc/cpuinfo").await, "2");
    let on = |cpu: u8| {
        format!(
            "taskset {} sh -c 'i=0; while [ $i -lt 100000 ]; do i=$((i + 1)); done'",
            cpu + 1
        )
    };
    let one = counted(on(0)).await;
    let other = counted(on(1)).await;
    let both = counted(format!("{} & {}; wait", on(0), on(1))).await;
    assert!(one > 50_000_000, "{one}");
    for (name, count, expected) in [("other", other, one), ("both", both, one + other)] {
        let ratio = count as f64 / expected as f64;
        assert!(
            (0.8..1.25).contains(&ratio),
            "{name}: {count} of {expected}"
        );
    }
    machine.shutdown(SOON).await.expect("it ends");
    bench.group.close().await.expect("nothing is left");
}

/// Where the counter is in its file, bytes: see the crate that makes it.
fn place() -> u64 {
    rustix::param::page_size() as u64
}

fn counted(bench: &Bench) -> (MachineSpec, PathBuf) {
    let mut spec = spec(bench.dir.path(), &recorded("idle"));
    let file = bench.dir.path().join("instructions");
    spec.counter = Some(Counter {
        plugin: CounterPlugin {
            file: "/nowhere/libsanlab_counter.so".into(),
            api: PluginApi::V1,
        },
        file: file.clone(),
    });
    (spec, file)
}

async fn read_to_the_end() {
    let bench = Bench::new();
    let (spec, path) = counted(&bench);
    let machine = Machine::start(spec, &bench.group).await.expect("it starts");
    assert_eq!(machine.instructions(), Some(0));
    let file = fs_err::OpenOptions::new().write(true).open(&path);
    let file = file.expect("it is there");
    let count = |count: u64| {
        let written = file.file().write_all_at(&count.to_ne_bytes(), place());
        written.expect("it is written");
    };
    count(1_500_000_000);
    let cost = machine.cost();
    assert_eq!(cost.instructions, Some(1_500_000_000));
    // The folder may be gone before the last look.
    fs_err::remove_file(&path).expect("it is there");
    count(1_600_000_000);
    assert_eq!(machine.usage().instructions, Some(1_600_000_000));
    let report = machine.shutdown(SOON).await.expect("it ends");
    assert_eq!(report.usage.instructions, Some(1_600_000_000));
    let end = machine.cost();
    assert_eq!(end.instructions, Some(1_600_000_000));
    assert!(end.host_cpu_seconds >= cost.host_cpu_seconds && cost.host_cpu_seconds > 0.0);
    bench.end(machine).await;
}

async fn not_used() {
    let bench = Bench::new();
    let (mut spec, path) = counted(&bench);
    spec.hardware.cpus = 2;
    let machine = Machine::start(spec, &bench.group).await.expect("it starts");
    assert_eq!(machine.cost().instructions, None);
    assert!(!path.exists());
    bench.end(machine).await;
}
