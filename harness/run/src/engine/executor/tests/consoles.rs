//! What kernels say while they are made to print their state, and without end.

use super::*;

#[tokio::test(start_paused = true)]
async fn a_guest_that_hangs_is_the_stacks_fault_and_what_was_found_is_kept() {
    let stuck = |node: &str, script: &str| {
        let asked = script == "sync" || script.starts_with("set +e");
        (node == "vix1" && asked).then_some(Act::Stuck)
    };
    let dump = |notify: UnboundedSender<Notice>, _| {
        for line in [
            "[ 60.0] Call Trace:",
            "[ 60.1] Kernel panic - not syncing: NMI",
        ] {
            notify.send(among_a_dump(line)).unwrap();
        }
    };
    let found = |backend: FakeFleet| backend.examined("vix1", "all tasks");
    let steps = vec![step("flush", run("vix1", "sync"))];
    let played = play_with(steps, found, stuck, dump).await;
    let told = "run `it` on vix1: the guest hangs: qemu-ga is blocked";
    assert_eq!(played.failure(), ("failed", "step flush", told));
    assert_eq!(played.kind(), (FailureKind::GuestHangs, Some("vix1")));
    let collected = played.collected();
    let of_vix1 = collected.iter().filter(|file| file.contains("vix1"));
    assert_eq!(of_vix1.collect::<Vec<_>>(), [&"hang-vix1.txt"]);
    assert!(collected.contains(&"vix0/dmesg.txt"));
}

fn among_a_dump(line: &str) -> Notice {
    Notice::Dump {
        node: "vix1".to_owned(),
        at: Instant::now(),
        line: line.to_owned(),
        room: Room::default(),
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_kernel_says_by_itself_is_heard_among_a_dump() {
    let dump = |notify: UnboundedSender<Notice>, _| {
        notify
            .send(among_a_dump("[ 60.0] kernel BUG at fs/x.c:1!"))
            .unwrap();
    };
    let steps = vec![step("flush", run("vix1", "sync"))];
    let played = play_with(steps, |backend| backend, |_, _| None, dump).await;
    assert_eq!(played.failure().0, "failed");
    assert_eq!(played.kind(), (FailureKind::KernelComplaint, Some("vix1")));
}

#[tokio::test(start_paused = true)]
async fn a_kernel_that_has_news_without_end_does_not_fill_the_record() {
    let news = |notify: UnboundedSender<Notice>, _| {
        for _ in 0..10_003 {
            let said = Notice::Console {
                node: "vix0".to_owned(),
                at: Instant::now(),
                room: Room::default(),
                line: "[ 5.0] o2net: again".to_owned(),
            };
            notify.send(said).unwrap();
        }
    };
    let played = play_with(Vec::new(), |backend| backend, |_, _| None, news).await;
    assert_eq!(played.outcome, Outcome::Passed);
    let events = &played.logged.events;
    let count =
        |wanted: fn(&EventKind) -> bool| events.iter().filter(|it| wanted(&it.kind)).count();
    let said = count(|kind| matches!(kind, EventKind::KernelSaid { .. }));
    assert_eq!(said, 10_000);
    let told = count(
        |kind| matches!(kind, EventKind::Progress { text } if text.contains("more than 10000 news")),
    );
    assert_eq!(told, 1);
}
