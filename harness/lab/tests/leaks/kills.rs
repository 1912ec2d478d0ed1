//! SIGKILL at any moment of a run that builds everything, and in those stretches of other
//! runs in which something is put into the store or taken out of it.

use std::process::Command;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use libtest_mimic::Failed;
use sanlab::Terminal;
use sanlab_image::{Kind, Store};
use sanlab_record::RunRecord;
use tempfile::TempDir;

use crate::child::ended;
use crate::sandbox::{CLEAN_UP, Sandbox, WHOLE_RUN, fresh, sanlab};

/// What a run with no templates does to get guests: it makes the templates, and clones them.
const BOOT: Stretch = Stretch {
    phase: "boot",
    after: "] prepare: done",
    power: 1,
};
/// What a run does when the layers are up: it keeps the fleet, which is soon done, and goes on with a fork.
const KEEP: Stretch = Stretch {
    phase: "keep layers",
    after: "] layer nbd: done",
    power: 3,
};
/// What a run does that finds a checkpoint.
const FORK: Stretch = Stretch {
    phase: "fork",
    after: "] prepare: done",
    power: 1,
};

/// A phase of a run.
struct Stretch {
    phase: &'static str,
    /// What the lab says when it begins.
    after: &'static str,
    /// Of the random fraction: 1 makes all moments alike, more prefers early ones.
    power: i32,
}

/// Everything is built, nothing is kept.
pub(crate) fn of_fresh_runs(kills: u32) -> Result<(), Failed> {
    let begin = Instant::now();
    undisturbed(&Sandbox::new()?, fresh())?;
    let length = begin.elapsed();
    let mut dice = Dice::new(kills)?;
    dice.tell(&format!("a whole run takes {:.1} s", length.as_secs_f64()));
    while let Some((kill, fraction)) = dice.next() {
        let moment = length.mul_f64(fraction);
        let what = format!("{kill} after {:.2} s", moment.as_secs_f64());
        let sandbox = Sandbox::new()?;
        kill_after(&sandbox, fresh(), None, moment, &what)?;
    }
    Ok(())
}

/// Each makes its templates anew, in a store in which others were killed.
pub(crate) fn of_template_makers(kills: u32) -> Result<(), Failed> {
    let store = Larder::new()?;
    kill_within(&store, kills, &BOOT, || {
        store.discard(&[Kind::Checkpoint, Kind::Template])
    })?;
    // With whatever the last one left.
    undisturbed(&store.sandbox()?, sanlab()).map(drop)
}

/// Each makes a checkpoint, in a store in which others were killed. One that was made before the kill is good.
pub(crate) fn of_checkpoint_makers(kills: u32) -> Result<(), Failed> {
    let store = Larder::new()?;
    kill_within(&store, kills, &KEEP, || {
        if store.holds(Kind::Checkpoint)? {
            store.fork()?;
        }
        store.discard(&[Kind::Checkpoint])
    })?;
    undisturbed(&store.sandbox()?, sanlab())?;
    store.fork()
}

/// All fork one checkpoint, which stays good.
pub(crate) fn of_forks(kills: u32) -> Result<(), Failed> {
    let store = Larder::new()?;
    undisturbed(&store.sandbox()?, sanlab())?;
    kill_within(&store, kills, &FORK, || Ok(()))?;
    store.fork()
}

/// Kills runs on one store in that phase; how long it takes tells a run that nobody disturbs. Each begins with the
/// store as `prepare` leaves it.
fn kill_within(
    store: &Larder,
    kills: u32,
    stretch: &Stretch,
    prepare: impl Fn() -> Result<(), Failed>,
) -> Result<(), Failed> {
    let Stretch {
        phase,
        after,
        power,
    } = stretch;
    let record = undisturbed(&store.sandbox()?, sanlab())?;
    let mut phases = record.phases.iter();
    let usual = phases.find(|one| one.name == (*phase).into());
    let usual = usual.ok_or_else(|| format!("a run has no phase `{phase}`"))?;
    let mut dice = Dice::new(kills)?;
    dice.tell(&format!("`{phase}` takes {:.2} s", usual.seconds));
    while let Some((kill, fraction)) = dice.next() {
        prepare()?;
        let moment = Duration::from_secs_f64(usual.seconds * fraction.powi(*power));
        let what = format!("{kill} in `{phase}` after {:.3} s", moment.as_secs_f64());
        kill_after(&store.sandbox()?, sanlab(), Some(after), moment, &what)?;
    }
    prepare()
}

/// Starts the lab, and kills it so long after it has said that.
fn kill_after(
    sandbox: &Sandbox,
    command: Command,
    after: Option<&str>,
    moment: Duration,
    what: &str,
) -> Result<(), Failed> {
    let mut child = sandbox.start(command)?;
    if let Some(words) = after {
        sandbox.wait_until_said(&mut child, words)?;
    }
    // Ends early when the machine is faster now; then there is nothing to kill, and nothing may be left.
    let _ = ended(&mut child, moment)?;
    let running = sandbox.processes().len();
    child.kill()?;
    child.wait()?;
    let half = sandbox.half_made();
    sandbox.expect_empty(what, CLEAN_UP)?;
    Terminal::plain().line(&format!(
        "{what}: {running} processes and {half} half made entries, none is left"
    ));
    Ok(())
}

/// A run that nobody disturbs; it must leave nothing either.
fn undisturbed(sandbox: &Sandbox, command: Command) -> Result<RunRecord, Failed> {
    let mut whole = sandbox.start(command)?;
    let status = sandbox.wait(&mut whole, WHOLE_RUN)?;
    if !status.success() {
        return Err(format!(
            "the undisturbed run ended with {status}\n{}",
            sandbox.said()
        )
        .into());
    }
    sandbox.expect_empty("an undisturbed run", Duration::ZERO)?;
    sandbox.record()
}

/// A store that many runs use, one after another.
struct Larder(TempDir);

impl Larder {
    fn new() -> Result<Self, Failed> {
        Ok(Self(tempfile::Builder::new().prefix("leak-").tempdir()?))
    }

    /// A place for the next run.
    fn sandbox(&self) -> Result<Sandbox, Failed> {
        Sandbox::with_store(self.0.path().to_owned())
    }

    fn holds(&self, kind: Kind) -> Result<bool, Failed> {
        let entries = Store::at(self.0.path())?.entries()?;
        Ok(entries.iter().any(|entry| entry.kind == kind))
    }

    fn discard(&self, kinds: &[Kind]) -> Result<(), Failed> {
        let store = Store::at(self.0.path())?;
        for entry in store.entries()? {
            if kinds.contains(&entry.kind) {
                store.discard(entry.kind, &entry.key)?;
            }
        }
        Ok(())
    }

    /// A run that must find a checkpoint.
    fn fork(&self) -> Result<(), Failed> {
        let sandbox = self.sandbox()?;
        undisturbed(&sandbox, sanlab())?;
        if sandbox.said().contains("forked from") {
            Ok(())
        } else {
            Err(format!("the run was no fork\n{}", sandbox.said()).into())
        }
    }
}

/// Fractions of one, evenly distributed: xorshift64*, Marsaglia 2003 and Vigna 2016.
struct Dice {
    seed: u64,
    state: u64,
    throws: u32,
    left: u32,
}

impl Dice {
    /// So many throws, unless `SANLAB_KILLS` says otherwise.
    fn new(kills: u32) -> Result<Self, Failed> {
        let seed = match std::env::var("SANLAB_SEED") {
            Ok(seed) => seed.parse()?,
            Err(_) => u64::try_from(
                SystemTime::now().duration_since(UNIX_EPOCH)?.as_nanos() & u128::from(u64::MAX),
            )?,
        };
        let throws = std::env::var("SANLAB_KILLS").map_or(Ok(kills), |kills| kills.parse())?;
        Ok(Self {
            seed,
            state: seed | 1,
            throws,
            left: throws,
        })
    }

    fn tell(&self, what: &str) {
        Terminal::plain().line(&format!("SANLAB_SEED={}, {what}", self.seed));
    }

    /// A name for the kill, and the next fraction.
    fn next(&mut self) -> Option<(String, f64)> {
        self.left = self.left.checked_sub(1)?;
        self.state ^= self.state >> 12;
        self.state ^= self.state << 25;
        self.state ^= self.state >> 27;
        let fraction =
            (self.state.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 11) as f64 / (1_u64 << 53) as f64;
        let number = self.throws - self.left;
        let name = format!("SIGKILL {number} (SANLAB_SEED={})", self.seed);
        Some((name, fraction))
    }
}
