//! Output that is streamed while a command runs, and the console.

use libtest_mimic::Trial;
use sanlab_vm::{Command, Machine, MachineEvent, OutputLine, OutputStream, Status};
use serde_json::json;
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::bench::{Bench, SOON, spec};
use crate::trial;

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial("lines_come_while_it_runs", lines_come_while_it_runs),
        trial("no_console_line_is_lost", no_console_line_is_lost),
    ]
}

async fn lines_come_while_it_runs() {
    let (bench, machine) = Bench::booted("stream").await;
    let (sender, mut lines) = mpsc::unbounded_channel();
    let script = "echo one; sleep 1; echo two >&2; printf three; exit 4";
    let output = machine
        .exec(Command::script(script).stream(sender), SOON)
        .await
        .expect("it runs");
    assert_eq!(
        (output.status, output.text().as_str()),
        (Status::Exited(4), "one\nthree")
    );
    assert_eq!(output.stderr, b"two\n");
    let mut heard = Vec::new();
    while let Some(OutputLine { stream, text }) = lines.recv().await {
        heard.push((stream, text));
    }
    let expected = [
        (OutputStream::Stdout, "one"),
        (OutputStream::Stderr, "two"),
        (OutputStream::Stdout, "three"),
    ];
    assert_eq!(
        heard,
        expected.map(|(stream, text)| (stream, text.to_owned()))
    );
    bench.end(machine).await;
}

/// The first line is there before QEMU has said anything else, and then many come faster than anybody takes them.
async fn no_console_line_is_lost() {
    const LINES: usize = 100_000;
    let bench = Bench::new();
    let transcript = bench.dir.path().join("burst.jsonl");
    let console = |text: String| json!({"say": {"on": "console", "text": text}});
    let qmp =
        |verb: &str, message: serde_json::Value| json!({ verb: {"on": "qmp", "json": message} });
    let burst: Vec<_> = (1..LINES).map(|n| format!("line {n}\r\n")).collect();
    let entries = [
        console("line 0\r\n".to_owned()),
        qmp("say", json!({"QMP": {}})),
        qmp("hear", json!({"execute": "qmp_capabilities", "id": 1})),
        qmp("say", json!({"return": {}, "id": 1})),
        console(burst.concat()),
        json!({"exit": 0}),
    ];
    fs_err::write(
        &transcript,
        entries.map(|entry| entry.to_string()).join("\n"),
    )
    .expect("a file");
    let began = Instant::now();
    let machine = Machine::start(spec(bench.dir.path(), &transcript), &bench.group)
        .await
        .expect("it starts");
    let mut events = machine.events();
    let (sender, mut lines) = mpsc::unbounded_channel();
    machine
        .console()
        .deliver(move |line| drop(sender.send((line.at, line.text))));
    while !matches!(events.recv().await, Ok(MachineEvent::Exited(_))) {}
    let mut last = began;
    for n in 0..LINES {
        let (at, line) = lines.try_recv().expect("it came before the end was known");
        assert_eq!(line, format!("line {n}"));
        assert!(last <= at);
        last = at;
    }
    assert!(lines.try_recv().is_err());
    bench.end(machine).await;
}
