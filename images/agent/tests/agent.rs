//! The agent at the end of a socket pair, with this host's programs.

use std::collections::BTreeMap;
use std::io::{ErrorKind, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use sanlab_agent::Agent;
use sanlab_agent::frame::{
    Decoder, Ending, Frame, Job, LONGEST, Launch, PIECE, Stream, TerminalSize, WINDOW,
};

/// For anything that is awaited.
const PATIENCE: Duration = Duration::from_secs(10);
/// For what must not come.
const QUIET: Duration = Duration::from_millis(200);

/// The host's end.
struct Host {
    stream: UnixStream,
    decoder: Decoder,
    /// What every command has written so far.
    outputs: BTreeMap<(Job, bool), Vec<u8>>,
}

impl Host {
    fn new() -> Self {
        let (ours, theirs) = UnixStream::pair().expect("a socket pair");
        let agent = Agent::new(theirs.into()).expect("it serves");
        // It ends with the test.
        std::thread::spawn(move || agent.serve().expect("it goes on"));
        let mut host = Self::at(ours);
        host.say(&Frame::Hello { nonce: 1 });
        assert_eq!(host.next(), Frame::Pong { nonce: 1 });
        host
    }

    fn at(stream: UnixStream) -> Self {
        stream.set_read_timeout(Some(PATIENCE)).expect("a socket");
        Self {
            stream,
            decoder: Decoder::default(),
            outputs: BTreeMap::new(),
        }
    }

    fn say(&mut self, frame: &Frame) {
        let mut bytes = Vec::new();
        frame.encode(&mut bytes);
        self.stream.write_all(&bytes).expect("the agent hears");
    }

    fn hear(&mut self) -> Option<Frame> {
        loop {
            if let Some(frame) = self.decoder.next() {
                return Some(frame);
            }
            let mut bytes = [0; 1000];
            match self.stream.read(&mut bytes) {
                Ok(length) => self.decoder.push(&bytes[..length]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return None,
                Err(error) => panic!("{error}"),
            }
        }
    }

    fn next(&mut self) -> Frame {
        let heard = self.hear();
        heard.unwrap_or_else(|| panic!("the agent has nothing more to say after {:?}", self.told()))
    }

    /// Nothing comes for a while.
    fn is_silent(&mut self) -> bool {
        self.stream.set_read_timeout(Some(QUIET)).expect("a socket");
        let heard = self.hear();
        self.stream
            .set_read_timeout(Some(PATIENCE))
            .expect("a socket");
        heard.is_none()
    }

    fn run(&mut self, job: Job, argv: &[&str], terminal: Option<TerminalSize>) {
        let launch = Launch {
            argv: argv.iter().map(|word| word.as_bytes().to_vec()).collect(),
            environment: vec![b"GREETING=hello=there".to_vec()],
            terminal,
        };
        self.say(&Frame::Run { job, launch });
    }

    fn shell(&mut self, job: Job, script: &str) {
        self.run(job, &["sh", "-c", script], None);
    }

    fn input(&mut self, job: Job, bytes: &[u8]) {
        for piece in bytes.chunks(PIECE) {
            let bytes = piece.to_vec();
            self.say(&Frame::Input { job, bytes });
        }
    }

    /// Takes frames in, and gives credit, until one is what is wanted.
    fn until(&mut self, wanted: impl Fn(&Self, &Frame) -> bool) -> Frame {
        let end = Instant::now() + PATIENCE;
        loop {
            assert!(Instant::now() < end, "waited too long: {:?}", self.told());
            let frame = self.next();
            if let Frame::Output { job, stream, bytes } = &frame {
                let stderr = *stream == Stream::Stderr;
                self.outputs
                    .entry((*job, stderr))
                    .or_default()
                    .extend(bytes);
                let (job, bytes) = (*job, u32::try_from(bytes.len()).expect("a piece"));
                self.say(&Frame::Credit { job, bytes });
            }
            if wanted(self, &frame) {
                return frame;
            }
        }
    }

    fn ending(&mut self, job: Job) -> Ending {
        let ended = self
            .until(|_, frame| matches!(frame, Frame::Ended { job: which, .. } if *which == job));
        match ended {
            Frame::Ended { ending, .. } => ending,
            other => panic!("{other:?}"),
        }
    }

    /// What all commands have written, for messages.
    fn told(&self) -> Vec<String> {
        let outputs = self.outputs.values();
        outputs
            .map(|bytes| String::from_utf8_lossy(bytes).into_owned())
            .collect()
    }

    fn text(&self, job: Job, stderr: bool) -> String {
        let bytes = self.outputs.get(&(job, stderr));
        String::from_utf8(bytes.cloned().unwrap_or_default()).expect("text")
    }

    fn until_printed(&mut self, job: Job, words: &str) {
        self.until_text(job, |text| text.contains(words));
    }

    fn until_text(&mut self, job: Job, fits: impl Fn(&str) -> bool) {
        if !fits(&self.text(job, false)) {
            self.until(|host, _| fits(&host.text(job, false)));
        }
    }
}

#[test]
fn a_command_with_input_outputs_and_a_code() {
    let mut host = Host::new();
    host.shell(1, "cat; echo $GREETING >&2; exit 3");
    let Frame::Started { job: 1, pid } = host.next() else {
        panic!("not started");
    };
    assert!(pid > 1);
    host.input(1, b"some words\n");
    host.say(&Frame::InputEnd { job: 1 });
    assert_eq!(host.ending(1), Ending::Exited(3));
    assert_eq!(host.text(1, false), "some words\n");
    assert_eq!(host.text(1, true), "hello=there\n");
}

#[test]
fn what_cannot_be_started_is_refused() {
    let mut host = Host::new();
    host.run(1, &["/no/such/program"], None);
    let Frame::Refused { job: 1, reason } = host.next() else {
        panic!("not refused");
    };
    assert!(reason.contains("No such file"), "{reason}");
    host.run(2, &[], None);
    assert!(matches!(host.next(), Frame::Refused { job: 2, .. }));
}

#[test]
fn output_comes_while_the_command_runs() {
    let mut host = Host::new();
    host.shell(1, "echo first; read -r line; echo $line");
    host.until_printed(1, "first\n");
    host.input(1, b"second\n");
    assert_eq!(host.ending(1), Ending::Exited(0));
    assert_eq!(host.text(1, false), "first\nsecond\n");
}

/// It stops when its window is full, another goes on, and nothing of it is lost.
#[test]
fn a_loud_command_waits_and_holds_up_nobody() {
    const LOUD: usize = 3 << 20;
    let mut host = Host::new();
    host.shell(1, &format!("head -c {LOUD} /dev/zero; echo done >&2"));
    let mut heard = 0;
    while heard < WINDOW {
        if let Frame::Output { bytes, .. } = host.next() {
            heard += u32::try_from(bytes.len()).unwrap();
        }
    }
    assert!(host.is_silent(), "it said more than its window holds");
    host.shell(2, "echo quiet");
    assert_eq!(host.ending(2), Ending::Exited(0));
    assert_eq!(host.text(2, false), "quiet\n");
    host.say(&Frame::Credit {
        job: 1,
        bytes: heard,
    });
    assert_eq!(host.ending(1), Ending::Exited(0));
    let rest = host.outputs[&(1, false)].len();
    assert_eq!(rest + usize::try_from(heard).unwrap(), LOUD);
    assert_eq!(host.text(1, true), "done\n");
}

#[test]
fn input_is_credited_when_it_is_taken() {
    let mut host = Host::new();
    host.shell(1, "read -r go; wc -c");
    let all = [b"go\n".to_vec(), vec![b'x'; 1 << 20]].concat();
    let mut window = usize::try_from(WINDOW).unwrap();
    let mut sent = 0;
    while sent < all.len() {
        let next = (all.len() - sent).min(window);
        host.input(1, &all[sent..sent + next]);
        (sent, window) = (sent + next, window - next);
        let credit = host.until(|_, frame| matches!(frame, Frame::Credit { .. }));
        if let Frame::Credit { job: 1, bytes } = credit {
            window += usize::try_from(bytes).unwrap();
        }
    }
    host.say(&Frame::InputEnd { job: 1 });
    assert_eq!(host.ending(1), Ending::Exited(0));
    assert_eq!(host.text(1, false).trim(), (1 << 20).to_string());
    // Nobody reads: it is credited all the same.
    host.shell(2, "exec <&-; echo closed; sleep 60");
    host.until_printed(2, "closed");
    host.input(2, b"for nobody");
    let credit = Frame::Credit { job: 2, bytes: 10 };
    assert_eq!(
        host.until(|_, frame| matches!(frame, Frame::Credit { job: 2, .. })),
        credit
    );
    host.say(&Frame::Signal { job: 2, number: 9 });
    assert_eq!(host.ending(2), Ending::Signalled(9));
}

#[test]
fn a_kill_is_for_the_whole_session() {
    let mut host = Host::new();
    // In a process group of its own, as of a job in a shell.
    host.shell(1, "set -m; sleep 60 & echo $!; wait");
    host.until_printed(1, "\n");
    let pid = host.text(1, false).trim().to_owned();
    host.say(&Frame::Signal { job: 1, number: 9 });
    assert_eq!(host.ending(1), Ending::Signalled(9));
    is_gone(&pid);
}

/// A process that is no more, or waits to be reaped.
fn is_gone(pid: &str) {
    let end = Instant::now() + PATIENCE;
    loop {
        let stat = fs_err::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        if stat.is_empty() || stat.contains(") Z ") {
            return;
        }
        assert!(Instant::now() < end, "{stat}");
        std::thread::yield_now();
    }
}

#[test]
fn a_command_that_leaves_a_process_behind_has_ended() {
    let mut host = Host::new();
    host.shell(1, "sleep 60 & echo $!");
    assert_eq!(host.ending(1), Ending::Exited(0));
    let pid = host.text(1, false).trim().to_owned();
    assert!(std::path::Path::new("/proc").join(&pid).exists());
    host.shell(2, &format!("kill {pid}"));
    assert_eq!(host.ending(2), Ending::Exited(0));
}

const SIZE: TerminalSize = TerminalSize {
    rows: 30,
    columns: 100,
};

#[test]
fn a_terminal_has_a_size_that_changes() {
    let mut host = Host::new();
    host.run(
        1,
        &["sh", "-c", "stty size; tty; read -r line; stty size"],
        Some(SIZE),
    );
    host.until_printed(1, "30 100\r\n");
    host.until_printed(1, "/dev/pts/");
    let size = TerminalSize {
        rows: 50,
        columns: 120,
    };
    host.say(&Frame::Resize { job: 1, size });
    host.input(1, b"\r");
    assert_eq!(host.ending(1), Ending::Exited(0));
    assert!(
        host.text(1, false).ends_with("50 120\r\n"),
        "{:?}",
        host.outputs
    );
}

#[test]
fn control_c_is_for_the_foreground() {
    let mut host = Host::new();
    let script = "trap 'echo interrupted' INT; sh -c 'echo ready; exec sleep 60'; echo goes on";
    host.run(1, &["bash", "-c", script], Some(SIZE));
    host.until_printed(1, "ready");
    host.input(1, b"\x03");
    assert_eq!(host.ending(1), Ending::Exited(0));
    let text = host.text(1, false);
    assert!(text.ends_with("interrupted\r\ngoes on\r\n"), "{text}");
}

#[test]
fn an_interactive_shell_has_job_control_and_ends_with_its_input() {
    let mut host = Host::new();
    let argv = ["bash", "--norc", "--noprofile", "-i"];
    host.run(1, &argv, Some(SIZE));
    host.input(1, b"PS1='$((6*7)): '\r");
    host.until_printed(1, "42: ");
    host.input(1, b"sh -c 'echo begun; exec sleep 60'\r");
    host.until_printed(1, "begun\r\n");
    host.input(1, b"\x1a");
    host.until_printed(1, "Stopped");
    host.input(1, b"kill -9 %1; disown; echo over$((1+1))\r");
    host.until_printed(1, "over2");
    // Bash edits lines by then, and takes the end of input for what it is.
    host.until_text(1, |text| text.ends_with("42: "));
    host.say(&Frame::InputEnd { job: 1 });
    assert_eq!(host.ending(1), Ending::Exited(0));
}

#[test]
fn a_terminal_that_is_closed_ends_what_runs_on_it() {
    let mut host = Host::new();
    host.run(1, &["sh", "-c", "echo $$; cat"], Some(SIZE));
    host.until_printed(1, "\n");
    let pid = host.text(1, false).trim().to_owned();
    host.say(&Frame::Hello { nonce: 7 });
    host.until(|_, frame| *frame == Frame::Pong { nonce: 7 });
    is_gone(&pid);
}

/// As after a fork: the agent has read one half of a frame, and sent one half of another.
#[test]
fn a_new_host_begins_anew() {
    let mut host = Host::new();
    host.shell(1, "yes");
    let half = Frame::Input {
        job: 1,
        bytes: vec![b'x'; 100],
    };
    let mut bytes = Vec::new();
    half.encode(&mut bytes);
    host.stream.write_all(&bytes[..50]).unwrap();
    let mut begun = [0; 77];
    host.stream.read_exact(&mut begun).unwrap();

    let mut next = Host::at(host.stream);
    // What was torn for it is no frame either.
    next.stream.write_all(&[0]).unwrap();
    next.say(&Frame::Hello { nonce: 2 });
    while next.next() != (Frame::Pong { nonce: 2 }) {}
    next.shell(1, "echo anew");
    assert_eq!(next.ending(1), Ending::Exited(0));
    assert_eq!(next.text(1, false), "anew\n");
}

#[test]
fn a_ping_disturbs_nobody() {
    let mut host = Host::new();
    host.shell(1, "read -r line; echo $line");
    host.say(&Frame::Ping { nonce: 9 });
    host.until(|_, frame| *frame == Frame::Pong { nonce: 9 });
    host.input(1, b"still there\n");
    assert_eq!(host.ending(1), Ending::Exited(0));
    assert_eq!(host.text(1, false), "still there\n");
}

#[test]
fn frames_survive_any_cut_and_any_bytes() {
    let bytes: Vec<u8> = (0..2000_u32)
        .map(|n| u8::try_from(n % 7 % 256).unwrap())
        .collect();
    let long = vec![b'x'; 254];
    let frames = [
        Frame::Hello { nonce: u64::MAX },
        Frame::Ping { nonce: 0 },
        Frame::Pong { nonce: 256 },
        Frame::Run {
            job: 300,
            launch: Launch {
                argv: vec![Vec::new(), long.clone(), [long.as_slice(), &[0]].concat()],
                environment: vec![b"A=".to_vec()],
                terminal: Some(SIZE),
            },
        },
        Frame::Input { job: 0, bytes },
        Frame::InputEnd { job: 1 },
        Frame::Resize { job: 1, size: SIZE },
        Frame::Signal { job: 1, number: 2 },
        Frame::Credit {
            job: 1,
            bytes: WINDOW,
        },
        Frame::Started {
            job: 1,
            pid: 65_536,
        },
        Frame::Refused {
            job: 1,
            reason: "nö".to_owned(),
        },
        Frame::Output {
            job: 1,
            stream: Stream::Stderr,
            bytes: long,
        },
        Frame::Ended {
            job: 1,
            ending: Ending::Signalled(15),
        },
        Frame::Ended {
            job: 1,
            ending: Ending::Exited(0),
        },
    ];
    let mut sent = Vec::new();
    for frame in &frames {
        frame.encode(&mut sent);
    }
    assert_eq!(sent.split(|byte| *byte == 0).count() - 1, frames.len());
    for cut in [1, 2, 3, 100, sent.len()] {
        let mut decoder = Decoder::default();
        for piece in sent.chunks(cut) {
            decoder.push(piece);
        }
        assert_eq!(decoder.collect::<Vec<_>>(), frames);
    }
    // What is torn anywhere, or too long, is nothing, and the next is heard.
    let mut torn = Vec::new();
    frames[4].encode(&mut torn);
    for length in 0..torn.len() - 1 {
        let mut decoder = Decoder::default();
        decoder.push(&torn[..length]);
        decoder.push(&[0]);
        decoder.push(&sent);
        assert_eq!(decoder.count(), frames.len(), "torn after {length} bytes");
    }
    let mut decoder = Decoder::default();
    decoder.push(&vec![1; 3 * LONGEST]);
    decoder.push(&[0]);
    decoder.push(&sent);
    assert_eq!(decoder.count(), frames.len());
}
