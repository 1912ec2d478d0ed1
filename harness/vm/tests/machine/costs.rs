//! What a machine costs, where its QEMU is a recording: nobody counts but the test.

use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;

use libtest_mimic::Trial;
use sanlab_vm::{Counter, Machine, MachineSpec};

use crate::bench::{Bench, SOON, recorded, spec};
use crate::trial;

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial("a_counter_is_read_to_the_end", read_to_the_end),
        trial("a_counter_that_cannot_be_right_is_not_used", not_used),
    ]
}

/// Where the counter is in its file, bytes: see the crate that makes it.
const PLACE: u64 = 64;

fn counted(bench: &Bench) -> (MachineSpec, PathBuf) {
    let mut spec = spec(bench.dir.path(), &recorded("idle"));
    let file = bench.dir.path().join("instructions");
    spec.counter = Some(Counter {
        plugin: "/nowhere/libsanlab_counter.so".into(),
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
        let written = file.file().write_all_at(&count.to_ne_bytes(), PLACE);
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
