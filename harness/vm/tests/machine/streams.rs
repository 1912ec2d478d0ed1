//! Output that is streamed while a command runs.

use libtest_mimic::Trial;
use sanlab_vm::{Command, OutputLine, OutputStream, Status};
use tokio::sync::mpsc;

use crate::bench::{Bench, SOON};
use crate::trial;

pub(crate) fn trials() -> Vec<Trial> {
    vec![trial("lines_come_while_it_runs", lines_come_while_it_runs)]
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
