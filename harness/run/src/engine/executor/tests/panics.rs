//! A guest that panics, and what fails because of it: the panic is the failure, whatever is known first.

use sanlab_plan::{Action, Run};

use super::evidence::says;
use super::*;
use crate::backend::fake_fleet::node;

/// The three moments at which something is known.
const MOMENTS: [u64; 3] = [2000, 2100, 2200];
const ORDERS: [[usize; 3]; 6] = [
    [0, 1, 2],
    [0, 2, 1],
    [1, 0, 2],
    [1, 2, 0],
    [2, 0, 1],
    [2, 1, 0],
];

/// What a command does when it ends.
type Ends = fn() -> Act;

/// vix1 panics: its console says so, its QEMU says so, each at its moment or not at all; and a command fails.
async fn panics(
    console: Option<u64>,
    qemu: Option<u64>,
    failure: (&'static str, u64, Ends),
) -> Played {
    let both = Action::Run(Run {
        on: vec![node("vix0"), node("vix1")],
        command: "sync".to_owned(),
        exit: 0,
        output: None,
        same: false,
    });
    let (on, at, act) = failure;
    let actor = move |name: &str, script: &str| {
        let after = |at, act| Act::After(Duration::from_millis(at), Box::new(act));
        let act = match name {
            _ if name == on => after(at, act()),
            "vix1" => after(2300, Act::Panicked),
            _ => Act::Hang,
        };
        (script == "sync").then_some(act)
    };
    let direct = move |notify: UnboundedSender<Notice>, _| {
        let event = EventKind::Panicked {
            console_tail: String::new(),
        };
        let line = "[ 9.0] Kernel panic - not syncing: Fatal exception";
        for (at, notice) in [(console, says("vix1", line)), (qemu, lost(event))] {
            let Some(at) = at else { continue };
            let notify = notify.clone();
            tokio::spawn(async move {
                tokio::time::sleep(Duration::from_millis(at)).await;
                let _ = notify.send(notice);
                // The guests' side stays open to the end.
                tokio::time::sleep(Duration::from_secs(600)).await;
            });
        }
    };
    play_with(vec![step("flush", both)], |backend| backend, actor, direct).await
}

#[tokio::test(start_paused = true)]
async fn a_panic_is_the_failure_whatever_is_known_first() {
    let failures: [(&str, Ends, &str); 4] = [
        ("vix1", || Act::Panicked, "panicked"),
        ("vix1", || Act::Dead, "the guest agent is dead"),
        ("vix1", || Act::Stuck, "the guest hangs"),
        (
            "vix0",
            || Act::Say(1, String::new(), "lost".to_owned()),
            "must exit with 0: lost",
        ),
    ];
    for (on, act, words) in failures {
        for order in ORDERS {
            let [console, qemu, failure] = order.map(|place| MOMENTS[place]);
            for (console, qemu) in [
                (Some(console), Some(qemu)),
                (Some(console), None),
                (None, Some(qemu)),
            ] {
                let about = format!("{words} at {failure}, console {console:?}, QEMU {qemu:?}");
                let played = panics(console, qemu, (on, failure, act)).await;
                assert_eq!(played.outcome.as_str(), "failed", "{about}");
                let kind = (FailureKind::GuestPanicked, Some("vix1"));
                assert_eq!(played.kind(), kind, "{about}");
                let message = played.failure().2;
                assert!(message.contains("panic"), "{about}: {message}");
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_failed_because_of_a_panic_is_told_beside_it() {
    let fails = || Act::Say(1, String::new(), "lost".to_owned());
    let played = panics(Some(2100), Some(2200), ("vix0", 2000, fails)).await;
    insta::assert_snapshot!(played.failure().2);
}
