//! The whole pipeline without a guest: a plan, a fleet whose QEMU plays a part, and the record that comes of it.
//!
//! Every way in which a command in a guest can go wrong must reach `record.json` as the right outcome. This program is
//! the trials as well as the QEMU that they start.

use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use fs_err as fs;
use libtest_mimic::{Arguments, Failed, Trial};
use sanlab::{RunFolder, RunRequest};
use sanlab_image::{Image, Sizes, Store, Wanted};
use sanlab_plan::Arch;
use sanlab_record::{EventKind, FailureKind, Outcome, RunRecord};
use sanlab_vm::AcceleratorWish;
use serde_json::{Value, json};

/// What one trial may take; the slowest waits for a silent agent, and then for a collection that it does not answer.
const QUICK: Duration = Duration::from_secs(75);

/// The name of a machine that is to become a template: its QEMU ends at once.
const NO_TEMPLATE: &str = "template0";

/// Scripts that a collection runs on a node when there are no layers.
const LOOKS: usize = 5;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments
        .iter()
        .any(|argument| argument == "-nodefaults" || argument == "--version")
    {
        if arguments.iter().any(|argument| argument == NO_TEMPLATE) {
            return ExitCode::FAILURE;
        }
        return fake_qemu::run(&arguments);
    }
    let Ok(program) = std::env::current_exe() else {
        return ExitCode::FAILURE;
    };
    if std::env::var_os("SANLAB_QEMU").is_none() {
        // The environment of a process with threads is better not written to: start over with the right one.
        // Fakes take no memory: they have a registry of their own, so as not to wait for real fleets.
        let runtime = std::env::temp_dir().join(format!(
            "sanlab-replay-{}",
            rustix::process::geteuid().as_raw()
        ));
        let mut again = Command::new(&program);
        again
            .args(&arguments)
            .env("SANLAB_QEMU", &program)
            .env("SANLAB_RUNTIME", runtime);
        let error = again.exec();
        sanlab::Terminal::plain().line(&format!("failed to run {}: {error}", program.display()));
        return ExitCode::FAILURE;
    }
    let trials = vec![
        trial(
            "a_command_that_ends_well_passes",
            "passed",
            "",
            Part::answered(0).heard(),
        ),
        trial(
            "a_command_that_fails_is_failed",
            "failed",
            "exited with 3",
            Part::answered(3).collected(),
        ),
        trial(
            "a_command_that_never_ends_is_failed",
            "failed",
            "still ran as process 9 and was killed",
            Part::never_ended().collected(),
        ),
        trial(
            "a_hung_guest_is_failed",
            "failed",
            "the guest hangs: its kernel obeys SysRq keys, and qemu-ga is blocked",
            Part::hung(),
        ),
        trial(
            "a_silent_agent_is_broken",
            "broken",
            "the guest agent is dead",
            Part::silent(),
        ),
        trial("a_killed_qemu_is_broken", "broken", "QEMU", Part::killed()),
        trial("a_panic_is_failed", "failed", "panic", Part::panicked()),
        trial(
            "a_qemu_that_dies_at_the_start_is_broken",
            "broken",
            "cannot set up guest memory",
            Part::stillborn(),
        ),
        Trial::test(
            "a_template_that_cannot_be_made_falls_back_to_booting",
            without_a_template,
        ),
    ];
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}

fn trial(name: &str, outcome: &'static str, words: &'static str, part: Part) -> Trial {
    Trial::test(name, move || {
        let begin = Instant::now();
        let record = perform(&part, true)?;
        let failure = record.outcome.failure();
        let message = failure.map_or("", |failure| &failure.message);
        if record.outcome.as_str() != outcome || !message.contains(words) {
            let events = serde_json::to_string_pretty(&record.events)?;
            return Err(format!(
                "expected {outcome} ({words}), got {:?}\n{events}",
                record.outcome
            )
            .into());
        }
        let hung = |kind: &EventKind| matches!(kind, EventKind::Collected { file } if file == "hang-vix0.txt");
        let kept = record.events.iter().any(|event| hung(&event.kind));
        let hangs = matches!(&record.outcome, Outcome::Failed(failure) if failure.kind == FailureKind::GuestHangs);
        if hangs && !kept {
            return Err("what was found was not kept".into());
        }
        if begin.elapsed() > QUICK {
            return Err(format!("took {:.1} s", begin.elapsed().as_secs_f64()).into());
        }
        Ok(())
    })
}

/// The guest boots, and the run goes on as if it had been cloned.
fn without_a_template() -> Result<(), Failed> {
    let record = perform(&Part::answered(0).heard(), false)?;
    let happened = |wanted: fn(&EventKind) -> bool| {
        let mut kinds = record.events.iter().map(|event| &event.kind);
        kinds.any(wanted)
    };
    let told = happened(|kind| matches!(kind, EventKind::TemplateFailed { .. }));
    let booted = happened(|kind| matches!(kind, EventKind::Booting));
    if told && booted && record.outcome == Outcome::Passed {
        return Ok(());
    }
    let events = serde_json::to_string_pretty(&record.events)?;
    Err(format!("{:?}\n{events}", record.outcome).into())
}

/// Runs the scenario against the part, and reads the record back from its file.
fn perform(part: &Part, fresh: bool) -> Result<RunRecord, Failed> {
    let folder = tempfile::tempdir()?;
    let transcript = folder.path().join("transcript.jsonl");
    let lines: Vec<String> = part.0.iter().map(Value::to_string).collect();
    fs::write(&transcript, lines.join("\n"))?;
    let empty = folder.path().join("empty");
    fs::write(&empty, "")?;
    let image = Image {
        arch: Arch::X86_64,
        digest: "0".repeat(64),
        kernel: transcript,
        initramfs: empty.clone(),
        root: empty,
        kernel_release: "6.1.0".to_owned(),
        packages: Vec::new(),
        provides: Vec::new(),
        sizes: Sizes::default(),
        vermagic: None,
        wanted: Wanted::default(),
        layer: None,
        artefacts: Vec::new(),
        setup: String::new(),
        base: None,
    };
    let scenario = r#"
        name = "replay"
        [nodes]
        vix0 = { arch = "x86_64", memory = "192MiB" }
        [[step]]
        deadline = "1s"
        run = { command = "true" }
    "#;
    let plan = sanlab_plan::parse(Path::new("replay.toml"), scenario)?;
    let run = RunFolder::create_in(&folder.path().join("runs"))?;
    let mut request = RunRequest {
        // A part is a boot; nobody plays a guest that is made into a template.
        fresh,
        ..RunRequest::new(&run)
    };
    request.options.accelerator = AcceleratorWish::Tcg;
    let (events, _nobody_listens) = tokio::sync::mpsc::unbounded_channel();
    let images = plan
        .nodes
        .iter()
        .map(|node| (node.name.clone(), image.clone()))
        .collect();
    let store = Store::at(&folder.path().join("store"))?;
    let runtime = tokio::runtime::Runtime::new()?;
    let (record, path) = runtime.block_on(sanlab::run_on(store, images, &plan, request, events))?;
    let kept: RunRecord = serde_json::from_slice(&fs::read(&path)?)?;
    assert_eq!(
        (&kept.outcome, kept.events.len()),
        (&record.outcome, record.events.len())
    );
    Ok(kept)
}

/// What the QEMU says and hears, line by line.
struct Part(Vec<Value>);

impl Part {
    /// A boot, the commands that make the guest a member, and the step's command on its way.
    fn booted() -> Self {
        let mut part = Self(Vec::new());
        part.say("qmp", json!({"QMP": {"version": {"qemu": {"major": 7, "minor": 2, "micro": 22}, "package": ""}, "capabilities": []}}));
        part.hear(
            "qmp",
            json!({"execute": "qmp_capabilities", "id": "negotiate"}),
        );
        part.say("qmp", json!({"return": {}, "id": "negotiate"}));
        part.sync();
        // Identity, and the loudness of the kernel's log.
        part.command(0);
        part.command(0);
        part.hear("agent", json!({"execute": "guest-exec", "id": "step"}));
        part
    }

    fn answered(code: u8) -> Self {
        let mut part = Self::booted();
        part.say("agent", json!({"return": {"pid": 9}, "id": "step"}));
        part.status(9, code);
        part
    }

    /// The answer to the question for its state comes when it is too late; then it is killed.
    fn never_ended() -> Self {
        let mut part = Self::booted();
        part.say("agent", json!({"return": {"pid": 9}, "id": "step"}));
        part.hear(
            "agent",
            json!({"execute": "guest-exec-status", "arguments": {"pid": 9}, "id": "late"}),
        );
        part.hear_sync();
        part.say("agent", json!({"return": {"exited": false}, "id": "late"}));
        part.answer_sync();
        part.command(0);
        let killed = json!({"return": {"exited": true, "signal": 9}, "id": "killed"});
        part.hear(
            "agent",
            json!({"execute": "guest-exec-status", "arguments": {"pid": 9}, "id": "killed"}),
        );
        part.say("agent", killed);
        part
    }

    fn silent() -> Self {
        Self::booted()
    }

    /// Its kernel lists an agent that is blocked.
    fn hung() -> Self {
        let mut part = Self::booted();
        part.qmp("query-status", &json!({"status": "running"}));
        part.qmp("human-monitor-command", &json!("CPU#0"));
        for (key, says) in [
            ("8", "Changing Loglevel"),
            ("l", "Show backtrace of all active CPUs"),
            ("w", "Show Blocked State"),
            (
                "t",
                "Show State\r\ntask:qemu-ga         state:D stack:0     pid:301",
            ),
            ("m", "Show Memory"),
            ("7", "Loglevel set to 7"),
        ] {
            part.qmp("chardev-send-break", &json!({}));
            let says = format!("[   60.0] sysrq: {says}\r\n");
            let console = |verb: &str, text: &str| json!({ verb: {"on": "console", "text": text}});
            part.0.extend([console("hear", key), console("say", &says)]);
        }
        part
    }

    fn killed() -> Self {
        let mut part = Self::booted();
        part.0.push(json!("killed"));
        part
    }

    fn panicked() -> Self {
        let mut part = Self::booted();
        let line = "[   16.324180] Kernel panic - not syncing: sysrq triggered crash\r\n";
        part.0.push(json!({"say": {"on": "console", "text": line}}));
        part.say("qmp", json!({"event": "GUEST_PANICKED", "data": {"action": "pause"}, "timestamp": {"seconds": 0, "microseconds": 0}}));
        part
    }

    fn stillborn() -> Self {
        Self(vec![
            json!({"stderr": "qemu: cannot set up guest memory\n"}),
            json!({"exit": 1}),
        ])
    }

    /// The mark on the console up to which it is heard at the end of a run that has passed so far.
    fn heard(mut self) -> Self {
        let mark = "[   61.0] sanlab hears up to mark 1\r\n";
        self.0.push(json!({"say": {"on": "console", "text": mark}}));
        self.command(0);
        self
    }

    /// The kernel log and so on, when the outcome is known.
    fn collected(mut self) -> Self {
        for _ in 0..LOOKS {
            self.command(0);
        }
        self
    }

    /// A request of QEMU, and its answer.
    fn qmp(&mut self, request: &str, answer: &Value) {
        let id = self.0.len();
        self.hear("qmp", json!({"execute": request, "id": id}));
        self.say("qmp", json!({"return": answer, "id": id}));
    }

    fn command(&mut self, code: u8) {
        let id = self.0.len();
        self.hear("agent", json!({"execute": "guest-exec", "id": id}));
        self.say("agent", json!({"return": {"pid": id}, "id": id}));
        self.status(id, code);
    }

    fn status(&mut self, pid: usize, code: u8) {
        let id = self.0.len();
        self.hear(
            "agent",
            json!({"execute": "guest-exec-status", "arguments": {"pid": pid}, "id": id}),
        );
        self.say(
            "agent",
            json!({"return": {"exited": true, "exitcode": code}, "id": id}),
        );
    }

    fn sync(&mut self) {
        self.hear_sync();
        self.answer_sync();
    }

    fn hear_sync(&mut self) {
        let sync =
            json!({"execute": "guest-sync-delimited", "arguments": {"id": "sync"}, "id": "sync"});
        self.0
            .push(json!({"hear": {"on": "agent", "json": sync, "delimited": true}}));
    }

    fn answer_sync(&mut self) {
        let answer = json!({"return": "sync", "id": "sync"});
        self.0
            .push(json!({"say": {"on": "agent", "json": answer, "delimited": true}}));
    }

    fn hear(&mut self, channel: &str, message: Value) {
        self.line("hear", channel, message);
    }

    fn say(&mut self, channel: &str, message: Value) {
        self.line("say", channel, message);
    }

    fn line(&mut self, verb: &str, channel: &str, message: Value) {
        let mut line = json!({verb: {"on": channel}});
        line[verb]["json"] = message;
        self.0.push(line);
    }
}
