//! Nothing outlives the harness, however it ends.

use std::fs::Permissions;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Child, Command, ExitCode, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use libtest_mimic::Trial;
use rustix::process::{Pid, Signal, kill_process};
use sanlab_vm::{Machine, ProcessGroup, VmError, recorded_processes};

use crate::bench::{Bench, SOON, recorded, spec};
use crate::trial;

/// The first argument of a harness that is to be killed; a folder and a way to end follow.
pub(crate) const VICTIM: &str = "victim";

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial(
            "sigkill_at_any_moment_leaves_nothing",
            sigkill_at_any_moment_leaves_nothing,
        ),
        trial("a_panic_leaves_nothing", a_panic_leaves_nothing),
        trial("an_interrupt_leaves_nothing", an_interrupt_leaves_nothing),
        trial(
            "who_hides_from_the_parent_death_signal_is_found",
            who_hides_is_found,
        ),
        trial("a_survivor_is_an_error", a_survivor_is_an_error),
        trial(
            "an_orderly_end_leaves_the_folder",
            an_orderly_end_leaves_the_folder,
        ),
        trial("a_dropped_machine_dies", a_dropped_machine_dies),
        trial(
            "all_that_were_started_are_in_the_record",
            all_that_were_started_are_in_the_record,
        ),
    ]
}

/// A harness with two machines, one of them with a companion that the kernel does not kill. It says "ready" and then
/// panics, or waits to be killed.
pub(crate) fn victim(arguments: &[String]) -> ExitCode {
    let [dir, way] = arguments else {
        return ExitCode::FAILURE;
    };
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let group = ProcessGroup::new(Path::new(dir)).expect("a janitor");
        let mut machines = Vec::new();
        for name in ["one", "two"] {
            let dir = Path::new(dir).join(name);
            fs_err::create_dir(&dir).expect("a folder");
            let mut spec = spec(&dir, &recorded("idle"));
            if name == "two" {
                spec.qemu = with_companion(&dir);
            }
            machines.push(Machine::start(spec, &group).await.expect("a machine"));
        }
        writeln!(std::io::stdout(), "ready").expect("somebody listens");
        assert!(way != "panic", "as asked");
        std::future::pending::<()>().await;
    });
    ExitCode::SUCCESS
}

/// A program that leaves a child in the group, one that has no parent-death signal, and becomes the fake QEMU.
fn with_companion(dir: &Path) -> std::path::PathBuf {
    let program = dir.join("qemu");
    let fake = std::env::current_exe().expect("this program");
    let script = format!(
        "#!/bin/sh\ntail -f {} &\nexec {} \"$@\"\n",
        program.display(),
        fake.display()
    );
    fs_err::write(&program, script).expect("a script");
    fs_err::set_permissions(&program, Permissions::from_mode(0o700)).expect("executable");
    program
}

struct Victim {
    child: Child,
    dir: std::path::PathBuf,
}

impl Victim {
    fn start(way: &str) -> Self {
        let dir = tempfile::Builder::new()
            .prefix("sanlab-leak-")
            .tempdir()
            .expect("a temporary folder")
            .keep();
        let program = std::env::current_exe().expect("this program");
        // A shell without job control starts what runs in its background with interrupts ignored, and so would the victim.
        let mut command = Command::new("env");
        command
            .arg("--default-signal=INT")
            .arg(program)
            .arg(VICTIM)
            .arg(&dir)
            .arg(way)
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        Self {
            child: command.spawn().expect("it starts"),
            dir,
        }
    }

    fn wait_ready(&mut self) {
        let stdout = self.child.stdout.take().expect("piped");
        let mut line = String::new();
        BufReader::new(stdout)
            .read_line(&mut line)
            .expect("it speaks");
        assert_eq!(line, "ready\n");
        assert!(
            self.processes().len() >= 4,
            "itself, two machines and a companion: {:?}",
            self.processes()
        );
    }

    /// Everything whose command line names the folder.
    fn processes(&self) -> Vec<String> {
        let mut found = Vec::new();
        for entry in fs_err::read_dir("/proc").expect("/proc").flatten() {
            let Ok(line) = fs_err::read(entry.path().join("cmdline")) else {
                continue;
            };
            let line = String::from_utf8_lossy(&line).replace('\0', " ");
            if line.contains(&*self.dir.to_string_lossy()) {
                found.push(line);
            }
        }
        found
    }

    /// Waits until neither processes nor the folder are there.
    /// How it ended. One that does not end is killed, so that nothing of it outlives the test.
    async fn ended(&mut self) -> ExitStatus {
        let deadline = Instant::now() + SOON;
        loop {
            if let Some(status) = self.child.try_wait().expect("it is ours") {
                return status;
            }
            if Instant::now() >= deadline {
                self.child.kill().expect("killed");
                panic!("process {} did not end within {SOON:?}", self.child.id());
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    async fn assert_gone(mut self) {
        self.ended().await;
        let deadline = Instant::now() + SOON;
        loop {
            let left = self.processes();
            if left.is_empty() && !self.dir.exists() {
                return;
            }
            assert!(
                Instant::now() < deadline,
                "left: {left:?}, the folder: {}",
                self.dir.exists()
            );
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

async fn sigkill_at_any_moment_leaves_nothing() {
    // From before the janitor is there until long after everything runs. Earlier than the first machine there is
    // nothing but an empty folder that nobody has promised to remove.
    for moment in 0..12 {
        let mut victim = Victim::start("wait");
        let started = victim.dir.join("one");
        let deadline = Instant::now() + SOON;
        while !started.exists() {
            assert!(
                Instant::now() < deadline,
                "the first machine's folder has not appeared"
            );
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        if moment == 11 {
            victim.wait_ready();
        } else {
            tokio::time::sleep(Duration::from_millis(moment * moment)).await;
        }
        victim.child.kill().expect("killed");
        victim.assert_gone().await;
    }
}

async fn a_panic_leaves_nothing() {
    let mut victim = Victim::start("panic");
    assert!(!victim.ended().await.success());
    victim.assert_gone().await;
}

async fn an_interrupt_leaves_nothing() {
    let mut victim = Victim::start("wait");
    victim.wait_ready();
    kill_process(Pid::from_child(&victim.child), Signal::INT).expect("interrupted");
    victim.assert_gone().await;
}

async fn who_hides_is_found() {
    let bench = Bench::new();
    let mut spec = spec(bench.dir.path(), &recorded("idle"));
    spec.qemu = with_companion(bench.dir.path());
    let machine = Machine::start(spec, &bench.group).await.expect("a machine");
    machine.shutdown(SOON).await.expect("it ends");
    let error = bench
        .group
        .close()
        .await
        .expect_err("the companion is there");
    let VmError::Survivors { survivors } = &error else {
        panic!("{error}")
    };
    assert!(
        survivors.iter().any(|survivor| survivor.contains("(tail)")),
        "{error}"
    );
    bench.group.close().await.expect("and has been killed");
}

async fn a_survivor_is_an_error() {
    let bench = Bench::new();
    let machine = bench.start("idle").await.expect("a machine");
    let error = bench.group.close().await.expect_err("the machine is there");
    assert!(
        error.to_string().contains(&machine.pid().to_string()),
        "{error}"
    );
    machine.shutdown(SOON).await.expect("it has been killed");
}

async fn an_orderly_end_leaves_the_folder() {
    let bench = Bench::new();
    let janitor = bench.group.pgid();
    assert!(Path::new(&format!("/proc/{janitor}")).exists());
    let machine = bench.start("idle").await.expect("a machine");
    machine.shutdown(SOON).await.expect("it ends");
    bench.group.close().await.expect("nothing is left");
    assert!(
        !Path::new(&format!("/proc/{janitor}")).exists(),
        "the janitor has gone and been reaped"
    );
    assert!(bench.dir.path().exists());
}

async fn a_dropped_machine_dies() {
    let bench = Bench::new();
    let machine = bench.start("idle").await.expect("a machine");
    let process = format!("/proc/{}", machine.pid());
    drop(machine);
    let deadline = Instant::now() + SOON;
    while Path::new(&process).exists() {
        assert!(Instant::now() < deadline, "{process} is still there");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    bench.group.close().await.expect("nothing is left");
}

async fn all_that_were_started_are_in_the_record() {
    let bench = Bench::new();
    let recorded = || recorded_processes(bench.dir.path()).expect("a record");
    assert_eq!(recorded(), [], "the janitor ends by itself");
    let mut started = Vec::new();
    for _ in 0..2 {
        let machine = bench.start("idle").await.expect("a machine");
        started.push(machine.pid());
        let last = *recorded().last().expect("it is there");
        assert!(last.open().expect("/proc").is_some(), "it runs");
        machine.shutdown(SOON).await.expect("it ends");
        assert!(last.open().expect("/proc").is_none(), "it has ended");
    }
    let pids: Vec<_> = recorded().iter().map(|process| process.pid).collect();
    assert_eq!(pids, started);
    // It adds itself before its exec, which fails here.
    let mut spec = spec(bench.dir.path(), &crate::bench::recorded("idle"));
    spec.qemu = "/nonexistent".into();
    assert!(Machine::start(spec, &bench.group).await.is_err());
    assert_eq!(recorded().len(), 3);
    bench.group.close().await.expect("nothing is left");
}
