//! Figures: what is measured when, what it cost, and what is left out where only figures are wanted.

use sanlab_plan::{AccessPattern, Action, Dip, StepLabel, Target, Throughput, Tool};
use sanlab_record::{Cost, Measurement};

use super::*;
use crate::backend::fake_fleet::{throughput, wait, write};

/// What all workers wrote, as md5sum prints it.
const SUM: &str = "58f06dd588d8ffb3beb46ada6309436b";

/// dd works: it begins a tenth of a second after it is let go, and the node's number says how many tenths later it is done.
fn works(node: &str, script: &str) -> Option<Act> {
    let tenths = |tenths: u64| Duration::from_millis(100 * tenths);
    if script.starts_with("echo go >") {
        let number: u64 = node.trim_start_matches("vix").parse().unwrap();
        let round = ROUND.with(|round| {
            let mut rounds = round.borrow_mut();
            let next = rounds.entry(node.to_owned()).or_insert(0_u32);
            *next += 1;
            *next - 1
        });
        let lines = vec![
            (tenths(1), format!("begin load/{round}")),
            (tenths(5 + number), format!("over load/{round}")),
            // Somebody else's.
            (tenths(1), "over another/0".to_owned()),
        ];
        return Some(Act::WriteLater(lines));
    }
    if script.contains("md5sum") {
        let said = format!("{SUM}  -\n");
        return Some(Act::Say(0, said, String::new()));
    }
    well(node, script)
}

thread_local! {
    /// How often each node was let go; a test has a thread of its own.
    static ROUND: std::cell::RefCell<BTreeMap<String, u32>> = std::cell::RefCell::default();
}

async fn measure(throughput: Throughput) -> Played {
    play(vec![step("load", Action::Throughput(throughput))], works).await
}

#[tokio::test(start_paused = true)]
async fn every_repetition_is_kept_with_what_it_cost() {
    let played = measure(throughput(&["vix0", "vix1"], AccessPattern::Write)).await;
    assert_eq!(played.outcome, Outcome::Passed);
    let measured = &played.logged.measurements;
    let rounds: Vec<(u32, bool)> = measured
        .iter()
        .map(|one| (one.repetition, one.warm_up))
        .collect();
    assert_eq!(rounds, [(1, true), (1, false), (2, false)]);
    for Measurement {
        seconds,
        bytes,
        nodes,
        work,
        ..
    } in measured
    {
        assert!(
            (seconds - 0.6).abs() < 1e-6,
            "from the common start to the end of the slower: {seconds}"
        );
        assert_eq!(*bytes, 8 << 20);
        assert_eq!(work.on, ["vix0", "vix1"]);
        // The timeline reads the counters as well.
        let Cost {
            instructions,
            host_cpu_seconds,
            ..
        } = nodes["vix1"];
        assert!(instructions.unwrap() >= 1000 && host_cpu_seconds >= 1.0);
    }
    let mut samples: Vec<(&str, u32, bool, String)> = played
        .logged
        .samples
        .iter()
        .map(|one| {
            let host = format!("{:.1} s", one.host_seconds);
            (one.node.as_str(), one.repetition, one.warm_up, host)
        })
        .collect();
    samples.sort_by_key(|(node, repetition, warm_up, _)| (!warm_up, *repetition, *node));
    assert_eq!(samples.len(), 6);
    assert_eq!(samples[0], ("vix0", 1, true, "0.5 s".to_owned()));
    assert_eq!(samples[5], ("vix1", 2, false, "0.6 s".to_owned()));
    let logged = played.logged.events.iter();
    let logged = logged.filter(|event| matches!(event.kind, EventKind::Measured { .. }));
    assert_eq!(logged.count(), 4, "warm-ups are no figures");
}

#[tokio::test(start_paused = true)]
async fn what_was_written_is_read_back_by_everybody_who_has_it() {
    let played = measure(throughput(&["vix0"], AccessPattern::Write)).await;
    assert_eq!(played.outcome, Outcome::Passed);
    let readers: Vec<&str> = played
        .asked
        .iter()
        .filter(|(_, script)| script.contains("count_bytes"))
        .map(|(node, _)| node.as_str())
        .collect();
    assert_eq!(readers, ["vix0", "vix1"]);

    ROUND.with(|round| round.borrow_mut().clear());
    let other = |node: &str, script: &str| {
        (node == "vix1" && script.contains("count_bytes"))
            .then(|| {
                Act::Say(
                    0,
                    "0123456789abcdef0123456789abcdef  -\n".to_owned(),
                    String::new(),
                )
            })
            .or(works(node, script))
    };
    let write = Action::Throughput(throughput(&["vix0"], AccessPattern::Write));
    let played = play(vec![step("load", write)], other).await;
    insta::assert_snapshot!(played.failure().2);
}

#[tokio::test(start_paused = true)]
async fn checks_look_for_what_was_measured() {
    // Every node lists other bytes than those whose sum was reported.
    let listed = |node: &str, script: &str| {
        let listed = format!("f\x004194304\0\0vix0.throughput\0\0{ZEROS}  ./vix0.throughput\0");
        script
            .contains("-printf")
            .then_some(Act::Say(0, listed, String::new()))
            .or(works(node, script))
    };
    let steps = vec![
        step(
            "load",
            Action::Throughput(throughput(&["vix0"], AccessPattern::Read)),
        ),
        step("compare", same_tree(&["vix0", "vix1"])),
    ];
    let played = play(steps, listed).await;
    let (word, phase, message) = played.failure();
    assert_eq!((word, phase), ("failed", "step compare"));
    let read_back = |(_, script): &&(String, String)| script.contains("count_bytes");
    let read_back = played.asked.iter().filter(read_back);
    assert_eq!(read_back.count(), 0, "the check does that");
    assert!(message.contains(SUM), "{message}");
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_does_not_end_is_named() {
    let stuck = |node: &str, script: &str| {
        script
            .starts_with("echo go >")
            .then(|| {
                let begin = (Duration::from_millis(100), "begin load/0".to_owned());
                Act::WriteLater(vec![begin])
            })
            .or(works(node, script))
    };
    let write = Action::Throughput(throughput(&["vix1"], AccessPattern::Write));
    let played = play(vec![step("load", write)], stuck).await;
    insta::assert_snapshot!(played.failure().2, @"work on /mnt/nbdsan/vix1.throughput on vix1: not done after 30 s: it has begun");
}

#[tokio::test(start_paused = true)]
async fn an_image_without_fio_is_the_labs_fault() {
    let bare = |node: &str, script: &str| {
        script
            .starts_with("[ -x /usr/bin/fio ]")
            .then(|| Act::Say(127, String::new(), String::new()))
            .or(works(node, script))
    };
    let fio = Throughput {
        tool: Tool::Fio,
        ..throughput(&["vix0"], AccessPattern::Write)
    };
    let played = play(vec![step("load", Action::Throughput(fio))], bare).await;
    let (word, _, message) = played.failure();
    assert_eq!(word, "broken");
    assert_eq!(
        message,
        "vix0 has no /usr/bin/fio: the image debian-bookworm needs the package fio in its manifest and lock"
    );
}

#[tokio::test(start_paused = true)]
async fn a_stack_without_a_device_is_no_place_to_work_on() {
    let mut bare = plan(Vec::new());
    bare.layers.clear();
    bare.devices.clear();
    let device = Throughput {
        target: Target::Device,
        ..throughput(&["vix0"], AccessPattern::Write)
    };
    bare.steps = vec![step("load", Action::Throughput(device))];
    let played = play_plan(bare, |backend| backend, works, |_, _| ()).await;
    assert_eq!(
        played.failure(),
        (
            "broken",
            "step load",
            "the layers give vix0 no device to work on"
        )
    );
}

#[tokio::test(start_paused = true)]
async fn dd_in_the_foreground_is_a_measurement_and_in_the_background_not() {
    let steps = |background| {
        vec![
            step("load", dd(&["vix0", "vix1"], background)),
            step("look", run("vix0", "true")),
        ]
    };
    let played = play(steps(false), well).await;
    let [measured] = &played.logged.measurements[..] else {
        panic!("{:?}", played.logged.measurements);
    };
    assert_eq!((measured.repetition, measured.warm_up), (1, false));
    assert_eq!(measured.bytes, 8 << 20);
    assert_eq!(measured.nodes.len(), 2);
    let played = play(steps(true), well).await;
    assert_eq!(played.logged.measurements, []);
    assert_eq!(played.logged.samples.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_dd_that_tells_of_its_begin_and_end_is_timed_by_that() {
    // The script's end is noticed late.
    let told = |_: &str, script: &str| {
        script.contains("read -r code <ended").then(|| {
            let words = |pause, word: &str| (Duration::from_millis(pause), format!("{word} load"));
            let lines = vec![
                words(100, "begin"),
                words(700, "over"),
                words(250, "nothing of"),
            ];
            Act::WriteAndSay(lines, DD.to_owned())
        })
    };
    let played = play(vec![step("load", dd(&["vix0"], false))], told).await;
    assert_eq!(played.outcome, Outcome::Passed);
    let (sample, measured) = (&played.logged.samples[0], &played.logged.measurements[0]);
    assert!((sample.host_seconds - 0.7).abs() < 1e-6, "{sample:?}");
    assert!((measured.seconds - 0.7).abs() < 1e-6, "{measured:?}");
}

#[tokio::test(start_paused = true)]
async fn where_only_figures_are_wanted_nothing_else_is_done() {
    let steps = vec![
        step("before", run("vix0", "true")),
        step("early", same_tree(&["vix0"])),
        step("load", dd(&["vix0", "vix1"], false)),
        step("compare", same_tree(&["vix0", "vix1"])),
        step("after", run("vix0", "true")),
    ];
    let played = play_extent(steps, Extent::Measures, None).await;
    assert_eq!(played.outcome, Outcome::Passed);
    let phases = played.phases();
    let from = phases.iter().position(|phase| phase.starts_with("step"));
    assert_eq!(
        phases[from.unwrap()..],
        ["step before", "step load", "teardown"]
    );
    assert_eq!(played.logged.measurements.len(), 1);
}

#[tokio::test]
async fn what_a_whole_run_has_proved_is_not_proved_again_unless_somebody_wants_it() {
    let folder = tempfile::tempdir().unwrap();
    let store = sanlab_fleet::Store::at(folder.path()).unwrap();
    let steps = |fine: bool| {
        vec![
            step("load", dd(&["vix0", "vix1"], false)),
            step("compare", same_tree(&["vix0", "vix1"])),
            step("after", run("vix0", if fine { "true" } else { "false" })),
        ]
    };
    let played = async |fine, extent, key| {
        let proofs = Some(Proofs::under(store.clone(), key));
        let played = play_extent(steps(fine), extent, proofs).await;
        let whole = played.phases().contains(&"step compare");
        let told = played.logged.events.iter().any(
            |event| matches!(&event.kind, EventKind::ProvedBefore { run, .. } if !run.is_empty()),
        );
        (played.outcome == Outcome::Passed, whole, told)
    };
    let mut seen = Vec::new();
    for (fine, extent, key) in [
        // Neither what fails proves anything, nor what only measures.
        (false, Extent::UnlessProved, "00ff"),
        (true, Extent::Measures, "00ff"),
        (true, Extent::UnlessProved, "00ff"),
        (true, Extent::UnlessProved, "00ff"),
        (true, Extent::UnlessProved, "11ff"),
        (true, Extent::Whole, "00ff"),
    ] {
        seen.push(played(fine, extent, key).await);
    }
    assert_eq!(
        seen,
        [
            (false, true, false),
            (true, false, false),
            (true, true, false),
            (true, false, true),
            (true, true, false),
            (true, true, false),
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn a_run_has_a_timeline_and_one_that_did_not_pass_its_console_tail() {
    let sleeps =
        |_: &str, script: &str| (script == "sleep 2").then_some(Act::Sleep(Duration::from_secs(2)));
    let played = play(vec![step("nap", run("vix0", "sleep 2"))], sleeps).await;
    let timeline = played.timeline.unwrap();
    assert!(timeline.at.len() >= 4, "{:?}", timeline.at);
    assert!(timeline.at.is_sorted());
    assert_eq!(timeline.nodes["vix1"].sent_bytes.len(), timeline.at.len());
    assert_eq!(played.console_tail, BTreeMap::new(), "it passed");

    let lines: Vec<String> = (0..50)
        .map(|number| format!("[ 2.{number}] line\n"))
        .collect();
    let lines = lines.concat();
    let fails = |_: &str, script: &str| {
        (script == "false").then(|| Act::Say(1, String::new(), String::new()))
    };
    let steps = vec![step("fail", run("vix0", "false"))];
    let played = play_with(steps, |backend| backend.console(&lines), fails, |_, _| ()).await;
    assert_eq!(played.console_tail["vix0"].len(), 40);
    assert_eq!(played.console_tail["vix1"].last().unwrap(), "[ 2.49] line");
}

#[tokio::test(start_paused = true)]
async fn a_dip_is_measured_around_a_step() {
    // A block every half second, but none for five seconds after the tenth.
    let half = Duration::from_millis(500);
    let writes = move |node: &str, script: &str| {
        script.contains("read -r code <ended").then(|| {
            let begin = format!("begin {node} 4096 18 0");
            let mut lines = vec![(half, begin)];
            let pauses = [1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 10, 1, 1, 1, 1, 1, 1, 1];
            let lines_of = pauses.iter().enumerate();
            lines
                .extend(lines_of.map(|(number, pause)| (half * *pause, format!("ack {number} 1"))));
            lines.push((half, "end 18".to_owned()));
            Act::Write(lines, 0)
        })
    };
    let dip = |length: u64| {
        Action::Dip(Dip {
            of: StepLabel::parse("load").unwrap(),
            around: StepLabel::parse("nap").unwrap(),
            newcomers: None,
            depth_percent: None,
            length: Some(Duration::from_secs(length)),
            adds_percent: None,
        })
    };
    let steps = |length| {
        let mut steps = vec![
            step("load", write(&["vix0"], true)),
            step("rest", run("vix0", "sleep 5")),
            step("nap", run("vix0", "sleep 5")),
            step("done", wait("load")),
            step("dip", dip(length)),
        ];
        if let Action::Write(write) = &mut steps[0].action {
            write.count = 18;
        }
        steps
    };
    let naps = move |node: &str, script: &str| {
        (script == "sleep 5")
            .then_some(Act::Sleep(Duration::from_secs(5)))
            .or_else(|| writes(node, script))
    };
    let played = play(steps(6), naps).await;
    assert_eq!(played.outcome, Outcome::Passed, "{:?}", played.outcome);
    let [dip] = &played.logged.dips[..] else {
        panic!("{:?}", played.logged.dips);
    };
    assert_eq!((dip.of.as_str(), dip.around.as_str()), ("load", "nap"));
    assert!((dip.depth - 1.0).abs() < 1e-9, "{dip:?}");
    let played = play(steps(3), naps).await;
    insta::assert_snapshot!(played.failure().2);
    assert_eq!(played.logged.dips.len(), 1, "it is kept all the same");
}
