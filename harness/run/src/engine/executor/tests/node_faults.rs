//! Faults of nodes themselves: when they begin and end, and what they excuse.

use super::*;
use crate::backend::fake_fleet::{crash, disk_fault, heal};

/// What was done to the disk of vix0, and sleeps, in order.
fn course(played: &Played) -> Vec<&str> {
    let scripts = played.asked.iter().map(|(_, script)| script.as_str());
    let word = |script: &str| {
        if script.contains("dmsetup create sanlab-disk") {
            Some("made")
        } else if script.contains("dmsetup remove --retry $name") {
            Some("removed")
        } else if script.contains("/dev/mapper/sanlab-error 131072 0") {
            Some("broken")
        } else if script.contains("dmsetup resume") {
            Some("whole")
        } else {
            script.starts_with("sleep").then_some("sleep")
        }
    };
    scripts.filter_map(word).collect()
}

/// Sleeps as it is told, and sees the disk's length.
fn sleeper(_node: &str, script: &str) -> Option<Act> {
    if script.starts_with("blockdev --getsize /dev/mapper/sanlab-disk") {
        return Some(Act::Say(0, "2097152".to_owned(), String::new()));
    }
    let seconds = script.strip_prefix("sleep ")?.parse().ok()?;
    Some(Act::Sleep(Duration::from_secs(seconds)))
}

fn lasted(played: &Played) -> Vec<u64> {
    let events = played.logged.events.iter();
    let seconds = events.filter_map(|event| match &event.kind {
        EventKind::FaultEnded { seconds, .. } => Some(seconds.round()),
        _ => None,
    });
    // Seconds of tests.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    seconds.map(|seconds| seconds as u64).collect()
}

#[tokio::test(start_paused = true)]
async fn a_disk_fails_until_it_is_healed() {
    let steps = vec![
        step("broken", disk_fault("vix0", None)),
        step("meanwhile", run("vix0", "sleep 7")),
        step("heal", heal("broken")),
        step("after", run("vix0", "sleep 1")),
    ];
    let played = play(steps, sleeper).await;
    assert_eq!(played.outcome, Outcome::Passed);
    assert_eq!(
        course(&played),
        ["made", "broken", "sleep", "whole", "sleep", "removed"]
    );
    assert_eq!(lasted(&played), [7]);
}

#[tokio::test(start_paused = true)]
async fn a_disk_is_whole_again_after_its_time() {
    let steps = vec![
        step("broken", disk_fault("vix0", Some(3))),
        step("meanwhile", run("vix0", "sleep 7")),
        step("heal", heal("broken")),
    ];
    let played = play(steps, sleeper).await;
    assert_eq!(played.outcome, Outcome::Passed);
    assert_eq!(
        course(&played),
        ["made", "broken", "sleep", "whole", "removed"]
    );
    assert_eq!(lasted(&played), [3]);
}

#[tokio::test(start_paused = true)]
async fn a_fault_ends_with_the_power_of_its_node() {
    let steps = vec![
        step("broken", disk_fault("vix0", Some(9))),
        step("meanwhile", run("vix0", "sleep 2")),
        step("crash", crash("vix0", sanlab_plan::CrashKind::Power, 0)),
        step("after", run("vix1", "sleep 20")),
    ];
    let played = play(steps, sleeper).await;
    assert_eq!(played.outcome, Outcome::Passed);
    assert_eq!(course(&played), ["made", "broken", "sleep", "sleep"]);
    assert_eq!(lasted(&played), [2]);
}

#[tokio::test(start_paused = true)]
async fn what_did_not_begin_is_undone_and_excuses_nothing() {
    let steps = vec![step("broken", disk_fault("vix0", None))];
    let actor = |node: &str, script: &str| {
        if script.contains("/dev/mapper/sanlab-error 131072 0") {
            return Some(Act::Say(1, String::new(), "no such target".to_owned()));
        }
        sleeper(node, script)
    };
    let played = play(steps, actor).await;
    let (outcome, phase, message) = played.failure();
    assert_eq!((outcome, phase), ("failed", "step broken"));
    assert!(
        message.contains("fail writes of the disk of vix0"),
        "{message}"
    );
    assert!(message.contains("no such target"), "{message}");
    assert_eq!(course(&played)[..3], ["made", "broken", "whole"]);
    assert!(lasted(&played).is_empty());
}

#[tokio::test(start_paused = true)]
async fn errors_of_the_disk_are_excused_while_it_fails() {
    let says = |device: &str, at: u64| {
        let line = format!("[ 9.0] I/O error, dev {device}, sector 8 op 0x1:(WRITE)");
        let steps = vec![
            step("broken", disk_fault("vix0", Some(3))),
            step("meanwhile", run("vix0", "sleep 9")),
        ];
        let told = Notice::Console {
            node: "vix1".to_owned(),
            at: Instant::now(),
            line,
            room: Room::default(),
        };
        play_with(steps, |backend| backend, sleeper, happens(vec![(at, told)]))
    };
    assert_eq!(says("nbd0", 2).await.outcome, Outcome::Passed);
    assert_eq!(says("nbd1", 2).await.failure().0, "failed");
    assert_eq!(says("nbd0", 7).await.failure().0, "failed");
}
