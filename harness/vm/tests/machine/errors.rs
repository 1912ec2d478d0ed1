//! The kinds of failure are kept apart.

use std::time::Duration;

use libtest_mimic::Trial;
use sanlab_vm::{Command, ExecError, MachineEvent, Status, VmError};

use crate::bench::{Bench, SOON, recorded, spec};
use crate::trial;

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial("commands_of_x86_64", || {
            commands("commands-x86_64", "x86_64\n")
        }),
        trial("commands_of_x86", || commands("commands-x86", "i686\n")),
        trial("agent_closes_its_port", agent_closes_its_port),
        trial("guest_resets", guest_resets),
        trial("qemu_is_killed", qemu_is_killed),
        trial("guest_panics", || {
            guest_panics("panic", "Kernel panic - not syncing: sysrq triggered crash")
        }),
        trial("guest_panics_on_x86", || {
            guest_panics(
                "panic-x86",
                "Kernel panic - not syncing: sysrq triggered crash",
            )
        }),
        trial("guest_panics_without_pvpanic", || {
            guest_panics("panic-early", "Attempted to kill init!")
        }),
        trial("qemu_dies_at_start", qemu_dies_at_start),
        trial("qemu_is_no_qemu", qemu_is_no_qemu),
        trial("boot_never_ends", boot_never_ends),
    ]
}

async fn commands(transcript: &str, machine_name: &str) {
    let (bench, machine) = Bench::booted(transcript).await;
    let good = machine
        .exec(Command::script("uname -m; echo warning >&2"), SOON)
        .await
        .expect("it runs");
    assert_eq!(
        (good.status, good.text().as_str(), good.stderr.as_slice()),
        (Status::Exited(0), machine_name, &b"warning\n"[..])
    );

    let bad = machine
        .exec(Command::script("exit 3"), SOON)
        .await
        .expect("it runs");
    assert_eq!(bad.status, Status::Exited(3));
    let error = bad.success().expect_err("3 is not 0");
    assert!(
        matches!(
            error,
            ExecError::CommandFailed {
                status: Status::Exited(3),
                ..
            }
        ),
        "{error}"
    );

    let killed = machine
        .exec(Command::script("kill -TERM $$"), SOON)
        .await
        .expect("it runs");
    assert_eq!(killed.status, Status::Signalled(15));
    let error = killed.success().expect_err("a signal is no success");
    assert_eq!(
        error.to_string(),
        "run `kill -TERM $$` on vix0: it was ended by SIGTERM"
    );

    let report = machine.shutdown(SOON).await.expect("it ends");
    assert_eq!(
        (report.status, report.cause.as_deref()),
        (Status::Exited(0), Some("host-qmp-quit"))
    );
    bench.end(machine).await;
}

async fn agent_closes_its_port() {
    let (bench, machine) = Bench::booted("agent-killed").await;
    let script = Command::script("kill -9 $(pidof qemu-ga); sleep 5");
    let error = machine
        .exec(script, SOON)
        .await
        .expect_err("the agent is dead");
    assert!(
        matches!(&error, ExecError::AgentDead { reason, .. } if reason.contains("closed its port")),
        "{error}"
    );
    let error = machine
        .exec(Command::script("true"), SOON)
        .await
        .expect_err("and stays dead");
    assert!(matches!(error, ExecError::AgentDead { .. }), "{error}");
    bench.end(machine).await;
}

async fn guest_resets() {
    let (bench, machine) = Bench::booted("reset").await;
    let error = machine
        .exec(
            Command::script("echo b > /proc/sysrq-trigger; sleep 5"),
            SOON,
        )
        .await
        .expect_err("gone");
    let ExecError::QemuDead { status, cause, .. } = &error else {
        panic!("{error}")
    };
    assert_eq!(
        (*status, cause.as_deref()),
        (Status::Exited(0), Some("guest-reset"))
    );
    bench.end(machine).await;
}

async fn qemu_is_killed() {
    let (bench, machine) = Bench::booted("killed").await;
    let error = machine
        .exec(Command::script("true"), SOON)
        .await
        .expect_err("gone");
    let text =
        "run `true` on vix0: QEMU was ended by SIGKILL:\nqemu-system-x86_64: out of patience";
    assert_eq!(error.to_string(), text);
    let error = machine
        .qmp("query-status", serde_json::json!({}), SOON)
        .await
        .expect_err("gone");
    assert!(
        matches!(error, VmError::Guest(ExecError::QemuDead { .. })),
        "{error}"
    );
    bench.end(machine).await;
}

async fn guest_panics(transcript: &str, headline: &str) {
    let (bench, machine) = Bench::booted(transcript).await;
    let mut events = machine.events();
    let error = machine
        .exec(Command::script("echo c > /proc/sysrq-trigger"), SOON)
        .await
        .expect_err("panic");
    let ExecError::GuestPanicked { console_tail, .. } = &error else {
        panic!("{error}")
    };
    assert!(console_tail.contains(headline), "{console_tail}");
    let error = machine
        .exec(Command::script("true"), SOON)
        .await
        .expect_err("still");
    assert!(matches!(error, ExecError::GuestPanicked { .. }), "{error}");
    machine.shutdown(SOON).await.expect("it ends");
    let mut heard = Vec::new();
    while let Ok(event) = events.try_recv() {
        match event {
            MachineEvent::Panicked { .. } => heard.push("panicked"),
            MachineEvent::Exited(_) => heard.push("exited"),
            _ => {}
        }
    }
    assert_eq!(heard, ["panicked", "exited"]);
    bench.end(machine).await;
}

async fn qemu_dies_at_start() {
    let bench = Bench::new();
    let error = bench
        .start("dies-at-start")
        .await
        .map(drop)
        .expect_err("it dies");
    let text = "start vix0: QEMU exited with 1:\n\
        qemu-system-x86_64: -drive file=/nowhere: Could not open '/nowhere': No such file or directory";
    assert_eq!(error.to_string(), text);
    bench.group.close().await.expect("nothing is left");
}

async fn qemu_is_no_qemu() {
    let bench = Bench::new();
    let mut spec = spec(bench.dir.path(), &recorded("idle"));
    for (program, says) in [
        ("/bin/false", "start vix0: QEMU exited with 1"),
        (
            "/nowhere/qemu",
            "run /nowhere/qemu: No such file or directory (os error 2) (is QEMU installed?)",
        ),
    ] {
        spec.qemu = program.into();
        let error = sanlab_vm::Machine::start(spec.clone(), &bench.group)
            .await
            .map(drop)
            .expect_err(program);
        assert_eq!(error.to_string(), says);
    }
    bench.group.close().await.expect("nothing is left");
}

async fn boot_never_ends() {
    let bench = Bench::new();
    let machine = bench.start("idle").await.expect("QEMU starts");
    let error = machine
        .wait_agent(Duration::from_millis(300))
        .await
        .expect_err("nobody answers");
    let text = "run `guest-sync-delimited` on vix0 within 0.3 s: the guest agent has not answered; \
        the console's last line: Loading, please wait...";
    assert_eq!(error.to_string(), text);
    bench.end(machine).await;
}
