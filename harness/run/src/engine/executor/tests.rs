//! The engine on a fake fleet: whose fault what is, and that the fleet is ended whatever happens.

use sanlab_fleet::Room;
use sanlab_plan::{Plan, Step};
use sanlab_record::{Event, FailureKind, Finding};
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio_util::sync::CancellationToken;

use super::*;
use crate::backend::fake_fleet::{Act, FakeFleet, dd, plan, run, same_tree, step};
use crate::backend::{FleetBackend, StartPoint};
use crate::checkpoint::proof::Proofs;
use crate::engine::context::RunContext;
use crate::engine::event_log::Logged;
use crate::{Enclosure, Extent, RunOptions};

const DD: &str =
    "4+0 records in\n4+0 records out\n4194304 bytes (4.2 MB, 4.0 MiB) copied, 0.5 s, 8.4 MB/s\n";
const LISTED: &str = "f\x004194304\0\0vix0.img\0f\x004194304\0\0vix1.img\0\0";
/// Of 4 MiB of zeros.
const ZEROS: &str = "b5cfa9d6c8febd618f91ac2843d50a1c";

/// dd works, and every node lists what was written.
fn well(_node: &str, script: &str) -> Option<Act> {
    if script.contains("cat report") {
        return Some(Act::Say(0, String::new(), DD.to_owned()));
    }
    let listed = format!("{LISTED}{ZEROS}  ./vix0.img\0{ZEROS}  ./vix1.img\0");
    if script == "false" {
        return Some(Act::Say(1, String::new(), String::new()));
    }
    script
        .contains("drop_caches")
        .then(|| Act::Say(0, listed, String::new()))
}

mod checkpoints;
mod consoles;
mod daemons;
mod evidence;
mod faults;
mod known;
mod layers;
mod measures;
mod network;
mod node_faults;
mod outputs;
mod pairs;
mod panics;
mod saving;
mod several;
mod stopped;

struct Played {
    outcome: Outcome,
    timeline: Option<Timeline>,
    findings: Vec<Finding>,
    console_tail: BTreeMap<String, Vec<String>>,
    logged: Logged,
    /// The names of its phases, and of the one that failed.
    names: Vec<String>,
    phase: String,
    /// The files where what nodes printed was kept.
    printed: BTreeMap<String, String>,
    asked: Vec<(String, String)>,
}

impl Played {
    fn phases(&self) -> Vec<&str> {
        self.names.iter().map(String::as_str).collect()
    }

    fn failure(&self) -> (&'static str, &str, &str) {
        let failure = self.recorded();
        (self.outcome.as_str(), &self.phase, &failure.message)
    }

    /// What kind it was, and where.
    fn kind(&self) -> (FailureKind, Option<&str>) {
        let failure = self.recorded();
        (failure.kind, failure.node.as_deref())
    }

    fn recorded(&self) -> &sanlab_record::Failure {
        match &self.outcome {
            Outcome::Failed(failure)
            | Outcome::Broken(failure)
            | Outcome::KnownFailure { failure, .. } => failure,
            other => panic!("it {}", other.as_str()),
        }
    }

    /// Files that were kept.
    fn collected(&self) -> Vec<&str> {
        let files = self
            .logged
            .events
            .iter()
            .filter_map(|event| match &event.kind {
                EventKind::Collected { file } => Some(file.as_str()),
                _ => None,
            });
        files.collect()
    }
}

async fn play_with(
    steps: Vec<Step>,
    dress: impl FnOnce(FakeFleet) -> FakeFleet,
    actor: impl Fn(&str, &str) -> Option<Act> + Send + Sync + 'static,
    direct: impl FnOnce(UnboundedSender<Notice>, CancellationToken),
) -> Played {
    play_plan(plan(steps), dress, actor, direct).await
}

/// As far as `extent` says, with a dd that works, and with what has been proved.
async fn play_extent(steps: Vec<Step>, extent: Extent, proofs: Option<Proofs>) -> Played {
    let dress = |backend| backend;
    play_all(plan(steps), (extent, proofs), dress, well, |_, _| ()).await
}

async fn play_plan(
    plan: Plan,
    dress: impl FnOnce(FakeFleet) -> FakeFleet,
    actor: impl Fn(&str, &str) -> Option<Act> + Send + Sync + 'static,
    direct: impl FnOnce(UnboundedSender<Notice>, CancellationToken),
) -> Played {
    play_all(plan, (Extent::Whole, None), dress, actor, direct).await
}

async fn play_all(
    plan: Plan,
    (extent, proofs): (Extent, Option<Proofs>),
    dress: impl FnOnce(FakeFleet) -> FakeFleet,
    actor: impl Fn(&str, &str) -> Option<Act> + Send + Sync + 'static,
    direct: impl FnOnce(UnboundedSender<Notice>, CancellationToken),
) -> Played {
    let stack = sanlab_stack::compose(&plan);
    let (notify, notices) = unbounded_channel();
    let backend = FakeFleet::new(&plan, &stack, actor).heard_by(notify.clone());
    let backend = Arc::new(dress(backend));
    let folder = tempfile::tempdir().unwrap();
    let event_log = EventLog::new(unbounded_channel().0);
    let cancel = CancellationToken::new();
    direct(notify, cancel.clone());
    let as_backend = Arc::clone(&backend) as Arc<dyn FleetBackend>;
    let options = RunOptions {
        seed: 7,
        extent,
        cancel,
        ..RunOptions::default()
    };
    let mut context = RunContext::new(plan, stack, as_backend, event_log.clone(), options);
    context.proofs = proofs;
    let Finished {
        outcome,
        timeline,
        findings,
        console_tail,
        ..
    } = run_plan(context, notices, folder.path()).await;
    let asked = backend.asked.lock().unwrap().clone();
    assert_eq!(
        asked.last().map(|(_, script)| script.as_str()),
        Some("end"),
        "the fleet is ended, last of all"
    );
    let logged = event_log.take();
    let mut printed = BTreeMap::new();
    for event in &logged.events {
        if let EventKind::Printed { file, .. } = &event.kind {
            let text = fs_err::read_to_string(folder.path().join(file)).unwrap();
            printed.insert(file.clone(), text);
        }
        if let EventKind::Collected { file } = &event.kind {
            assert!(folder.path().join(file).exists(), "{file}");
        }
    }
    let names = logged.phases.iter().map(|phase| phase.name.to_string());
    let phase = outcome.failure().map(|failure| failure.phase.to_string());
    Played {
        names: names.collect(),
        phase: phase.unwrap_or_default(),
        outcome,
        timeline,
        findings,
        console_tail,
        logged,
        printed,
        asked,
    }
}

/// vix0 asks for vix1's power while a step waits.
fn ask_for_power(line: &'static str) -> impl FnOnce(UnboundedSender<Notice>, CancellationToken) {
    move |notify, _| {
        tokio::spawn(async move {
            tokio::time::sleep(Duration::from_secs(2)).await;
            let _ = notify.send(Notice::Console {
                node: "vix0".to_owned(),
                at: Instant::now(),
                line: line.to_owned(),
                room: Room::default(),
            });
            // The guests' side stays open to the end.
            tokio::time::sleep(Duration::from_secs(600)).await;
        });
    }
}

/// Something happens to the guests so many seconds after the begin.
fn happens(notices: Vec<(u64, Notice)>) -> impl FnOnce(UnboundedSender<Notice>, CancellationToken) {
    move |notify, _| {
        tokio::spawn(async move {
            let begin = Instant::now();
            for (second, notice) in notices {
                tokio::time::sleep_until(begin + Duration::from_secs(second)).await;
                let at = Instant::now();
                let _ = notify.send(match notice {
                    Notice::Console {
                        node, line, room, ..
                    } => Notice::Console {
                        node,
                        at,
                        line,
                        room,
                    },
                    other => other,
                });
            }
            // The guests' side stays open to the end.
            tokio::time::sleep(Duration::from_secs(600)).await;
        });
    }
}

async fn play(
    steps: Vec<Step>,
    actor: impl Fn(&str, &str) -> Option<Act> + Send + Sync + 'static,
) -> Played {
    play_with(steps, |backend| backend, actor, |_, _| ()).await
}

#[tokio::test(start_paused = true)]
async fn a_plan_goes_from_boot_to_teardown() {
    let steps = vec![
        step("load", dd(&["vix0", "vix1"], false)),
        step("compare", same_tree(&["vix0", "vix1"])),
    ];
    let played = play(steps, well).await;
    assert_eq!(played.outcome, Outcome::Passed);
    assert_eq!(
        played.phases(),
        [
            "prepare",
            "boot",
            "layer nbd",
            "layer linear",
            "layer o2cb",
            "layer ocfs2",
            "layer mount",
            "keep layers",
            "step load",
            "step compare",
            "end check",
            "take down",
            "teardown"
        ]
    );
    let mut samples: Vec<_> = played
        .logged
        .samples
        .iter()
        .map(|sample| (sample.node.as_str(), sample.bytes))
        .collect();
    samples.sort_unstable();
    assert_eq!(samples, [("vix0", 4 << 20), ("vix1", 4 << 20)]);
}

#[tokio::test(start_paused = true)]
async fn a_command_that_fails_is_the_stacks_fault_and_is_collected() {
    let refuse = |_: &str, script: &str| {
        script
            .contains("mkfs")
            .then(|| Act::Say(1, String::new(), "mkfs.ocfs2: no\n".to_owned()))
    };
    let played = play(Vec::new(), refuse).await;
    let (word, phase, message) = played.failure();
    assert_eq!((word, phase), ("failed", "layer ocfs2"));
    assert!(
        message.contains("vix0") && message.contains("mkfs.ocfs2: no"),
        "{message}"
    );
    assert_eq!(
        played.phases().last_chunk(),
        Some(&["layer ocfs2", "collect", "teardown"])
    );
    let collected = |event: &&Event| matches!(event.kind, EventKind::Collected { .. });
    assert!(played.logged.events.iter().filter(collected).count() > 4);
}

#[tokio::test(start_paused = true)]
async fn a_node_that_sees_other_bytes_fails_the_check() {
    let other = |node: &str, script: &str| {
        let listed = format!("{LISTED}{ZEROS}  ./vix0.img\0ab12  ./vix1.img\0");
        (node == "vix1" && script.contains("drop_caches"))
            .then(|| Act::Say(0, listed, String::new()))
            .or(well(node, script))
    };
    let steps = vec![
        step("load", dd(&["vix0", "vix1"], false)),
        step("compare", same_tree(&["vix0", "vix1"])),
    ];
    let played = play(steps, other).await;
    insta::assert_snapshot!(played.failure().2);
}

#[tokio::test(start_paused = true)]
async fn a_dead_agent_is_the_labs_fault() {
    let played = play(vec![step("look", run("vix1", "ls"))], |_, script| {
        (script == "ls").then_some(Act::Dead)
    })
    .await;
    assert_eq!(
        played.failure(),
        (
            "broken",
            "step look",
            "run `it` on vix1: the guest agent is dead: no answer"
        )
    );
    assert_eq!(played.kind(), (FailureKind::AgentDead, Some("vix1")));
}

#[tokio::test(start_paused = true)]
async fn a_kernel_in_trouble_outweighs_everything() {
    let oops = "[   61.0] BUG: unable to handle page fault for address: 00000010\n";
    let played = play_with(
        Vec::new(),
        |backend| backend.console(oops),
        |_, _| None,
        |_, _| (),
    )
    .await;
    let (word, _, message) = played.failure();
    assert_eq!(word, "failed", "all steps were well, the console was not");
    assert!(
        message.starts_with("1 oops on vix0, at 0.0 s: BUG: unable"),
        "{message}"
    );

    let dead = |_: &str, script: &str| script.contains("mkfs").then_some(Act::Dead);
    let played = play_with(Vec::new(), |backend| backend.console(oops), dead, |_, _| ()).await;
    let (word, phase, message) = played.failure();
    assert_eq!((word, phase), ("failed", "layer ocfs2"));
    assert!(
        message.contains("agent is dead: no answer\n1 oops on vix0, at 0.0 s: BUG: unable"),
        "{message}"
    );
    assert_eq!(played.kind(), (FailureKind::KernelComplaint, Some("vix0")));
}

#[tokio::test(start_paused = true)]
async fn what_hangs_ends_at_its_deadline() {
    let began = Instant::now();
    let hang = |_: &str, script: &str| (script == "sync").then_some(Act::Hang);
    let played = play(vec![step("flush", run("vix0", "sync"))], hang).await;
    assert_eq!(
        played.failure(),
        (
            "failed",
            "step flush",
            "run `it` on vix0 within 30 s: it still ran\nits whole output: output/step-flush/vix0.txt"
        )
    );
    assert_eq!(played.kind(), (FailureKind::CommandTimedOut, Some("vix0")));
    assert!(began.elapsed() < Duration::from_secs(40));
}

#[tokio::test(start_paused = true)]
async fn a_probe_says_what_it_saw_last() {
    let played = play(Vec::new(), |node, script| {
        (node == "vix1" && script.contains("/proc/mounts"))
            .then(|| Act::Say(0, "not yet\n".to_owned(), String::new()))
    })
    .await;
    let (word, phase, message) = played.failure();
    assert_eq!((word, phase), ("failed", "layer mount"));
    assert!(
        message.contains("on vix1: not so after ") && message.contains("saw `not yet`"),
        "{message}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_panic_in_the_lab_still_ends_the_fleet() {
    let played = play(vec![step("slip", run("vix0", "true"))], |_, script| {
        (script == "true").then_some(Act::Panic)
    })
    .await;
    assert_eq!(
        played.failure(),
        (
            "broken",
            "step slip",
            "the lab panicked: a mistake in the lab"
        )
    );
}

#[tokio::test(start_paused = true)]
async fn an_interrupt_ends_it_in_order() {
    let began = Instant::now();
    let hang = |_: &str, script: &str| (script == "sync").then_some(Act::Hang);
    let steps = vec![
        step("load", dd(&["vix0"], true)),
        step("flush", run("vix0", "sync")),
    ];
    let played = play_with(
        steps,
        |backend| backend,
        hang,
        |_, cancel| {
            tokio::spawn(async move {
                tokio::time::sleep(Duration::from_secs(5)).await;
                cancel.cancel();
            });
        },
    )
    .await;
    assert_eq!(played.failure(), ("broken", "step flush", "interrupted"));
    assert!(
        began.elapsed() < Duration::from_secs(20),
        "{:?}",
        began.elapsed()
    );
}

fn lost(kind: EventKind) -> Notice {
    Notice::Event(FleetEvent::of("vix1", kind))
}

fn exited(status: &str, cause: Option<&str>, full: Option<&str>) -> Notice {
    lost(EventKind::QemuExited {
        status: status.to_owned(),
        cause: cause.map(str::to_owned),
        full: full.map(str::to_owned),
        stderr: String::new(),
    })
}

#[tokio::test(start_paused = true)]
async fn a_guest_that_panics_or_vanishes_ends_the_wait_for_others() {
    let hang = |_: &str, script: &str| (script == "sync").then_some(Act::Hang);
    for (notice, expected, kind) in [
        (
            lost(EventKind::Panicked {
                console_tail: String::new(),
            }),
            ("failed", "step flush", "vix1: the kernel panicked"),
            FailureKind::GuestPanicked,
        ),
        (
            exited("was ended by SIGKILL", None, None),
            ("broken", "step flush", "vix1: QEMU was ended by SIGKILL"),
            FailureKind::QemuDead,
        ),
        (
            exited("exited with 0", Some("guest-reset"), None),
            (
                "failed",
                "step flush",
                "vix1: QEMU exited with 0 (guest-reset)",
            ),
            FailureKind::GuestReset,
        ),
        (
            exited("was ended by SIGBUS", None, Some("/dev/shm")),
            (
                "broken",
                "step flush",
                "vix1: QEMU was ended by SIGBUS: there is no space left on /dev/shm",
            ),
            FailureKind::OutOfSpace,
        ),
        (
            Notice::Console {
                node: "vix1".to_owned(),
                at: Instant::now(),
                line: "[ 5.0] kernel BUG at fs/x.c:1!\r".to_owned(),
                room: Room::default(),
            },
            (
                "failed",
                "step flush",
                "1 bug on vix1, at 0.0 s: kernel BUG at fs/x.c:1!",
            ),
            FailureKind::KernelComplaint,
        ),
    ] {
        let began = Instant::now();
        let played = play_with(
            vec![step("flush", run("vix0", "sync"))],
            |backend| backend,
            hang,
            |notify, _| {
                tokio::spawn(async move {
                    tokio::time::sleep(Duration::from_secs(2)).await;
                    let _ = notify.send(notice);
                    // The guests' side stays open to the end.
                    tokio::time::sleep(Duration::from_secs(600)).await;
                });
            },
        )
        .await;
        assert_eq!(played.failure(), expected);
        assert_eq!(played.kind(), (kind, Some("vix1")));
        assert!(
            began.elapsed() < Duration::from_secs(20),
            "{:?}",
            began.elapsed()
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_background_step_that_nobody_awaits_must_succeed_too() {
    let full = |node: &str, script: &str| {
        let said = "/bin/dd: error writing: No space left on device\n".to_owned();
        script
            .contains("cat report")
            .then(|| Act::Say(1, String::new(), said))
            .or(well(node, script))
    };
    let steps = vec![
        step("load", dd(&["vix0"], true)),
        step("look", run("vix1", "ls")),
    ];
    let played = play(steps, full).await;
    let (word, phase, message) = played.failure();
    assert_eq!((word, phase), ("failed", "step load"));
    assert!(
        message.contains("dd of=/mnt/nbdsan/vix0.img on vix0: exited with 1"),
        "{message}"
    );
}

#[tokio::test(start_paused = true)]
async fn leftovers_after_a_good_run_are_the_labs_fault() {
    let played = play_with(
        Vec::new(),
        |backend| backend.error_at_end("these processes survived: 4711"),
        |_, _| None,
        |_, _| (),
    )
    .await;
    assert_eq!(
        played.failure(),
        ("broken", "teardown", "these processes survived: 4711")
    );
    assert!(played.asked.len() > 5);
}
