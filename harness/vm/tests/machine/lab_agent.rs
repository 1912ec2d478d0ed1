//! The lab's agent in real guests: what it runs, how fast it answers, and that it is there again in a fork.

use std::time::{Duration, Instant};

use guest_trials::Suite;
use sanlab_vm::frame::{Launch, TerminalSize};
use sanlab_vm::{Access, Arch, Command, GuestSaid, Machine, OutputStream, Ram, Status};

use crate::BOOTED;
use crate::bench::{Bench, SOON};
use crate::guests::{files, guest, guest_trial, say};

/// Of each kind.
const ROUND_TRIPS: usize = 40;

pub(crate) fn add_to(suite: &mut Suite) {
    guest_trial(suite, "an_x86_guest_is_looked_into", || {
        looked_into(Arch::X86)
    });
    guest_trial(suite, "an_x86_64_guest_is_looked_into", || {
        looked_into(Arch::X86_64)
    });
}

async fn looked_into(arch: Arch) {
    let bench = Bench::new();
    let (ram, disk) = files(&bench);
    let state = bench.dir.path().join("state");
    let kept = Ram::Kept(ram.clone());
    let spec = guest(&bench, arch, "template", kept, (&disk, Access::Written)).await;
    let template = Machine::start(spec, &bench.group).await.expect("it starts");
    template
        .wait_agent(BOOTED)
        .await
        .expect("QEMU's agent answers");
    template.ping(SOON).await.expect("the lab's agent answers");
    let (status, out) = ended(
        &template,
        &["sh", "-c", "read -r line; echo \"<$line>\"; exit 3"],
        b"words\n",
    )
    .await;
    assert_eq!((status, out.as_str()), (Status::Exited(3), "<words>\n"));
    a_terminal(&template).await;
    figures(&template, arch).await;

    // It writes without end while the guest is saved, and must not run on in its forks.
    let mut loud = template
        .launch(launch(&["yes", "before"]), SOON)
        .await
        .expect("it starts");
    loud.next().await.expect("it writes");
    template.stop().await.expect("it stands still");
    let saved = template.save(&state, SOON).await.expect("it is saved");
    drop(loud);
    template.shutdown(SOON).await.expect("it ends");
    for name in ["one", "two"] {
        let forked = Ram::Forked(ram.clone());
        let spec = guest(&bench, arch, name, forked, (&disk, Access::Forked)).await;
        let fork = Machine::load(spec, &state, &saved, &bench.group)
            .await
            .expect("it goes on");
        fork.cont().await.expect("it runs");
        let (status, out) = ended(&fork, &["echo", name], b"").await;
        assert_eq!((status, out), (Status::Exited(0), format!("{name}\n")));
        assert_eq!(say(&fork, "pidof yes || true").await, "");
        fork.shutdown(SOON).await.expect("it ends");
    }
    bench.group.close().await.expect("nothing is left");
}

fn launch(argv: &[&str]) -> Launch {
    Launch {
        argv: argv.iter().map(|word| word.as_bytes().to_vec()).collect(),
        ..Launch::default()
    }
}

/// Runs a command with that input; its end and its standard output.
async fn ended(machine: &Machine, argv: &[&str], input: &[u8]) -> (Status, String) {
    let process = machine.launch(launch(argv), SOON).await;
    let mut process = process.unwrap_or_else(|error| panic!("failed to {error}"));
    process.input().write(input).await;
    process.input().end();
    let mut out = Vec::new();
    loop {
        match process.next().await.expect("the guest is well") {
            GuestSaid::Wrote(OutputStream::Stdout, bytes) => out.extend(bytes),
            GuestSaid::Wrote(OutputStream::Stderr, _) => {}
            GuestSaid::Ended(status) => {
                return (status, String::from_utf8_lossy(&out).into_owned());
            }
        }
    }
}

/// One that is resized, and on which Ctrl-C ends what runs in the foreground.
async fn a_terminal(machine: &Machine) {
    let size = |rows| TerminalSize { rows, columns: 100 };
    let script = "stty size; read -r line; stty size; sleep 1000";
    let launch = Launch {
        terminal: Some(size(30)),
        ..launch(&["sh", "-c", script])
    };
    let mut process = machine.launch(launch, SOON).await.expect("it starts");
    let input = process.input();
    let mut heard = String::new();
    let mut typed = 0;
    let status = loop {
        match process.next().await.expect("the guest is well") {
            GuestSaid::Wrote(_, bytes) => heard += &String::from_utf8_lossy(&bytes),
            GuestSaid::Ended(status) => break status,
        }
        if typed == 0 && heard.contains("30 100\r\n") {
            typed = 1;
            input.resize(size(50));
            input.write(b"\r").await;
        } else if typed == 1 && heard.contains("50 100\r\n") {
            typed = 2;
            input.write(b"\x03").await;
        }
    };
    assert_eq!(status, Status::Signalled(2), "{heard}");
}

/// Shown with `--nocapture`. What they are depends on the host; that an answer is pushed does not.
#[expect(clippy::print_stdout, reason = "a test's output goes there")]
async fn figures(machine: &Machine, arch: Arch) {
    let mut figures = Vec::new();
    for what in ["ping", "command", "command by QEMU's agent"] {
        let mut times = Vec::new();
        for _ in 0..ROUND_TRIPS {
            let begin = Instant::now();
            match what {
                "ping" => machine.ping(SOON).await.expect("it answers"),
                "command" => drop(ended(machine, &["/bin/busybox", "true"], b"").await),
                _ => {
                    let command = Command::program("/bin/busybox", ["true"]);
                    machine.exec(command, SOON).await.expect("it runs");
                }
            }
            times.push(begin.elapsed());
        }
        times.sort();
        figures.push((what, times[ROUND_TRIPS / 2]));
    }
    for (what, median) in &figures {
        println!("{arch}: {what}: {:.1} ms", median.as_secs_f64() * 1e3);
    }
    assert!(figures[1].1 < Duration::from_secs(1), "{figures:?}");
}
