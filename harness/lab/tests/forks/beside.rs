//! Two forks of one checkpoint at the same time. Each is the run of a process with a registry, and so a budget, of its
//! own: a small host has no place for two fleets.

use std::path::Path;
use std::process::Stdio;

use libtest_mimic::Failed;
use sanlab_record::{Outcome, RunRecord};
use tempfile::TempDir;
use tokio::process::Command;
use tokio::time::timeout;

use crate::Attempted;
use crate::ground::{Cluster, DEADLINE, Ground, text};
use crate::told;

/// For how long both look at what they have.
const TOGETHER: u32 = 12;
/// How much of that must be at the same time.
const OVERLAP: f64 = 3.0;

/// One of the two, done.
struct Fork {
    whose: &'static str,
    record: RunRecord,
    /// What went through vix0's card.
    frames: Vec<u8>,
    /// Keeps the files until both have been looked at.
    _folder: TempDir,
}

/// Neither sees the other's bytes, nor its frames.
pub(crate) async fn apart(ground: &Ground) -> Attempted {
    let cluster = ground.cluster().await?;
    let project = ground.lab.project();
    let (left, right) = tokio::try_join!(
        fork(project, cluster, "left"),
        fork(project, cluster, "right")
    )?;
    let overlap = overlap(looking(&left)?, looking(&right)?);
    if overlap < OVERLAP {
        return Err(format!("the forks were side by side for {overlap:.1} s").into());
    }
    for (own, other) in [(&left, &right), (&right, &left)] {
        if !contains(&own.frames, &bytes_of(own.whose)) {
            return Err(format!("no frame of {} has its bytes", own.whose).into());
        }
        if contains(&own.frames, &bytes_of(other.whose)) {
            return Err(format!("{} has frames of {}", own.whose, other.whose).into());
        }
    }
    Ok(None)
}

/// Files of the same names, with bytes that tell whose they are; and a look at all of them, again and again, as the
/// disks have them.
fn steps(whose: &str) -> String {
    let bytes = bytes_of(whose);
    format!(
        r#"
[network]
capture = "vix0"

[[step]]
label = "write"
run = {{ command = '''
yes '{bytes} {{node}}' | head -n 10000 >/mnt/nbdsan/{{node}}.txt
sync
''' }}

[[step]]
label = "look"
run = {{ command = '''
end=$(($(date +%s) + {TOGETHER}))
while [ $(date +%s) -lt $end ]; do
    echo 1 >/proc/sys/vm/drop_caches
    for node in vix0 vix1 vix2 vix3; do
        seen=$(uniq -c /mnt/nbdsan/$node.txt | sed 's/^ *//')
        [ "$seen" = "10000 {bytes} $node" ] || {{ echo "$seen" | head; exit 1; }}
    done
done
''' }}

[[step]]
check = {{ same_tree = "/mnt/nbdsan" }}
"#
    )
}

fn bytes_of(whose: &str) -> String {
    format!("these are the bytes of {whose}, written by")
}

async fn fork(project: &Path, cluster: &Cluster, whose: &'static str) -> Result<Fork, Failed> {
    // Short, as paths of sockets must be.
    let folder = tempfile::Builder::new().prefix("fork-").tempdir()?;
    let file = folder.path().join(format!("sides/{whose}.toml"));
    fs_err::create_dir(folder.path().join("sides"))?;
    fs_err::write(&file, text(&steps(whose)))?;
    let runs = folder.path().join("runs");
    let child = Command::new(env!("CARGO_BIN_EXE_sanlab"))
        .arg("run")
        .arg(&file)
        .current_dir(project)
        .env("SANLAB_CACHE", cluster.place.store.root())
        // Never reached: the images in it are the user's.
        .env("SANLAB_CACHE_LIMIT", "1024TiB")
        .env("SANLAB_RUNTIME", folder.path().join("r"))
        .env("SANLAB_RUNS", &runs)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    let ended = timeout(DEADLINE, child.wait_with_output()).await;
    let ended = ended.map_err(|_| format!("{whose} did not end within {DEADLINE:?}"))??;
    let said = String::from_utf8_lossy(&ended.stderr);
    let run = fs_err::read_dir(&runs)?.next().ok_or("no run was kept")??;
    let kept = run.path().join("sides").join(whose);
    let record = RunRecord::from_json(&fs_err::read_to_string(kept.join("record.json"))?)?;
    if record.outcome != Outcome::Passed {
        return Err(format!("{whose} ended like this: {:?}\n{said}", record.outcome).into());
    }
    told::is_forked(&record, &cluster.key).map_err(|wrong| format!("{whose} {wrong}\n{said}"))?;
    Ok(Fork {
        whose,
        record,
        frames: fs_err::read(kept.join("vix0.pcap"))?,
        _folder: folder,
    })
}

/// When it looked at its files, seconds since 1970.
fn looking(fork: &Fork) -> Result<(f64, f64), Failed> {
    let mut phases = fork.record.phases.iter();
    let look = phases.find(|phase| phase.name == "step look");
    let look = look.ok_or_else(|| format!("{} did not look", fork.whose))?;
    if look.seconds < f64::from(TOGETHER) - 1.5 {
        // By their own clocks it was long enough.
        return Err(format!("the clocks of {} are fast: {look:?}", fork.whose).into());
    }
    let begin = fork.record.started + look.at;
    Ok((begin, begin + look.seconds))
}

/// Seconds in both.
fn overlap(one: (f64, f64), other: (f64, f64)) -> f64 {
    one.1.min(other.1) - one.0.max(other.0)
}

fn contains(frames: &[u8], bytes: &str) -> bool {
    frames
        .windows(bytes.len())
        .any(|window| window == bytes.as_bytes())
}
