//! Machines that crash on purpose, and what their guests have reported by then.

use std::time::Instant;

use libtest_mimic::Trial;
use sanlab_vm::{Command, ExecError, MachineEvent, Status, VmError};

use crate::bench::{Bench, SOON};
use crate::trial;

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial("a_journal_ends_with_its_machine", a_journal_ends),
        trial("a_machine_is_killed", a_machine_is_killed),
        trial("a_kernel_panics_when_told_to", || told_to_panic("panic")),
        trial("a_kernel_of_x86_panics_when_told_to", || {
            told_to_panic("panic-x86")
        }),
        trial("another_panic_is_told", another_panic),
        trial("a_kernel_that_does_not_panic_is_told", in_vain),
    ]
}

/// What came before anybody listened is heard, and what was torn by the end is not.
async fn a_journal_ends() {
    let before = Instant::now();
    let (bench, machine) = Bench::booted("events").await;
    let mut guest_events = machine.guest_events();
    let first = guest_events.recv().await.expect("a line");
    assert_eq!(first.text, "begin vix0 262144 4 7");
    assert!(first.at > before && first.at <= Instant::now());
    // All has been said by the time that this is answered.
    let done = machine.exec(Command::script("true"), SOON).await;
    done.expect("the event port is not the agent's");
    machine.kill().await.expect("it is gone");
    let mut left = Vec::new();
    while let Some(line) = guest_events.recv().await {
        assert!(line.at >= first.at, "{line:?}");
        left.push(line.text);
    }
    assert_eq!(left, ["ack 0 1500", "ack 1 2900"]);
    assert_eq!(machine.guest_events().recv().await, None);
    bench.end(machine).await;
}

async fn a_machine_is_killed() {
    let bench = Bench::new();
    let machine = bench.start("idle").await.expect("it starts");
    let mut events = machine.events();
    let waiting = machine.wait_agent(SOON);
    let killing = async { machine.kill().await.expect("it is gone") };
    let (waited, report) = tokio::join!(waiting, killing);
    assert_eq!(report.status, Status::Signalled(9));
    assert!(
        matches!(
            waited,
            Err(VmError::Guest(ExecError::QemuDead {
                status: Status::Signalled(9),
                ..
            }))
        ),
        "{waited:?}"
    );
    let told = async {
        loop {
            if let MachineEvent::Exited(told) = events.recv().await.expect("its end") {
                return told.status;
            }
        }
    };
    let told = tokio::time::timeout(SOON, told)
        .await
        .expect("its end is told");
    assert_eq!(told, report.status);
    assert_eq!(
        machine.kill().await.expect("it is gone").status,
        report.status
    );
    bench.end(machine).await;
}

async fn told_to_panic(transcript: &str) {
    let (bench, machine) = Bench::booted(transcript).await;
    machine.panic(SOON).await.expect("it panics");
    let error = machine
        .exec(Command::script("true"), SOON)
        .await
        .expect_err("it stands still");
    assert!(matches!(error, ExecError::GuestPanicked { .. }), "{error}");
    machine.panic(SOON).await.expect("it has");
    let report = machine.kill().await.expect("it is gone");
    assert_eq!(report.status, Status::Signalled(9));
    bench.end(machine).await;
}

async fn another_panic() {
    let (bench, machine) = Bench::booted("panic-early").await;
    let error = machine.panic(SOON).await.expect_err("it was first");
    assert!(
        matches!(&error, VmError::Guest(ExecError::GuestPanicked { console_tail, .. })
            if console_tail.contains("Attempted to kill init!")),
        "{error}"
    );
    bench.end(machine).await;
}

async fn in_vain() {
    let (bench, machine) = Bench::booted("panic-in-vain").await;
    for said in [
        "it exited with 0:\nthe kernel did not panic",
        "it exited with 1:\nsh: can't create /proc/sysrq-trigger: Permission denied",
    ] {
        let error = machine.panic(SOON).await.expect_err("it does not");
        let text = format!("run `echo c > /proc/sysrq-trigger` on vix0: {said}");
        assert_eq!(error.to_string(), text);
    }
    bench.end(machine).await;
}
