//! Faults that a scenario brings about, and what must not be lost by them.

use sanlab_plan::{Action, CacheFate, Crash, CrashKind};
use sanlab_record::Sample;

use super::checkpoints::kept;
use super::*;
use crate::backend::fake_fleet::{crash, node, restart, verify, wait, write};

/// The seed of all plays.
const SEED: u64 = 7;

/// One extent: the file lies on the device from byte 1 MiB on.
const FRAGMENTS: &str = "File size of /mnt/nbdsan/f is 16384 (4 blocks of 4096 bytes)\n\
     ext:     logical_offset:        physical_offset: length:   expected: flags:\n\
     0:        0..       3:        256..       259:      4:             last,eof\n";

/// A writer's lines, half a second each, up to so many acknowledgements.
fn lines(node: &str, seed: u64, acknowledged: usize) -> Vec<(Duration, String)> {
    let half = Duration::from_millis(500);
    let begin = format!("begin {node} 4096 4 {seed}");
    let acks = (0..acknowledged).map(|number| format!("ack {number} {}", number * 500_000));
    let end = (acknowledged == 4).then(|| "end 4".to_owned());
    let lines = std::iter::once(begin).chain(acks).chain(end);
    lines.map(|line| (half, line)).collect()
}

fn is_release(script: &str) -> bool {
    script.contains("read -r code <ended")
}

/// Writers write, and everything is where it was put; the writers are step 0.
fn sound(node: &str, script: &str) -> Option<Act> {
    if is_release(script) {
        return Some(Act::Write(lines(node, 0, 4), 0));
    }
    if script.contains("filefrag") {
        return Some(Act::Say(0, FRAGMENTS.to_owned(), String::new()));
    }
    script
        .contains("witness check")
        .then(|| Act::Say(0, format!("checked {}\n", asked_for(script)), String::new()))
}

/// How many blocks or pieces a check is to look at.
fn asked_for(script: &str) -> usize {
    if let Some((_, blocks)) = script.split_once("--upto ") {
        return blocks.trim().parse().unwrap();
    }
    let list = script.split('\'').nth(1).unwrap();
    list.lines().count()
}

fn events(played: &Played, wanted: impl Fn(&EventKind) -> bool) -> Vec<&Event> {
    let events = played.logged.events.iter();
    events.filter(|event| wanted(&event.kind)).collect()
}

#[tokio::test(start_paused = true)]
async fn what_was_acknowledged_is_counted_and_found_again() {
    let steps = vec![
        step("write", write(&["vix0", "vix1"], false)),
        step("verify", verify(&["vix0", "vix1"], true)),
    ];
    let played = play(steps, sound).await;
    assert_eq!(played.outcome, Outcome::Passed);
    let [first, second] = &played.logged.samples[..] else {
        panic!("{:?}", played.logged.samples);
    };
    for Sample {
        bytes,
        seconds,
        acknowledged,
        ..
    } in [first, second]
    {
        let figures = acknowledged.as_ref().unwrap();
        assert_eq!((*bytes, figures.blocks), (4 * 4096, 4));
        assert!((seconds - 2.0).abs() < 0.01, "{seconds}");
        assert!((figures.longest_gap_seconds - 0.5).abs() < 0.01);
    }
    let mut kept: Vec<_> = played.collected();
    kept.sort_unstable();
    assert_eq!(
        kept,
        [
            "acknowledged/step-write-on-vix0.txt",
            "acknowledged/step-write-on-vix1.txt"
        ]
    );
    let looked = |what: &str| {
        let asked = played.asked.iter();
        asked.filter(|(_, script)| script.contains(what)).count()
    };
    assert_eq!(looked("--upto 4"), 4, "two files on two nodes");
    assert!(looked("--blocks") >= 2, "and on the disks below");
}

#[tokio::test(start_paused = true)]
async fn a_lost_block_is_named_with_node_leg_number_and_time() {
    let lost = |node: &str, script: &str| {
        let replica = script.contains("--blocks") && script.contains("/dev/vdb");
        (node == "vix0" && replica && script.contains("--writer vix1"))
            .then(|| {
                let count = asked_for(script);
                let said = format!("bad 2 1056768 it is all zeros\nchecked {count}\n");
                Act::Say(1, said, String::new())
            })
            .or(sound(node, script))
    };
    let steps = vec![
        step("write", write(&["vix0", "vix1"], false)),
        step("verify", verify(&["vix0"], true)),
    ];
    let played = play(steps, lost).await;
    let (word, phase, message) = played.failure();
    assert_eq!((word, phase), ("failed", "step verify"));
    insta::assert_snapshot!(message, @r"
    1 of 4 acknowledged blocks of /mnt/nbdsan/vix1.journal read as zeros on vix0, /dev/vdb: 2 (the first at byte 1056768), acknowledged at 2.000 s
    ");
}

#[tokio::test(start_paused = true)]
async fn a_block_that_a_reader_sees_otherwise_is_named() {
    let other = |node: &str, script: &str| {
        (node == "vix1" && script.contains("--upto") && script.contains("vix0.journal"))
            .then(|| {
                let said = "bad 3 12288 in its place stands block 1 of vix0, seed 0\nchecked 4\n";
                Act::Say(1, said.to_owned(), String::new())
            })
            .or(sound(node, script))
    };
    let steps = vec![
        step("write", write(&["vix0"], false)),
        step("verify", verify(&["vix0", "vix1"], false)),
    ];
    let played = play(steps, other).await;
    insta::assert_snapshot!(played.failure().2, @r"
    1 of 4 acknowledged blocks of /mnt/nbdsan/vix0.journal read as other blocks on vix1: 3, acknowledged at 2.500 s; the first: in its place stands block 1 of vix0, seed 0
    ");
}

#[tokio::test(start_paused = true)]
async fn many_lost_blocks_are_told_in_one_line_and_kept_in_the_record() {
    let zeros = |node: &str, script: &str| {
        (node == "vix1" && script.contains("--upto") && script.contains("vix0.journal"))
            .then(|| {
                let bad = |number: u64| format!("bad {number} {} it is all zeros\n", number * 4096);
                let bad: String = (0..4).map(bad).collect();
                Act::Say(1, format!("{bad}checked 4\n"), String::new())
            })
            .or(sound(node, script))
    };
    let steps = vec![
        step("write", write(&["vix0"], false)),
        step("verify", verify(&["vix0", "vix1"], false)),
    ];
    let played = play(steps, zeros).await;
    insta::assert_snapshot!(played.failure().2, @"4 of 4 acknowledged blocks of /mnt/nbdsan/vix0.journal read as zeros on vix1: 0-3, acknowledged from 1.0 s to 2.5 s");
    assert_eq!(played.kind(), (FailureKind::BlocksLost, None));
    let [lost] = &played.recorded().lost_blocks[..] else {
        panic!("{:?}", played.recorded());
    };
    assert_eq!((lost.node.as_str(), lost.count()), ("vix1", 4));
    assert_eq!(lost.writer, "step write on vix0");
}

#[tokio::test(start_paused = true)]
async fn a_checker_that_looked_at_too_little_proves_nothing() {
    let short = |node: &str, script: &str| {
        script
            .contains("--upto")
            .then(|| Act::Say(0, "checked 3\n".to_owned(), String::new()))
            .or(sound(node, script))
    };
    let steps = vec![
        step("write", write(&["vix0"], false)),
        step("verify", verify(&["vix0"], false)),
    ];
    let played = play(steps, short).await;
    let (word, phase, _) = played.failure();
    assert_eq!((word, phase), ("broken", "step verify"));
    let steps = vec![step("verify", verify(&["vix0"], false))];
    let played = play(steps, sound).await;
    let (word, _, message) = played.failure();
    assert_eq!(word, "failed");
    assert_eq!(message, "verify: no block was ever acknowledged");
}

/// vix1 writes slowly, and is crashed meanwhile.
fn crash_of_a_writer(how: CrashKind) -> Vec<Step> {
    vec![
        step("write", write(&["vix0", "vix1"], true)),
        step("crash", crash("vix1", how, 0)),
        step("join writers", wait("write")),
        step("verify", verify(&["vix0"], true)),
    ]
}

/// vix1 does not get further than two blocks.
fn slow_writer(name: &str, script: &str) -> Option<Act> {
    if name == "vix1" && is_release(script) {
        let mut lines = lines(name, 0, 2);
        lines.push((Duration::from_secs(60), "ack 2 99".to_owned()));
        return Some(Act::Write(lines, 0));
    }
    sound(name, script)
}

#[tokio::test(start_paused = true)]
async fn a_writer_that_is_crashed_keeps_what_it_had_acknowledged() {
    for how in [CrashKind::Power, CrashKind::Panic] {
        let mut steps = crash_of_a_writer(how);
        steps.insert(1, step("a while", run("vix0", "sleep 3")));
        let pause = |name: &str, script: &str| {
            (script == "sleep 3")
                .then(|| Act::Sleep(Duration::from_secs(3)))
                .or(slow_writer(name, script))
        };
        let played = play(steps, pause).await;
        assert_eq!(played.outcome, Outcome::Passed, "{how:?}");
        let of_vix1 = |(node, script): &&(String, String)| {
            node == "vix0" && script.contains("vix1.journal") && script.contains("--upto 2")
        };
        assert_eq!(played.asked.iter().filter(of_vix1).count(), 1, "{how:?}");
        let crashes = events(&played, |kind| matches!(kind, EventKind::Crashed { .. }));
        assert_eq!(crashes.len(), 1);
        assert_eq!(crashes[0].node.as_deref(), Some("vix1"));
        let sample = played.logged.samples.iter().find(|one| one.node == "vix1");
        assert_eq!(sample.unwrap().acknowledged.as_ref().unwrap().blocks, 2);
    }
}

#[tokio::test(start_paused = true)]
async fn a_disk_loses_its_write_cache_with_the_power_unless_it_is_to_be_kept() {
    let told = |played: &Played| {
        let lost = |kind: &EventKind| matches!(kind, EventKind::WriteCacheLost { .. });
        events(played, lost).len()
    };
    for (how, cache, torn, lost) in [
        (
            CrashKind::Power,
            CacheFate::Lost,
            false,
            Some("lose write cache"),
        ),
        (
            CrashKind::Power,
            CacheFate::Lost,
            true,
            Some("lose write cache, torn"),
        ),
        (CrashKind::Power, CacheFate::Kept, false, None),
        (CrashKind::Panic, CacheFate::Kept, false, None),
    ] {
        let crash = Crash {
            node: node("vix1"),
            how,
            within: Duration::ZERO,
            cache,
            torn,
        };
        let played = play(vec![step("crash", Action::Crash(crash))], sound).await;
        assert_eq!(played.outcome, Outcome::Passed);
        let asked = |words: &str| {
            let asked = played.asked.iter();
            asked.filter(|(_, what)| what == words).count()
        };
        assert_eq!(told(&played), usize::from(lost.is_some()));
        assert_eq!(lost.map_or(1, asked), 1, "{how:?} {cache:?} {torn}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_panic_on_purpose_excuses_no_other() {
    let steps = || vec![step("crash", crash("vix1", CrashKind::Panic, 0))];
    let played = play(steps(), sound).await;
    assert_eq!(played.outcome, Outcome::Passed);
    let told = Notice::Console {
        node: "vix0".to_owned(),
        at: Instant::now(),
        line: "[ 9.0] Kernel panic - not syncing: sysrq triggered crash".to_owned(),
        room: Room::default(),
    };
    let other = |notify: UnboundedSender<Notice>, _| notify.send(told).unwrap();
    let played = play_with(steps(), |backend| backend, sound, other).await;
    assert_eq!(played.failure().0, "failed");
    let oops = |backend: FakeFleet| backend.console("[ 5.0] kernel BUG at fs/x.c:1!\n");
    let played = play_with(steps(), oops, sound, |_, _| ()).await;
    let (word, _, message) = played.failure();
    assert_eq!(word, "failed", "what vix1 said before its end counts");
    assert!(message.contains("kernel BUG"), "{message}");
}

#[tokio::test(start_paused = true)]
async fn the_moment_of_a_crash_is_the_seeds() {
    let moment = async || {
        let steps = vec![step("crash", crash("vix1", CrashKind::Power, 20))];
        let played = play(steps, sound).await;
        assert_eq!(played.outcome, Outcome::Passed);
        let crashes = events(&played, |kind| matches!(kind, EventKind::Crashed { .. }));
        match &crashes[0].kind {
            EventKind::Crashed { after_seconds, .. } => *after_seconds,
            other => panic!("{other:?}"),
        }
    };
    let (one, other) = (moment().await, moment().await);
    assert!((one - other).abs() < 0.01, "{one} {other}");
    let drawn = crate::engine::chance::moment(SEED, "crash", Duration::from_secs(20));
    assert!((one - drawn.as_secs_f64()).abs() < 0.01, "{one} {drawn:?}");
}

#[tokio::test(start_paused = true)]
async fn a_node_comes_back_with_every_layer_and_its_mount() {
    let steps = vec![
        step("crash", crash("vix1", CrashKind::Power, 0)),
        step("alone", same_tree(&["vix0"])),
        step("restart", restart("vix1")),
        step("both", same_tree(&["vix0", "vix1"])),
    ];
    let played = play(steps, well).await;
    assert_eq!(played.outcome, Outcome::Passed);
    let on_vix1 = |(node, _): &&(String, String)| node == "vix1";
    let scripts: Vec<&str> = played
        .asked
        .iter()
        .filter(on_vix1)
        .map(|(_, script)| script.as_str())
        .skip_while(|script| *script != "restart")
        .collect();
    let at = |what: &str| {
        let place = scripts.iter().position(|script| script.contains(what));
        place.unwrap_or_else(|| panic!("{what} in {scripts:#?}"))
    };
    assert!(at("dmesg -n 7") < at("nbd-client"));
    assert!(at("nbd-client") < at("dmsetup"));
    assert!(at("dmsetup") < at("/bin/mount -t ocfs2"));
}

#[tokio::test(start_paused = true)]
async fn what_is_not_down_cannot_be_restarted_nor_crashed_twice() {
    let steps = vec![step("restart", restart("vix1"))];
    let played = play(steps, sound).await;
    let (word, _, message) = played.failure();
    assert_eq!((word, message), ("failed", "restart vix1: it is not down"));
    let steps = vec![
        step("crash", crash("vix1", CrashKind::Power, 0)),
        step("again", crash("vix1", CrashKind::Power, 0)),
    ];
    let played = play(steps, sound).await;
    let (word, _, message) = played.failure();
    assert_eq!(word, "failed");
    let why = "crash vix1: it is not there any more: it was crashed by step crash";
    assert_eq!(message, why);
}

fn sleeps(name: &str, script: &str) -> Option<Act> {
    (script == "sleep 5")
        .then(|| Act::Sleep(Duration::from_secs(5)))
        .or(well(name, script))
}

/// The answers to power requests, with who got them.
fn answers(played: &Played) -> Vec<(&str, &str)> {
    let is_answer = |(_, script): &&(String, String)| script.contains("/run/sanlab/power");
    let answers = played.asked.iter().filter(is_answer);
    answers
        .map(|(node, script)| {
            let said = script.lines().find_map(|line| line.strip_prefix("echo "));
            (node.as_str(), said.unwrap())
        })
        .collect()
}

#[tokio::test(start_paused = true)]
async fn a_request_for_power_is_done_and_answered() {
    let steps = || {
        vec![
            step("a while", run("vix0", "sleep 5")),
            step("restart", restart("vix1")),
        ]
    };
    let ask = ask_for_power("[ 71.5] sanlab power off vix1 812-1\r");
    let played = play_with(steps(), |backend| backend, sleeps, ask).await;
    assert_eq!(played.outcome, Outcome::Passed);
    assert_eq!(answers(&played), [("vix0", "'off' >812-1.new")]);
    let fenced = events(&played, |kind| matches!(kind, EventKind::Fenced { .. }));
    assert_eq!(fenced.len(), 1);
    assert_eq!(fenced[0].node.as_deref(), Some("vix1"));
    let crashes = played
        .asked
        .iter()
        .filter(|(_, what)| what == "crash Power");
    assert_eq!(crashes.count(), 1);

    let ask = ask_for_power("sanlab power off storage9 812-1");
    let steps = vec![step("a while", run("vix0", "sleep 5"))];
    let played = play_with(steps, |backend| backend, sleeps, ask).await;
    assert_eq!(played.outcome, Outcome::Passed);
    let reason = "'storage9 is no node of this fleet' >812-1.new";
    assert_eq!(answers(&played), [("vix0", reason)]);
}

#[tokio::test(start_paused = true)]
async fn a_request_at_the_moment_of_a_fork_is_done_once_the_fleet_is_whole() {
    let steps = || {
        vec![
            step("a while", run("vix0", "sleep 5")),
            step("restart", restart("vix1")),
        ]
    };
    let kept = kept(Vec::new(), well).await;
    let fork = |backend: FakeFleet| backend.kept(kept).starts_in(Duration::from_secs(1));
    let ask = |notify: UnboundedSender<Notice>, _| {
        let asked = Notice::Console {
            node: "vix0".to_owned(),
            at: Instant::now(),
            line: "[ 71.5] sanlab power off vix1 812-1\r".to_owned(),
            room: Room::default(),
        };
        notify.send(asked).unwrap();
    };
    let played = play_with(steps(), fork, sleeps, ask).await;
    assert_eq!(played.outcome, Outcome::Passed);
    assert_eq!(answers(&played), [("vix0", "'off' >812-1.new")]);
    let fenced = events(&played, |kind| matches!(kind, EventKind::Fenced { .. }));
    assert_eq!(fenced.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn what_is_off_already_is_off() {
    let steps = vec![
        step("crash", crash("vix1", CrashKind::Power, 0)),
        step("a while", run("vix0", "sleep 5")),
    ];
    let ask = ask_for_power("sanlab power off vix1 812-1");
    let played = play_with(steps, |backend| backend, sleeps, ask).await;
    assert_eq!(played.outcome, Outcome::Passed);
    assert_eq!(answers(&played), [("vix0", "'off' >812-1.new")]);
    let fenced = events(&played, |kind| matches!(kind, EventKind::Fenced { .. }));
    assert!(fenced.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_writer_that_is_fenced_has_failed() {
    let steps = vec![step("write", write(&["vix0", "vix1"], false))];
    let slow = |name: &str, script: &str| {
        (name == "vix0" && is_release(script))
            .then(|| Act::Write(lines(name, 0, 4), 0))
            .or(slow_writer(name, script))
    };
    let ask = ask_for_power("sanlab power off vix1 812-1");
    let played = play_with(steps, |backend| backend, slow, ask).await;
    let (word, phase, message) = played.failure();
    assert_eq!((word, phase), ("failed", "step write"));
    assert!(
        message.contains(
            "2 of 4 blocks were acknowledged, the last at 1.500 s: it was fenced by vix0"
        ),
        "{message}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_write_error_says_how_far_it_came() {
    let full = |name: &str, script: &str| {
        if is_release(script) {
            let mut lines = lines(name, 0, 2);
            let error = "error 2 28 No space left on device (os error 28)";
            lines.push((Duration::from_secs(4), error.to_owned()));
            return Some(Act::Write(lines, 1));
        }
        sound(name, script)
    };
    let played = play(vec![step("write", write(&["vix0"], false))], full).await;
    let (word, phase, message) = played.failure();
    assert_eq!((word, phase), ("failed", "step write"));
    assert!(
        message.contains("error 2 28 No space left on device (os error 28); 2 of 4 blocks"),
        "{message}"
    );
    let gap = played.logged.samples[0]
        .acknowledged
        .as_ref()
        .unwrap()
        .longest_gap_seconds;
    assert!((gap - 4.0).abs() < 0.01, "{gap}");
}

#[tokio::test(start_paused = true)]
async fn a_fork_verifies_what_its_origin_wrote() {
    let steps = || {
        vec![
            Step {
                checkpoint: Some(sanlab_plan::CheckpointName::parse("written").unwrap()),
                ..step("write", write(&["vix0"], false))
            },
            step("verify", verify(&["vix1"], true)),
        ]
    };
    let kept = kept(steps(), sound).await;
    let lost = |name: &str, script: &str| {
        let bad = "bad 1 4096 it is all zeros\nchecked 4\n";
        script
            .contains("--upto 4")
            .then(|| Act::Say(1, bad.to_owned(), String::new()))
            .or(sound(name, script))
    };
    let fork = |backend: FakeFleet| backend.kept(kept.clone());
    let played = play_with(steps(), fork, lost, |_, _| ()).await;
    let (word, phase, message) = played.failure();
    assert_eq!((word, phase), ("failed", "step verify"));
    assert!(
        message.ends_with(": 1, acknowledged at 1.500 s of the run that kept the checkpoint"),
        "{message}"
    );
    assert!(!played.asked.iter().any(|(_, script)| is_release(script)));
}
