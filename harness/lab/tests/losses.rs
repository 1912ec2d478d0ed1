//! Losses on real guests: what was acknowledged and is not there any more is found wherever it is missing; nodes that
//! are ended on purpose, or at another's request, are no trouble of the lab's.

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use guest_trials::{Failed, Suite, Tier};
use sanlab::{Lab, RunRequest};
use sanlab_record::{BlockRange, EventKind, FailureKind, Outcome, PhaseName, RunRecord};
use tokio::sync::mpsc::unbounded_channel;
use tokio::time::timeout;

#[path = "support/watched.rs"]
mod watched;

use watched::watched;

/// For one run: two guests come up, and a few hundred blocks are written. Other tests may come first.
const DEADLINE: Duration = Duration::from_secs(900);

/// Both nodes mount one volume, of which each has a copy of its own.
const MIRRORED: &str = r#"
name = "a volume with two copies"

[nodes]
left = { arch = "x86_64" }
right = { arch = "x86" }

[[layer]]
drbd = { resource = "r0", on = ["left", "right"], disk = "256MiB" }

[[layer]]
o2cb = { cluster = "san" }

[[layer]]
ocfs2 = { slots = 2, at = "/mnt/san" }

[[step]]
write = { on = ["left", "right"], of = "{node}.journal", bs = "64KiB", count = 40 }

[[step]]
verify = { on = ["left", "right"] }

# Behind everybody's back, on one disk of two: 4 KiB of block 17. Its copy stays as it is.
[[step]]
label = "plant a loss"
run = { on = "right", command = """
set -- $(/usr/sbin/filefrag -v /mnt/san/left.journal | awk -F'[.: ]+' '$2 == "0" { print $5 }')
dd if=/dev/zero of=/dev/vdb bs=4096 count=1 seek=$(($1 + 17 * 16 + 3)) oflag=direct conv=notrunc
""" }

[[step]]
label = "find it"
verify = { on = "left" }
"#;

/// One of two nodes goes down while the other writes, and comes back with its disk, every layer and its mount.
const PANIC: &str = r#"
name = "a node panics and comes back"

[nodes]
left = { arch = "x86_64" }
right = { arch = "x86" }

[[layer]]
drbd = { resource = "r0", on = ["left", "right"], disk = "256MiB" }

[[layer]]
o2cb = { cluster = "san", heartbeat_threshold = 7, idle_timeout = "10s" }

[[layer]]
ocfs2 = { slots = 2, at = "/mnt/san" }

[[step]]
label = "load"
deadline = "180s"
write = { on = "left", of = "{node}.journal", bs = "64KiB", count = 1000, background = true }

# Early: a quick machine writes 200 blocks a second, and a quicker one should still be at it.
[[step]]
crash = { node = "right", how = "panic", within = "300ms" }

[[step]]
wait_for = { on = "left", drbd = "r0", connection = "WFConnection", disk = "UpToDate/DUnknown" }

[[step]]
wait = { step = "load" }

[[step]]
restart = { node = "right" }

[[step]]
label = "in sync"
wait_for = { on = ["left", "right"], drbd = "r0", connection = "Connected", disk = "UpToDate/UpToDate" }

[[step]]
verify = {}

[[step]]
check = { same_tree = "/mnt/san" }
"#;

/// One node has the other's power cut.
const SWITCH: &str = r#"
name = "a power switch"

[nodes]
asks = { arch = "x86_64" }
fenced = { arch = "x86_64" }

[[step]]
run = { on = "asks", command = """
echo '<1>sanlab power off fenced 17-1' >/dev/kmsg
tries=0
until [ -e /run/sanlab/power/17-1 ]; do
    tries=$((tries + 1))
    [ $tries -lt 300 ] || exit 1
    sleep 0.1
done
cat /run/sanlab/power/17-1
""", output = "^off\n$" }

# Its address does not answer any more.
[[step]]
run = { on = "asks", command = "ping -c 1 -W 2 fenced.local", exit = 1 }
"#;

fn main() -> ExitCode {
    let lab =
        Lab::find(Path::new(env!("CARGO_MANIFEST_DIR"))).expect("the tests run in a checkout");
    let mut suite = Suite::new(|| lab.require_host()).one_at_a_time();
    let fixture = Arc::new(Fixture {
        lab,
        nocapture: suite.arguments.nocapture,
    });
    add(
        &mut suite,
        &fixture,
        "a_planted_loss_is_found",
        Tier::Test,
        a_planted_loss_is_found,
    );
    add(
        &mut suite,
        &fixture,
        "a_crashed_node_comes_back",
        Tier::Nightly,
        a_crashed_node_comes_back,
    );
    add(
        &mut suite,
        &fixture,
        "power_is_cut_on_request",
        Tier::Nightly,
        power_is_cut_on_request,
    );
    suite.run()
}

struct Fixture {
    lab: Lab,
    nocapture: bool,
}

fn add(
    suite: &mut Suite,
    fixture: &Arc<Fixture>,
    name: &str,
    tier: Tier,
    test: impl AsyncFnOnce(&Fixture) -> Result<(), Failed> + Send + 'static,
) {
    let fixture = Arc::clone(fixture);
    suite.guests(name, tier, move || {
        tokio::runtime::Runtime::new()?.block_on(test(&fixture))
    });
}

async fn a_planted_loss_is_found(fixture: &Fixture) -> Result<(), Failed> {
    let record = fixture.run("mirrored.toml", MIRRORED).await?;
    let Outcome::Failed(failure) = &record.outcome else {
        return Err(format!("the loss was not found: {:?}", record.outcome).into());
    };
    let [loss] = &failure.lost_blocks[..] else {
        return Err(format!("one loss was planted: {failure:?}").into());
    };
    let told = failure.phase == PhaseName::step("find it")
        && failure.kind == FailureKind::BlocksLost
        && loss.node == "right"
        && loss.device.as_deref() == Some("/dev/vdb")
        && loss.file == "/mnt/san/left.journal"
        && loss.blocks == BlockRange::of([17])
        && loss.acknowledged_at.0 > 0.0;
    if told {
        Ok(())
    } else {
        Err(format!("it was told otherwise: {failure:?}").into())
    }
}

async fn a_crashed_node_comes_back(fixture: &Fixture) -> Result<(), Failed> {
    let record = fixture.run("panic.toml", PANIC).await?;
    if record.outcome != Outcome::Passed {
        return Err(format!("it ended like this: {:?}", record.outcome).into());
    }
    let crashed = record.events.iter().any(|event| {
        event.node.as_deref() == Some("right") && matches!(event.kind, EventKind::Crashed { .. })
    });
    let written = record
        .samples
        .iter()
        .find_map(|sample| sample.acknowledged.clone());
    // DRBD misses its peer after 3 s, and gives up on it after 3 s more: so long a writer waits, if it was writing then.
    match written {
        Some(written) if crashed && written.blocks == 1000 && written.longest_gap_seconds > 1.0 => {
            Ok(())
        }
        _ => Err(format!("crashed: {crashed}; written: {written:?}").into()),
    }
}

async fn power_is_cut_on_request(fixture: &Fixture) -> Result<(), Failed> {
    let record = fixture.run("switch.toml", SWITCH).await?;
    if record.outcome != Outcome::Passed {
        return Err(format!("it ended like this: {:?}", record.outcome).into());
    }
    let fenced = record.events.iter().find_map(|event| match &event.kind {
        EventKind::Fenced { by } => Some((event.node.as_deref(), by.as_str())),
        _ => None,
    });
    if fenced == Some((Some("fenced"), "asks")) {
        Ok(())
    } else {
        Err(format!("it was noted like this: {fenced:?}").into())
    }
}

impl Fixture {
    async fn run(&self, file: &str, text: &str) -> Result<RunRecord, Failed> {
        let plan = sanlab_plan::parse(Path::new(file), text);
        let plan = plan.map_err(|mistakes| Failed::from(mistakes.render(false)))?;
        let request = RunRequest::new(&self.lab.new_run()?);
        let (sender, events) = unbounded_channel();
        let work = self.lab.run(&plan, request, sender);
        let work = watched(self.nocapture, &plan.id, events, work);
        let ended = timeout(DEADLINE, work).await;
        let (record, _) =
            ended.map_err(|_| format!("{file} did not end within {DEADLINE:?}"))??;
        Ok(record)
    }
}
