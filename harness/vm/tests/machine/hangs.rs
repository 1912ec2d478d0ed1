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
        trial("hang_after_a_hang", hang_after_a_hang),
        trial("dump_ends_late", dump_ends_late),
        trial("agent_answers_before_the_nmi", agent_answers_before_the_nmi),
        trial("agent_answers_after_the_nmi", agent_answers_after_the_nmi),
        trial("nmi_is_refused", nmi_is_refused),
        trial("qemu_dies_of_a_key", qemu_dies_of_a_key),
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

/// Side by side: each takes five seconds and more.
async fn agent_does_not_do_its_part() {
    tokio::join!(
        agent_is_dead(
            "agent-asleep",
            "its kernel obeys SysRq keys, and qemu-ga sleeps and waits for requests; blocked tasks: kswapd0",
        ),
        agent_is_dead(
            "agent-gone",
            "its kernel obeys SysRq keys, and qemu-ga has ended; blocked tasks: kswapd0",
        ),
        agent_is_dead("guest-stopped", "QEMU has stopped the guest: io-error"),
        agent_is_dead("stopped-meanwhile", "QEMU has stopped the guest: io-error"),
        agent_is_dead(
            "keys-refused",
            "QEMU refuses chardev-send-break: Chardev 'console' not found",
        ),
        agent_is_dead("agent-silent", "QEMU does not answer"),
    );
}

async fn agent_is_dead(transcript: &str, reason: &str) {
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

async fn agent_answers_late() {
    let (bench, machine) = Bench::booted("agent-late").await;
    let error = asked_in_vain(&machine).await;
    assert!(matches!(error, ExecError::TimedOut { .. }), "{error}");
    bench.end(machine).await;
}

/// Each silence is looked at by itself once the agent has answered in between.
async fn hang_after_a_hang() {
    let (bench, machine) = Bench::booted("hangs-again").await;
    let error = asked_in_vain(&machine).await;
    assert!(matches!(error, ExecError::TimedOut { .. }), "{error}");
    assert!(!report(&machine).await.contains("do_swap_page"));
    let error = asked_in_vain(&machine).await;
    assert!(matches!(error, ExecError::GuestHangs { .. }), "{error}");
    assert!(report(&machine).await.contains("do_swap_page"));
    bench.end(machine).await;
}

/// The kernel goes on printing when nobody waits for it any more.
async fn dump_ends_late() {
    let (bench, machine) = Bench::booted("slow-dump").await;
    let mut lines = listen(&machine);
    let error = asked_in_vain(&machine).await;
    assert!(matches!(error, ExecError::AgentDead { .. }), "{error}");
    let mut own = Vec::new();
    let mut trouble = Vec::new();
    while own
        .last()
        .is_none_or(|last: &String| !last.contains("mm/y.c"))
    {
        let line = lines.recv().await.expect("a line");
        match line.trouble {
            Some(_) => trouble.push(line.text),
            None if !line.dump => own.push(line.text),
            None => {}
        }
    }
    // What came before its first line, and after its last.
    assert!(own[0].contains("Possible stuck request"), "{own:?}");
    assert!(own[1].contains("WARNING") && own.len() == 3, "{own:?}");
    // What the kernel said of itself meanwhile.
    assert!(
        trouble[0].contains("BUG: unable") && trouble.len() == 1,
        "{trouble:?}"
    );
    assert_eq!(machine.console().troubles().len(), 1);
    bench.end(machine).await;
}

/// It goes on, and must not panic.
async fn agent_answers_before_the_nmi() {
    let (bench, machine) = Bench::booted("agent-before-nmi").await;
    let mut lines = listen(&machine);
    let error = asked_in_vain(&machine).await;
    assert!(matches!(error, ExecError::TimedOut { .. }), "{error}");
    let mut last = lines.recv().await.expect("a line");
    while last.dump {
        last = lines.recv().await.expect("a line");
    }
    assert!(last.text.contains("back again"), "{}", last.text);
    bench.end(machine).await;
}

/// What becomes of the guest is the lab's doing: no command is blamed for it.
async fn agent_answers_after_the_nmi() {
    let (bench, machine) = Bench::booted("agent-after-nmi").await;
    let mut events = machine.events();
    for _ in 0..2 {
        let error = asked_in_vain(&machine).await;
        let text = "run `true` on vix0: the guest hangs: its kernel obeys no SysRq key";
        assert_eq!(error.to_string(), text);
    }
    assert!(report(&machine).await.contains("spin_for_ever"));
    while let Ok(event) = events.try_recv() {
        assert!(!matches!(event, MachineEvent::Panicked { .. }), "{event:?}");
    }
    bench.end(machine).await;
}

/// What QEMU was told to do with a panic is as before.
async fn nmi_is_refused() {
    let (bench, machine) = Bench::booted("nmi-refused").await;
    let error = asked_in_vain(&machine).await;
    assert!(matches!(error, ExecError::GuestHangs { .. }), "{error}");
    bench.end(machine).await;
}

async fn qemu_dies_of_a_key() {
    let (bench, machine) = Bench::booted("dies-of-a-key").await;
    let error = asked_in_vain(&machine).await;
    assert!(matches!(error, ExecError::QemuDead { .. }), "{error}");
    bench.end(machine).await;
}
