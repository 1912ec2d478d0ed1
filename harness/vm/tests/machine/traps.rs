//! What the channels do that a client must not stumble over.

use std::time::Duration;

use libtest_mimic::Trial;
use sanlab_vm::{Command, ExecError, Machine, MachineEvent, Status};
use serde_json::json;

use crate::bench::{Bench, SOON, spec};
use crate::trial;

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial("a_late_reply_is_forgotten", a_late_reply_is_forgotten),
        trial(
            "a_command_that_cannot_be_killed_is_left",
            a_command_that_cannot_be_killed_is_left,
        ),
        trial("noise_is_passed_over", noise_is_passed_over),
        trial("cut_output_is_an_error", cut_output_is_an_error),
        trial("commands_run_side_by_side", commands_run_side_by_side),
        trial(
            "an_agent_that_comes_back_answers",
            an_agent_that_comes_back_answers,
        ),
        trial("a_cable_is_pulled", a_cable_is_pulled),
    ]
}

/// The status of a command comes after its deadline and before the answer to the new sync.
async fn a_late_reply_is_forgotten() {
    let (bench, machine) = Bench::booted("late-reply").await;
    let deadline = Duration::from_millis(300);
    let error = machine
        .exec(Command::script("echo begun; sleep 1000"), deadline)
        .await
        .expect_err("too slow");
    let text = "run `echo begun; sleep 1000` on vix0 within 0.3 s: \
        it still ran as process 125 and was killed; the last it wrote: begun";
    assert_eq!(error.to_string(), text);
    assert!(
        matches!(&error, ExecError::TimedOut { printed, .. } if printed.stdout == b"begun\n"),
        "{error:?}"
    );
    let next = machine
        .exec(Command::script("echo well"), SOON)
        .await
        .expect("the channel is well");
    assert_eq!(next.text(), "well\n");
    bench.end(machine).await;
}

async fn a_command_that_cannot_be_killed_is_left() {
    let (bench, machine) = Bench::booted("unkillable").await;
    let deadline = Duration::from_millis(100);
    let error = machine
        .exec(Command::script("sync"), deadline)
        .await
        .expect_err("too slow");
    let text = "run `sync` on vix0 within 0.1 s: process 125 did not go away after SIGKILL";
    assert_eq!(error.to_string(), text);
    bench.end(machine).await;
}

/// Answers to syncs of somebody before us, complaints of the agent's parser, stray bytes, events of another century.
async fn noise_is_passed_over() {
    let (bench, machine) = Bench::booted("noise").await;
    let mut events = machine.events();
    let status = machine
        .qmp("query-status", json!({}), SOON)
        .await
        .expect("QEMU answers");
    assert_eq!(status["status"], "running");
    let landed = MachineEvent::Qmp {
        name: "MOON_LANDED".into(),
        data: json!({ "crew": [1, 2, 3] }),
    };
    let heard = async { while events.recv().await.expect("the machine runs") != landed {} };
    tokio::time::timeout(SOON, heard)
        .await
        .expect("unknown events are told");
    let error = machine
        .qmp("no-such-command", json!({}), SOON)
        .await
        .expect_err("QEMU refuses");
    let text = "run the QMP command no-such-command on vix0: The command no-such-command has not been found";
    assert_eq!(error.to_string(), text);
    let error = machine
        .exec(Command::script("true"), SOON)
        .await
        .expect_err("the agent refuses");
    let text = "run `true` on vix0: it exited with 126:\nthe guest agent refused: Command guest-exec has been disabled";
    assert_eq!(error.to_string(), text);
    bench.end(machine).await;
}

async fn cut_output_is_an_error() {
    let (bench, machine) = Bench::booted("cut-output").await;
    let output = machine
        .exec(Command::script("cat /dev/vda"), SOON)
        .await
        .expect("it has ended");
    assert!(output.cut && output.stdout == b"the first of many");
    let error = output.success().expect_err("it is not all there");
    let text = "run `cat /dev/vda` on vix0: it exited with 0:\n\
        the agent kept only the first 16 MiB of its output: stream it";
    assert_eq!(error.to_string(), text);
    bench.end(machine).await;
}

/// The agent answers one request at a time, but a command that runs occupies it only while it is asked.
async fn commands_run_side_by_side() {
    let (bench, machine) = Bench::booted("side-by-side").await;
    let (slow, quick) = tokio::join!(
        machine.exec(Command::script("sleep 5"), SOON),
        machine.exec(
            Command::script("true").env("LANG", "C").stdin("hello"),
            SOON
        ),
    );
    assert_eq!(slow.expect("it runs").status, Status::Exited(0));
    assert_eq!(quick.expect("it runs").status, Status::Exited(0));
    bench.end(machine).await;
}

async fn an_agent_that_comes_back_answers() {
    let (bench, machine) = Bench::booted("agent-back").await;
    let error = machine
        .exec(Command::script("killall qemu-ga"), SOON)
        .await
        .expect_err("the agent is gone");
    assert!(matches!(error, ExecError::AgentDead { .. }), "{error}");
    machine.wait_agent(SOON).await.expect("it is back");
    machine
        .exec(Command::script("true"), SOON)
        .await
        .expect("and works");
    bench.end(machine).await;
}

async fn a_cable_is_pulled() {
    let bench = Bench::new();
    let transcript = bench.dir.path().join("cable.jsonl");
    let qmp =
        |verb: &str, message: serde_json::Value| json!({ verb: {"on": "qmp", "json": message} });
    let link = |name: &str, up: bool, id: u64| {
        let arguments = json!({ "name": name, "up": up });
        qmp(
            "hear",
            json!({"execute": "set_link", "arguments": arguments, "id": id}),
        )
    };
    let unknown = json!({"class": "DeviceNotFound", "desc": "Device 'net7' not found"});
    let entries = [
        qmp("say", json!({"QMP": {}})),
        qmp("hear", json!({"execute": "qmp_capabilities", "id": 1})),
        qmp("say", json!({"return": {}, "id": 1})),
        link("net0", false, 2),
        qmp("say", json!({"return": {}, "id": 2})),
        link("net0", true, 3),
        qmp("say", json!({"return": {}, "id": 3})),
        link("net7", false, 4),
        qmp("say", json!({"error": unknown, "id": 4})),
    ];
    fs_err::write(
        &transcript,
        entries.map(|entry| entry.to_string()).join("\n"),
    )
    .expect("a file");
    let machine = Machine::start(spec(bench.dir.path(), &transcript), &bench.group)
        .await
        .expect("it starts");
    machine.set_link(0, false).await.expect("it is pulled");
    machine.set_link(0, true).await.expect("it is back");
    let error = machine.set_link(7, false).await.expect_err("no such card");
    let text = "run the QMP command set_link on vix0: Device 'net7' not found";
    assert_eq!(error.to_string(), text);
    bench.end(machine).await;
}
