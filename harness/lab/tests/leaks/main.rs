//! Whatever ends the lab, nothing of it stays: no QEMU, no janitor, no socket, no temporary folder.
//!
//! Real guests in a child process, which is ended by SIGKILL at random moments, by Ctrl-C, by SIGTERM and by a panic.
//! `SANLAB_SEED` repeats a choice of moments, `SANLAB_KILLS` says how many there are of each
//! kind (2, in a nightly run 10, unless given).

use std::process::{Child, Command, ExitCode};
use std::time::Duration;

use guest_trials::{Failed, Suite, Tier};
use rustix::process::{Pid, Signal, kill_process_group};
use sanlab::{Lab, RunRequest, scenario};
use sanlab_record::EventKind;

#[path = "../support/child.rs"]
mod child;
mod kills;
mod sandbox;

use sandbox::{CLEAN_UP, Sandbox, WHOLE_RUN, fresh, project, sanlab, two_nodes, until};

/// This test as a child: runs the scenario and panics in the midst of it.
const PANIC: &str = "panic-in-mid-run";

/// What the lab writes when both QEMUs have been started, of templates or of nodes, and when the guests work.
const MAKING: &str = "a template of x86_64";
const BOOTING: &str = "vix1: boots";
const WORKING: &str = "layer nbd: ";

fn main() -> ExitCode {
    if std::env::args().nth(1).as_deref() == Some(PANIC) {
        panic_in_mid_run();
    }
    let lab = Lab::find(&project()).expect("the tests run in a checkout");
    let mut suite = Suite::new(|| lab.require_host()).one_at_a_time();
    let kills = if suite.is_nightly() { 10 } else { 2 };
    let mut add = |name: &str, tier, test: fn(u32) -> Result<(), Failed>| {
        let lab = lab.clone();
        suite.guests(name, tier, move || {
            // Once, so that no moment falls into the building of images.
            lab.images(&scenario::load(&two_nodes())?, &|_| ())?;
            test(kills)
        });
    };
    add(
        "sigkill_at_random_moments_leaves_nothing",
        Tier::Test,
        kills::of_fresh_runs,
    );
    add(
        "sigkill_while_templates_are_made_leaves_nothing",
        Tier::Nightly,
        kills::of_template_makers,
    );
    add(
        "sigkill_while_a_checkpoint_is_kept_leaves_nothing",
        Tier::Nightly,
        kills::of_checkpoint_makers,
    );
    add(
        "sigkill_while_a_fork_starts_leaves_nothing",
        Tier::Nightly,
        kills::of_forks,
    );
    // A fleet that is still booting is dropped: its processes may outlive the lab by the time that dying takes. One
    // that runs is ended in order, and there is nothing to wait for.
    add(
        "ctrl_c_while_templates_are_made_leaves_nothing",
        Tier::Nightly,
        |_| interrupted(sanlab(), Signal::INT, MAKING, CLEAN_UP),
    );
    add("ctrl_c_while_booting_leaves_nothing", Tier::Nightly, |_| {
        interrupted(fresh(), Signal::INT, BOOTING, CLEAN_UP)
    });
    add("ctrl_c_leaves_nothing", Tier::Test, |_| {
        interrupted(fresh(), Signal::INT, WORKING, Duration::ZERO)
    });
    add("sigterm_leaves_nothing", Tier::Nightly, |_| {
        interrupted(fresh(), Signal::TERM, WORKING, Duration::ZERO)
    });
    add("a_second_ctrl_c_leaves_nothing", Tier::Nightly, |_| {
        interrupted_twice()
    });
    add("a_panic_leaves_nothing", Tier::Nightly, |_| {
        panic_leaves_nothing()
    });
    suite.run()
}

/// To the whole process group, as a terminal does it, when the child has said `moment`.
fn interrupted(
    command: Command,
    signal: Signal,
    moment: &str,
    clean_up: Duration,
) -> Result<(), Failed> {
    let sandbox = Sandbox::new()?;
    let mut child = sandbox.start(command)?;
    sandbox.wait_until_said(&mut child, moment)?;
    signal_group(&child, signal)?;
    let status = sandbox.wait(&mut child, Duration::from_secs(90))?;
    if status.code() != Some(4) {
        return Err(format!("expected exit code 4, got {status}\n{}", sandbox.said()).into());
    }
    sandbox.expect_empty(&format!("{signal:?} at `{moment}`"), clean_up)
}

fn interrupted_twice() -> Result<(), Failed> {
    let sandbox = Sandbox::new()?;
    let mut child = sandbox.start(fresh())?;
    sandbox.wait_until_said(&mut child, WORKING)?;
    signal_group(&child, Signal::INT)?;
    // Two signals at once are one signal: the second is sent when the first has been seen.
    until(
        "the lab to notice the first Ctrl-C",
        Duration::from_secs(10),
        || sandbox.said().contains("Ctrl-C").then_some(()),
    )?;
    if child.try_wait()?.is_none() {
        signal_group(&child, Signal::INT)?;
    }
    let status = sandbox.wait(&mut child, Duration::from_secs(10))?;
    if status.code() != Some(4) {
        return Err(format!("expected exit code 4, got {status}\n{}", sandbox.said()).into());
    }
    sandbox.expect_empty("a second Ctrl-C", CLEAN_UP)
}

fn panic_leaves_nothing() -> Result<(), Failed> {
    let sandbox = Sandbox::new()?;
    let mut command = Command::new(std::env::current_exe()?);
    command.arg(PANIC);
    let mut child = sandbox.start(command)?;
    let status = sandbox.wait(&mut child, WHOLE_RUN)?;
    if status.code() != Some(101) || !sandbox.said().contains(PANIC) {
        return Err(format!("expected a panic, got {status}\n{}", sandbox.said()).into());
    }
    sandbox.expect_empty("a panic", CLEAN_UP)
}

fn panic_in_mid_run() -> ! {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let lab = Lab::find(&project()).expect("the tests run in a checkout");
        let plan = scenario::load(&two_nodes()).expect("a good scenario");
        let request = RunRequest {
            fresh: true,
            ..RunRequest::new(&lab.new_run().expect("a folder"))
        };
        let (sender, mut events) = tokio::sync::mpsc::unbounded_channel();
        let run = lab.run(&plan, request, sender);
        tokio::pin!(run);
        loop {
            tokio::select! {
                Some(event) = events.recv() => {
                    assert!(!matches!(event.kind, EventKind::Answered { .. }), "{PANIC}");
                }
                _ = &mut run => panic!("the run ended before a node answered"),
            }
        }
    })
}

fn signal_group(child: &Child, signal: Signal) -> Result<(), Failed> {
    let group = i32::try_from(child.id())
        .ok()
        .and_then(Pid::from_raw)
        .ok_or("the child has no process id")?;
    Ok(kill_process_group(group, signal)?)
}
