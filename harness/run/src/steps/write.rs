//! `write`: numbered, checksummed blocks, from a common start. The guest reports each when it is written, and the
//! host keeps account: what was acknowledged must be found again, whatever happens to the writer.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::time::Duration;

use sanlab_fleet::EVENT_PORT_PATH;
use sanlab_plan::guest::WITNESS;
use sanlab_plan::{NodeName, Write, quote};
use sanlab_record::{Acknowledged, Sample, Work};
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::time::timeout;

use super::{Doing, gate};
use crate::Failure;
use crate::backend::{Ended, Line};
use crate::engine::faults::down::DownReason;
use crate::engine::join;
use crate::evidence::ack_log::{AckLog, Course, Ending};
use crate::failure::Cause;
use crate::measure::meter::Meter;

/// From the writer's end to its last line: both come over channels of their own.
const LAST_LINE: Duration = Duration::from_secs(10);

/// A writer that waits for its start.
pub(super) struct Writer {
    node: NodeName,
    /// Absolute, in the guest.
    path: String,
    /// In the guest: the fifos, and what it says.
    folder: String,
    /// The least time from the begin of a block to that of the next.
    interval: Option<Duration>,
    lines: Receiver<Line>,
    /// Kept until it writes.
    ahead: Option<Sender<()>>,
}

/// Comes true when none of the writers is ahead of its first block any more.
pub(super) struct Begun(Receiver<()>);

impl Begun {
    pub(super) async fn come(mut self) {
        // Nobody sends; the last writer drops its end.
        while self.0.recv().await.is_some() {}
    }
}

/// Leaves a writer on each node that waits at its fifo.
pub(super) async fn prepare(
    doing: Doing<'_>,
    write: &Write,
) -> Result<(Vec<Writer>, Begun), Failure> {
    let (ahead, begun) = channel(1);
    let at = &doing.context.volume()?.at;
    let folder = doing.folder();
    let writers = join::all(write.on.iter().map(|node| {
        let ahead = ahead.clone();
        let path = format!("{at}/{}", write.of.replace("{node}", node.as_str()));
        let by = format!("{} on {node}", doing.scope.name());
        let identity = (node.as_str(), seed(doing));
        let ack_log = AckLog::new(&by, identity, &path, write.bs.bytes(), write.count);
        let arguments = arguments(&ack_log, write);
        let folder = folder.clone();
        async move {
            let script = waiting(&folder, &path, &arguments);
            let ended = doing.exec(node, &script).await?;
            ended
                .success()
                .map_err(|failure| failure.during(format!("prepare the writer on {node}")))?;
            doing.context.opens(ack_log);
            Ok::<_, Failure>(Writer {
                node: node.clone(),
                path,
                folder,
                interval: write.interval,
                lines: doing.context.backend.guest_events(node)?,
                ahead: Some(ahead),
            })
        }
    }))
    .await?;
    Ok((writers, Begun(begun)))
}

/// What distinguishes the blocks of this step from all others of the plan.
fn seed(doing: Doing<'_>) -> u64 {
    let mut steps = doing.context.plan.steps.iter();
    let place = steps.position(|step| step.label == doing.step.label);
    place.map_or_else(
        || {
            // One that a fleet which is up was asked for, of another plan.
            let mut hasher = DefaultHasher::new();
            doing.step.label.to_string().hash(&mut hasher);
            hasher.finish()
        },
        |place| place as u64,
    )
}

/// Lets all writers go at once and waits for every one. In the foreground that is a measurement too, unless the writers keep a pace, which
/// says nothing of the disks; in the background it cannot be told what is the writers' cost and what that of the steps beside them.
pub(super) async fn write(
    doing: Doing<'_>,
    write: &Write,
    writers: Vec<Writer>,
) -> Result<(), Failure> {
    doing
        .scope
        .progress(None, format!("{} writing", writers.len()));
    let meter = Meter::new(&doing.context.backend, writers.len());
    let writing = writers
        .into_iter()
        .map(|writer| write_one(doing, &meter, writer));
    let bytes: Vec<u64> = join::all(writing).await?;
    if write.measures() {
        doing.measured(&meter, work(write), bytes.iter().sum());
    }
    Ok(())
}

/// The same as a measurement.
fn work(write: &Write) -> Work {
    Work {
        tool: "write".to_owned(),
        rw: "write".to_owned(),
        on: write.on.iter().map(ToString::to_string).collect(),
        block_bytes: write.bs.bytes(),
        bytes_each: write.bs.bytes().saturating_mul(write.count),
        runtime_seconds: None,
        queue_depth: 1,
        direct: true,
        sync: "each".to_owned(),
    }
}

/// Gives the bytes that were acknowledged.
async fn write_one(doing: Doing<'_>, meter: &Meter, mut writer: Writer) -> Result<u64, Failure> {
    let context = doing.context;
    let (ended, heard) = {
        let (node, release) = (writer.node.clone(), gate::release(&writer.folder));
        let mut running = std::pin::pin!(doing.exec(&node, &release));
        let mut heard = false;
        let ended = loop {
            tokio::select! {
                biased;
                Some(line) = writer.lines.recv(), if !heard => {
                    heard = take(doing, meter, &mut writer, &line)?;
                }
                ended = &mut running => break ended,
            }
        };
        (ended, heard)
    };
    if !heard {
        // Nothing that it said may be left out. It does not come to an end where the guest did not.
        let rest = async {
            while let Some(line) = writer.lines.recv().await {
                if take(doing, meter, &mut writer, &line)? {
                    break;
                }
            }
            Ok::<_, Failure>(())
        };
        timeout(LAST_LINE, rest).await.unwrap_or(Ok(()))?;
    }
    let Some(ack_log) = context.ack_logs().remove(&writer.path) else {
        let path = &writer.path;
        return Err(Failure::internal(format!("the account of {path} is gone")));
    };
    sample(doing, &writer, &ack_log);
    verdict(doing, &writer.node, &ack_log, ended)?;
    Ok(ack_log.throughput().0)
}

/// Whether the writer ended as it must, or was ended on purpose.
fn verdict(
    doing: Doing<'_>,
    node: &NodeName,
    ack_log: &AckLog,
    ended: Result<Ended, Failure>,
) -> Result<(), Failure> {
    let what = format!("write {} on {node}", ack_log.path);
    let progress = ack_log.progress();
    if let Some(down) = doing.context.down(node) {
        return match &down.reason {
            DownReason::Step(_) | DownReason::Removed(_) | DownReason::FencedItself(_) => {
                let reason = down.reason;
                doing
                    .scope
                    .progress(Some(node), format!("{reason}; {progress}"));
                Ok(())
            }
            DownReason::Fenced(_) => {
                let down = Failure::from(Cause::NodeDown {
                    node: node.clone(),
                    why: Some(down.reason),
                    failure: None,
                });
                Err(down.during(format!("{what}: {progress}")))
            }
        };
    }
    let ended = ended.map_err(|failure| failure.during(format!("{what}: {progress}")))?;
    if let Some(Ending::Error(said)) = ack_log.ended() {
        let failed = Failure::from(Cause::WriteFailed {
            what,
            said: said.clone(),
            progress,
        });
        return Err(failed.on(node));
    }
    ended
        .success()
        .map_err(|failure| failure.during(format!("{what}: {progress}")))?;
    if ack_log.ended() != Some(&Ending::Complete) || !ack_log.is_complete() {
        let text = format!("{what}: it ended well, but by its acknowledgements {progress}");
        return Err(Failure::not_understood(text).on(node));
    }
    Ok(())
}

/// Takes a line in; `true`: it was the last.
fn take(
    doing: Doing<'_>,
    meter: &Meter,
    writer: &mut Writer,
    line: &Line,
) -> Result<bool, Failure> {
    let at = doing.context.event_log.seconds_at(line.at);
    let course = doing.context.hears(&writer.path, at, &line.text)?;
    if course != Course::Ahead && writer.ahead.take().is_some() {
        meter.begins(line.at);
    }
    if course == Course::Over {
        meter.ends(line.at);
    }
    Ok(course == Course::Over)
}

fn sample(doing: Doing<'_>, writer: &Writer, ack_log: &AckLog) {
    let (bytes, seconds) = ack_log.throughput();
    if bytes == 0 {
        return;
    }
    let node = &writer.node;
    let figures = Acknowledged {
        interval_seconds: writer.interval.map(|interval| interval.as_secs_f64()),
        ..ack_log.figures()
    };
    let (step, arch) = (doing.step.label.as_str(), doing.context.arch(node));
    let told = format!(
        "{} blocks acknowledged, longest gap {:.2} s from {:.1} s on",
        figures.blocks, figures.longest_gap_seconds, figures.longest_gap_at
    );
    let sample = Sample {
        at: ack_log.begun(),
        acknowledged: Some(figures),
        ..Sample::new(step, node.as_str(), arch, bytes, seconds, seconds)
    };
    doing.scope.sampled(node, sample);
    doing.scope.progress(Some(node), told);
}

fn arguments(ack_log: &AckLog, write: &Write) -> String {
    let interval = write.interval.map_or_else(String::new, |interval| {
        format!(" --interval {}", interval.as_millis())
    });
    format!("{} --count {}{interval}", ack_log.arguments(), write.count)
}

/// Leaves a writer behind that waits at the fifo `go`.
fn waiting(folder: &str, path: &str, arguments: &str) -> String {
    let path = quote(path);
    let command = format!("{WITNESS} write --file {path} {arguments} --ack {EVENT_PORT_PATH}");
    gate::waiting(folder, "", &command)
}

#[cfg(test)]
mod tests {
    use sanlab_plan::ByteSize;

    use super::*;

    #[test]
    fn a_writer_waits_for_its_start() {
        let ack_log = AckLog::new(
            "step w on vc",
            ("vc", 3),
            "/mnt/san/vc.journal",
            262_144,
            400,
        );
        let write = Write {
            on: Vec::new(),
            of: "{node}.journal".to_owned(),
            bs: ByteSize::from_bytes(262_144),
            count: 400,
            interval: None,
            background: true,
        };
        let plain = arguments(&ack_log, &write);
        insta::assert_snapshot!(waiting("/run/sanlab/w", &ack_log.path, &plain));
        let interval = Some(Duration::from_millis(20));
        let paced = arguments(&ack_log, &Write { interval, ..write });
        assert_eq!(paced, format!("{plain} --interval 20"));
    }
}
