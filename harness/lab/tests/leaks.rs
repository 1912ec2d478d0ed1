//! Whatever ends the lab, nothing of it stays: no QEMU, no janitor, no socket, no temporary folder.
//!
//! Real guests in a child process, which is ended by SIGKILL at random moments, by Ctrl-C, by SIGTERM and by a panic.
//! `SANLAB_SEED` repeats a choice of moments, `SANLAB_KILLS` says how many there are of each kind of run (10 unless
//! given): one that builds everything, one that makes templates and a checkpoint, one that forks.

use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, ExitStatus};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use fs_err as fs;
use libtest_mimic::{Arguments, Completion, Failed, Trial};
use rustix::process::{Pid, Signal, kill_process_group};
use sanlab::{Lab, Order, Terminal, scenario};
use sanlab_image::{Kind, Store};
use sanlab_record::EventKind;

/// This test as a child: runs the scenario and panics in the midst of it.
const PANIC: &str = "panic-in-mid-run";

/// For the janitor of a killed lab, on a busy machine.
const CLEAN_UP: Duration = Duration::from_secs(20);

/// For a whole run of the scenario.
const WHOLE_RUN: Duration = Duration::from_secs(240);

/// What the lab writes when both QEMUs have been started, and when the guests work.
const BOOTING: &str = "vix1 boots";
const WORKING: &str = "layer nbd: ";

fn main() -> ExitCode {
    if std::env::args().nth(1).as_deref() == Some(PANIC) {
        panic_in_mid_run();
    }
    let mut arguments = Arguments::from_args();
    // Each needs the whole machine.
    arguments.test_threads = arguments.test_threads.or(Some(1));
    // A fleet that is still booting is dropped: its processes may outlive the lab by the time that dying takes. One
    // that runs is ended in order, and there is nothing to wait for.
    let trial = |name: &str, attempt: fn() -> Result<(), Failed>| {
        Trial::ignorable_test(name, move || real(attempt))
    };
    let trials = vec![
        trial(
            "sigkill_at_random_moments_leaves_nothing",
            sigkill_of_fresh_runs,
        ),
        trial(
            "sigkill_while_templates_and_checkpoints_are_made_leaves_nothing",
            sigkill_of_makers,
        ),
        trial("sigkill_of_forks_leaves_nothing", sigkill_of_forks),
        trial("ctrl_c_while_booting_leaves_nothing", || {
            interrupted(Signal::INT, BOOTING, CLEAN_UP)
        }),
        trial("ctrl_c_leaves_nothing", || {
            interrupted(Signal::INT, WORKING, Duration::ZERO)
        }),
        trial("sigterm_leaves_nothing", || {
            interrupted(Signal::TERM, WORKING, Duration::ZERO)
        }),
        trial("a_second_ctrl_c_leaves_nothing", interrupted_twice),
        trial("a_panic_leaves_nothing", panic_leaves_nothing),
    ];
    libtest_mimic::run(&arguments, trials).exit_code()
}

fn real(attempt: impl FnOnce() -> Result<(), Failed>) -> Result<Completion, Failed> {
    let lab = Lab::find(&project())?;
    if let Some(lacking) = lab.cannot_run_guests()? {
        return Ok(Completion::ignored_with(lacking));
    }
    // Once, so that no moment falls into the building of images.
    lab.images(&scenario::load(&two_nodes())?, &|_| ())?;
    attempt().map(|()| Completion::Completed)
}

/// Everything is built, nothing is kept.
fn sigkill_of_fresh_runs() -> Result<(), Failed> {
    let length = undisturbed(&Den::new()?, fresh())?;
    sigkill_at_random_moments(length, fresh, Den::new)
}

/// Each finds an empty store, and is to leave one that is good.
fn sigkill_of_makers() -> Result<(), Failed> {
    let length = undisturbed(&Den::new()?, sanlab())?;
    sigkill_at_random_moments(length, sanlab, Den::new)?;
    let den = Den::new()?;
    let moment = length.mul_f64(0.9);
    let mut child = den.start(sanlab())?;
    let _ = ended(&mut child, moment)?;
    child.kill()?;
    child.wait()?;
    // What a killed one left in the store does not trouble the next.
    undisturbed(&den, sanlab()).map(|_| ())
}

/// All find one store with a checkpoint, which stays good.
fn sigkill_of_forks() -> Result<(), Failed> {
    let pantry = tempfile::Builder::new().prefix("leak-").tempdir()?;
    let den = || Den::with_store(pantry.path().to_owned());
    undisturbed(&den()?, sanlab())?;
    let length = undisturbed(&den()?, sanlab())?;
    sigkill_at_random_moments(length, sanlab, den)?;
    let last = den()?;
    undisturbed(&last, sanlab())?;
    if last.said().contains("forked from") {
        Ok(())
    } else {
        Err(format!("the last run was no fork\n{}", last.said()).into())
    }
}

/// How long a run takes that nobody disturbs; it must leave nothing either.
fn undisturbed(den: &Den, command: Command) -> Result<Duration, Failed> {
    let begin = Instant::now();
    let mut whole = den.start(command)?;
    let status = den.wait(&mut whole, WHOLE_RUN)?;
    let length = begin.elapsed();
    if !status.success() {
        return Err(format!("the undisturbed run ended with {status}\n{}", den.said()).into());
    }
    den.expect_empty("an undisturbed run", Duration::ZERO)?;
    Ok(length)
}

fn sigkill_at_random_moments(
    length: Duration,
    command: fn() -> Command,
    den: impl Fn() -> Result<Den, Failed>,
) -> Result<(), Failed> {
    let seed = match std::env::var("SANLAB_SEED") {
        Ok(seed) => seed.parse()?,
        Err(_) => u64::try_from(
            SystemTime::now().duration_since(UNIX_EPOCH)?.as_nanos() & u128::from(u64::MAX),
        )?,
    };
    let kills: u32 = std::env::var("SANLAB_KILLS").map_or(Ok(10), |kills| kills.parse())?;
    let mut moments = Moments(seed | 1);
    Terminal::plain().line(&format!(
        "SANLAB_SEED={seed}, a whole run takes {:.1} s",
        length.as_secs_f64()
    ));
    for kill in 1..=kills {
        let moment = length.mul_f64(moments.next());
        let what = format!(
            "SIGKILL {kill} after {:.2} s (SANLAB_SEED={seed})",
            moment.as_secs_f64()
        );
        let den = den()?;
        let mut child = den.start(command())?;
        // Ends early when the machine is faster now; then there is nothing to kill, and nothing may be left.
        let _ = ended(&mut child, moment)?;
        let running = den.processes().len();
        child.kill()?;
        child.wait()?;
        den.expect_empty(&what, CLEAN_UP)?;
        Terminal::plain().line(&format!("{what}: {running} processes ran, none is left"));
    }
    Ok(())
}

/// To the whole process group, as a terminal does it, when the child has said `moment`.
fn interrupted(signal: Signal, moment: &str, clean_up: Duration) -> Result<(), Failed> {
    let den = Den::new()?;
    let mut child = den.start(fresh())?;
    den.wait_until_said(&mut child, moment)?;
    signal_group(&child, signal)?;
    let status = den.wait(&mut child, Duration::from_secs(90))?;
    if status.code() != Some(4) {
        return Err(format!("expected exit code 4, got {status}\n{}", den.said()).into());
    }
    den.expect_empty(&format!("{signal:?} at `{moment}`"), clean_up)
}

fn interrupted_twice() -> Result<(), Failed> {
    let den = Den::new()?;
    let mut child = den.start(fresh())?;
    den.wait_until_said(&mut child, WORKING)?;
    signal_group(&child, Signal::INT)?;
    // Two signals at once are one signal: the second is sent when the first has been seen.
    until(
        "the lab to notice the first Ctrl-C",
        Duration::from_secs(10),
        || den.said().contains("Ctrl-C").then_some(()),
    )?;
    if child.try_wait()?.is_none() {
        signal_group(&child, Signal::INT)?;
    }
    let status = den.wait(&mut child, Duration::from_secs(10))?;
    if status.code() != Some(4) {
        return Err(format!("expected exit code 4, got {status}\n{}", den.said()).into());
    }
    den.expect_empty("a second Ctrl-C", CLEAN_UP)
}

fn panic_leaves_nothing() -> Result<(), Failed> {
    let den = Den::new()?;
    let mut command = Command::new(std::env::current_exe()?);
    command.arg(PANIC);
    let mut child = den.start(command)?;
    let status = den.wait(&mut child, WHOLE_RUN)?;
    if status.code() != Some(101) || !den.said().contains(PANIC) {
        return Err(format!("expected a panic, got {status}\n{}", den.said()).into());
    }
    den.expect_empty("a panic", CLEAN_UP)
}

fn panic_in_mid_run() -> ! {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let lab = Lab::find(&project()).expect("the tests run in a checkout");
        let plan = scenario::load(&two_nodes()).expect("a good scenario");
        let order = Order {
            fresh: true,
            ..Order::new(&lab.new_run().expect("a folder"))
        };
        let (sender, mut events) = tokio::sync::mpsc::unbounded_channel();
        let run = lab.run(&plan, order, sender);
        tokio::pin!(run);
        loop {
            tokio::select! {
                Some(event) = events.recv() => {
                    assert!(!matches!(event.kind, EventKind::Answered { .. }), "{PANIC}");
                }
                _ = &mut run => panic!("the run ended before a node answered"),
            }
        }
    })
}

/// A place of its own for one child: everything that the lab makes outside its records is in it or names it.
struct Den {
    folder: tempfile::TempDir,
    store: PathBuf,
}

impl Den {
    /// With a store of its own, too, in which there is nothing but the user's images.
    fn new() -> Result<Self, Failed> {
        let folder = tempfile::Builder::new().prefix("leak-").tempdir()?;
        let store = folder.path().join("store");
        Self::in_folder(folder, store)
    }

    /// With a store that others use as well.
    fn with_store(store: PathBuf) -> Result<Self, Failed> {
        let folder = tempfile::Builder::new().prefix("leak-").tempdir()?;
        Self::in_folder(folder, store)
    }

    fn in_folder(folder: tempfile::TempDir, store: PathBuf) -> Result<Self, Failed> {
        let den = Self { folder, store };
        fs::create_dir(den.temp())?;
        fs::create_dir_all(&den.store)?;
        let images = den.store.join("images");
        if !images.exists() {
            let all = Store::open_default()?.root().join("images");
            fs::os::unix::fs::symlink(all, images)?;
        }
        Ok(den)
    }

    fn runtime(&self) -> PathBuf {
        self.folder.path().join("r")
    }

    fn temp(&self) -> PathBuf {
        self.folder.path().join("t")
    }

    fn start(&self, mut command: Command) -> Result<Child, Failed> {
        let said = fs::File::create(self.folder.path().join("said"))?;
        command
            .current_dir(project())
            .env("SANLAB_CACHE", &self.store)
            // Never reached: the images in it are the user's.
            .env("SANLAB_CACHE_LIMIT", "1024TiB")
            .env("SANLAB_RUNTIME", self.runtime())
            .env("SANLAB_RUNS", self.folder.path().join("runs"))
            .env("TMPDIR", self.temp())
            .stdin(std::process::Stdio::null())
            .stdout(said.file().try_clone()?)
            .stderr(said.into_file())
            .process_group(0);
        Ok(command.spawn()?)
    }

    /// What the child has written.
    fn said(&self) -> String {
        fs::read_to_string(self.folder.path().join("said")).unwrap_or_default()
    }

    fn wait(&self, child: &mut Child, deadline: Duration) -> Result<ExitStatus, Failed> {
        if let Some(status) = ended(child, deadline)? {
            return Ok(status);
        }
        child.kill()?;
        child.wait()?;
        Err(format!("the child did not end within {deadline:?}\n{}", self.said()).into())
    }

    /// Until the child has written this.
    fn wait_until_said(&self, child: &mut Child, words: &str) -> Result<(), Failed> {
        until(&format!("`{words}`"), WHOLE_RUN, || {
            (self.said().contains(words) || !matches!(child.try_wait(), Ok(None))).then_some(())
        })
    }

    /// Every process whose command line names the den.
    fn processes(&self) -> Vec<String> {
        let path = self.folder.path().to_string_lossy().into_owned();
        let mut found = Vec::new();
        for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
            // A process may end while it is looked at.
            let Ok(line) = fs::read(entry.path().join("cmdline")) else {
                continue;
            };
            let line = String::from_utf8_lossy(&line).replace('\0', " ");
            if line.contains(&path) {
                found.push(format!("{} {line}", entry.file_name().to_string_lossy()));
            }
        }
        found
    }

    /// What is left of the lab.
    fn remains(&self) -> Vec<String> {
        let mut remains = self.processes();
        for entry in fs::read_dir(self.runtime()).into_iter().flatten().flatten() {
            // The registry's own files stay: the lock and what it knows of the machine.
            if entry.path().is_dir() {
                remains.push(format!("folder {}", entry.path().display()));
            }
        }
        remains.extend(
            fs::read_dir(self.temp())
                .into_iter()
                .flatten()
                .flatten()
                .map(|entry| entry.path().display().to_string()),
        );
        let path = self.folder.path().to_string_lossy().into_owned();
        let sockets = fs::read_to_string("/proc/net/unix").unwrap_or_default();
        remains.extend(
            sockets
                .lines()
                .filter(|line| line.contains(&path))
                .map(|line| format!("socket {line}")),
        );
        remains
    }

    /// Nothing is left, after this long at the latest.
    fn expect_empty(&self, after: &str, deadline: Duration) -> Result<(), Failed> {
        let mut remains = Vec::new();
        let gone = until("nothing to be left", deadline, || {
            remains = self.remains();
            remains.is_empty().then_some(())
        });
        gone.map_err(|_| {
            format!(
                "left after {after}, {deadline:?} later:\n  {}\n{}",
                remains.join("\n  "),
                self.said()
            )
        })?;
        self.expect_good_store(after)
    }

    /// Whatever is in the store is whole and held by nobody, and looking at it sweeps away what was half made.
    fn expect_good_store(&self, after: &str) -> Result<(), Failed> {
        let store = Store::at(&self.store)?;
        let mut bad = store.entries()?;
        // Of the images nothing is asked: others may use them.
        bad.retain(|entry| entry.kind != Kind::Image && (entry.held || !entry.whole));
        let half: Vec<_> = fs::read_dir(store.root().join("building"))?.collect();
        if bad.is_empty() && half.is_empty() {
            return Ok(());
        }
        Err(format!(
            "left in the store after {after}: {bad:?} {half:?}\n{}",
            self.said()
        )
        .into())
    }
}

/// Waits for a child's end, but no longer than this.
fn ended(child: &mut Child, deadline: Duration) -> Result<Option<ExitStatus>, Failed> {
    let end = Instant::now() + deadline;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(None);
        }
        std::thread::park_timeout(left.min(Duration::from_millis(10)));
    }
}

impl Drop for Den {
    /// A test that found a leak does not leave it to the next one.
    fn drop(&mut self) {
        for process in self.processes() {
            let pid = process
                .split(' ')
                .next()
                .and_then(|pid| pid.parse().ok())
                .and_then(Pid::from_raw);
            if let Some(pid) = pid {
                let _ = rustix::process::kill_process(pid, Signal::KILL);
            }
        }
    }
}

/// Asks again and again until there is an answer; the error names what was awaited.
fn until<T>(
    what: &str,
    deadline: Duration,
    mut ask: impl FnMut() -> Option<T>,
) -> Result<T, Failed> {
    let end = Instant::now() + deadline;
    loop {
        if let Some(answer) = ask() {
            return Ok(answer);
        }
        if Instant::now() >= end {
            return Err(format!("waited {deadline:?} for {what}").into());
        }
        std::thread::park_timeout(Duration::from_millis(20));
    }
}

/// Fractions of one, evenly distributed: xorshift64*, Marsaglia 2003 and Vigna 2016.
struct Moments(u64);

impl Moments {
    fn next(&mut self) -> f64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 11) as f64 / (1_u64 << 53) as f64
    }
}

fn signal_group(child: &Child, signal: Signal) -> Result<(), Failed> {
    let group = i32::try_from(child.id())
        .ok()
        .and_then(Pid::from_raw)
        .ok_or("the child has no process id")?;
    Ok(kill_process_group(group, signal)?)
}

/// A run that builds everything, whatever is kept.
fn fresh() -> Command {
    let mut command = sanlab();
    command.arg("--fresh");
    command
}

fn sanlab() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sanlab"));
    command.arg("run").arg(two_nodes());
    command
}

fn two_nodes() -> PathBuf {
    project().join("fixtures/leaks/two-nodes.toml")
}

fn project() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}
