//! One checkpoint, forked again and again.

use std::collections::BTreeSet;
use std::path::Path;

use libtest_mimic::Failed;
use sanlab_record::PhaseName;

use crate::fixture::{Fixture, Ran, attempt, on_cluster};

/// All write at once; all see the same bytes, those that were acknowledged, and no kernel has anything to complain of.
/// And each says what time it is and draws a lot, which `/dev/kmsg` takes to its console's log.
const STEPS: &str = r#"
[[step]]
dd = { of = "{node}.img", source = "random", bs = "64KiB", count = 16, conv = ["fsync"] }

[[step]]
check = { same_tree = "/mnt/nbdsan" }

[[step]]
label = "draw"
run = { command = "echo \"draws $(date +%s) $(head -c 16 /dev/urandom | md5sum)\" >/dev/kmsg" }
"#;

/// A clock is set by a script that takes its time to start, seconds.
const CLOCKS: f64 = 3.0;

const NODES: [&str; 4] = ["vix0", "vix1", "vix2", "vix3"];

/// Of one checkpoint, one after another.
pub(crate) async fn twenty_forks(fixture: &Fixture) -> Result<(), Failed> {
    let cluster = fixture.cluster().await?;
    let plan = on_cluster(Path::new("row.toml"), STEPS)?;
    let run = fixture.lab.new_run()?;
    let mut lots = BTreeSet::new();
    for number in 1..=20 {
        let order = attempt(&run, number);
        let ran = fixture.run(&cluster.place, &plan, order).await?;
        ran.expect_forked(&cluster.key)?;
        for Drawn { time, lot } in drawn(&ran)? {
            expect_now(&ran, time)?;
            if !lots.insert(lot) {
                return Err(ran.but("has the random numbers of another fork"));
            }
        }
    }
    Ok(())
}

/// What a node said.
struct Drawn {
    /// Seconds since 1970.
    time: f64,
    lot: String,
}

fn drawn(ran: &Ran) -> Result<Vec<Drawn>, Failed> {
    let mut all = Vec::new();
    for node in NODES {
        let log = ran.file(&format!("{node}.console.log"))?;
        let log = String::from_utf8_lossy(&log);
        let said = log.lines().find_map(|line| line.split_once("] draws "));
        let said = said.and_then(|(_, said)| said.trim().split_once(' '));
        let (time, lot) = said.ok_or_else(|| ran.but(&format!("has no lot of {node}")))?;
        all.push(Drawn {
            time: time.parse()?,
            lot: lot.to_owned(),
        });
    }
    Ok(all)
}

/// The nodes' time is the host's, and not that of the checkpoint.
fn expect_now(ran: &Ran, time: f64) -> Result<(), Failed> {
    let mut phases = ran.record.phases.iter();
    let draw = phases.find(|phase| phase.name == PhaseName::step("draw"));
    let draw = draw.ok_or_else(|| ran.but("drew no lots"))?;
    let since = time - (ran.record.started + draw.at);
    if (-CLOCKS..draw.seconds + CLOCKS).contains(&since) {
        return Ok(());
    }
    Err(ran.but(&format!("has a clock that is off by {since:.1} s")))
}
