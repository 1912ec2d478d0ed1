//! Guests whose agent does not answer: whether they hang, and what is found out about them.

use std::time::Duration;

use libtest_mimic::Trial;
use sanlab_vm::{Command, ConsoleLine, ExecError, Machine, MachineEvent};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::time::Instant;

use crate::bench::{Bench, SOON};
use crate::trial;

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial("guest_hangs", guest_hangs),
        trial("kernel_is_silent", kernel_is_silent),
        trial("agent_does_not_do_its_part", agent_does_not_do_its_part),
        trial("agent_answers_late", agent_answers_late),
    ]
}

async fn asked_in_vain(machine: &Machine) -> ExecError {
    let deadline = Duration::from_millis(200);
    let answer = machine.exec(Command::script("true"), deadline).await;
    answer.expect_err("silence")
}

async fn report(machine: &Machine) -> String {
    let examination = machine.examined().await;
    examination.expect("it was examined").report().to_owned()
}

fn listen(machine: &Machine) -> UnboundedReceiver<ConsoleLine> {
    let (sender, lines) = unbounded_channel();
    machine
        .console()
        .deliver(move |line| drop(sender.send(line)));
    lines
}

async fn guest_hangs() {
    let (bench, machine) = Bench::booted("guest-hangs").await;
    let mut lines = listen(&machine);
    let error = asked_in_vain(&machine).await;
    assert!(matches!(error, ExecError::GuestHangs { .. }), "{error}");
    let text = "run `true` on vix0: the guest hangs: its kernel obeys SysRq keys, and qemu-ga is blocked in the kernel; \
        blocked tasks: kswapd0, qemu-ga";
    assert_eq!(error.to_string(), text);
    let report = report(&machine).await;
    for found in [
        "RIP=ffffffff81a3c5ab",
        "shrink_page_list",
        "do_swap_page",
        "Mem-Info",
    ] {
        assert!(report.contains(found), "{found} in {report}");
    }

    // Nobody waits for it again.
    let began = Instant::now();
    let again = machine.exec(Command::script("true"), SOON).await;
    let again = again.expect_err("it hangs");
    assert!(matches!(again, ExecError::GuestHangs { .. }), "{again}");
    assert!(began.elapsed() < Duration::from_secs(1));

    // What the kernel was made to print is known from what it said by itself.
    let first = lines.try_recv().expect("a line");
    assert!(first.text.contains("Possible stuck request") && !first.dump);
    while let Ok(line) = lines.try_recv() {
        assert!(line.dump, "{}", line.text);
    }
    let console = machine.console();
    let mut log = fs_err::read(console.log_path()).expect("a log");
    for dump in console.dumps_in_log() {
        let place = |at| usize::try_from(at).expect("a small log");
        log.drain(place(dump.start)..place(dump.end));
    }
    assert_eq!(String::from_utf8_lossy(&log).trim_end(), first.text);
    assert_eq!(console.tail(1), [first.text]);
    bench.end(machine).await;
}

/// It takes no interrupt, but an NMI: the panic of that is no guest's.
async fn kernel_is_silent() {
    let (bench, machine) = Bench::booted("kernel-silent").await;
    let mut events = machine.events();
    let error = asked_in_vain(&machine).await;
    assert!(matches!(error, ExecError::GuestHangs { .. }), "{error}");
    let text = "run `true` on vix0: the guest hangs: its kernel obeys no SysRq key";
    assert_eq!(error.to_string(), text);
    let report = report(&machine).await;
    assert!(report.contains("spin_for_ever"), "{report}");
    while let Ok(event) = events.try_recv() {
        assert!(!matches!(event, MachineEvent::Panicked { .. }), "{event:?}");
    }
    assert_eq!(machine.console().troubles(), []);
    bench.end(machine).await;
}

async fn agent_does_not_do_its_part() {
    for (transcript, reason) in [
        (
            "agent-asleep",
            "its kernel obeys SysRq keys, and qemu-ga sleeps and waits for requests; blocked tasks: kswapd0",
        ),
        (
            "agent-gone",
            "its kernel obeys SysRq keys, and qemu-ga has ended; blocked tasks: kswapd0",
        ),
        ("guest-stopped", "QEMU has stopped the guest: io-error"),
        ("agent-silent", "QEMU does not answer"),
    ] {
        let (bench, machine) = Bench::booted(transcript).await;
        let error = asked_in_vain(&machine).await;
        assert!(matches!(error, ExecError::AgentDead { .. }), "{error}");
        let text = format!(
            "run `true` on vix0: the guest agent is dead: no answer for 5 s beyond the deadline; {reason}; "
        );
        let told = error.to_string();
        assert!(told.starts_with(&text), "{told}");
        bench.end(machine).await;
    }
}

async fn agent_answers_late() {
    let (bench, machine) = Bench::booted("agent-late").await;
    let error = asked_in_vain(&machine).await;
    assert!(matches!(error, ExecError::TimedOut { .. }), "{error}");
    bench.end(machine).await;
}
