//! `dd`: one writer, or many from a common start.
//!
//! Every guest has its dd waiting at a fifo before any is let go. What dd reported as written is remembered:
//! from then on every node must see it.

use std::fmt::Write as _;
use std::time::Duration;

use sanlab_plan::guest::{DD, MD5SUM};
use sanlab_plan::{Dd, NodeName, Source, quote};
use sanlab_record::{Sample, Work};
use tokio::time::{Instant, timeout};

use super::Doing;
use super::gate::{self, Times};
use super::random_bytes;
use crate::backend::Ended;
use crate::engine::join;
use crate::engine::state::{Acknowledged, Content};
use crate::measure::dd_report::{self, DdReport};
use crate::measure::meter::Meter;
use crate::{Extent, Failure};

/// Release and report take up to this much of the host's time on a busy host, seconds. A greater difference, or a
/// fifth of a long dd, shows a guest whose clock loses time, and of a figure that is not to be trusted.
const CLOCKS_APART: f64 = 3.0;
/// From a dd's end to the word of it that the guest sent before: both come over channels of their own.
const LAST_WORD: Duration = Duration::from_secs(1);

/// A dd that waits for its start.
pub(super) struct Writer {
    node: NodeName,
    /// Absolute, in the guest.
    path: String,
    /// What will be there, if that is known beforehand.
    content: Option<Content>,
    bytes: u64,
    /// In the guest: the fifos, dd's report, and what it reads.
    folder: String,
    /// Of a dd in the foreground: when it began and ended.
    times: Option<Times>,
}

/// Makes what is to be written, and a dd on each node that waits at its fifo.
pub(super) async fn prepare(doing: Doing<'_>, dd: &Dd) -> Result<Vec<Writer>, Failure> {
    let at = &doing.context.volume()?.at;
    let (id, folder) = (doing.step.label.to_string(), doing.folder());
    // Where nobody looks at it again, it need not be known.
    let proved = doing.context.extent() != Extent::Measures;
    join::all(dd.on.iter().map(|node| {
        let path = format!("{at}/{}", dd.of.replace("{node}", node.as_str()));
        let (folder, id) = (folder.clone(), id.clone());
        async move {
            let script = waiting(dd, &folder, &id, &path, proved);
            let ended = doing.exec(node, &script).await?;
            let said = ended
                .success()
                .map_err(|failure| failure.during(format!("prepare dd on {node}")))?;
            // Appended to or written into, the file is more than what this dd writes.
            let whole = proved
                && !dd.oflag.iter().any(|flag| flag == "append")
                && !dd.conv.iter().any(|conv| conv == "notrunc");
            let content = match dd.source {
                Source::Zero => Content::Zeros,
                Source::Random => Content::Md5(
                    said.split_whitespace()
                        .next()
                        .unwrap_or_default()
                        .to_owned(),
                ),
            };
            doing.context.forget(&path);
            let times = if dd.background {
                None
            } else {
                Some(Times::new(id, doing.context.backend.guest_events(node)?))
            };
            Ok(Writer {
                node: node.clone(),
                path,
                content: whole.then_some(content),
                bytes: dd.bytes(),
                folder,
                times,
            })
        }
    }))
    .await
}

/// Lets all writers go at once and waits for every one. In the foreground that is a measurement too; in the background it
/// cannot be told what is the writers' cost and what that of the steps beside them.
pub(super) async fn write(doing: Doing<'_>, dd: &Dd, writers: Vec<Writer>) -> Result<(), Failure> {
    doing
        .scope
        .progress(None, format!("{} writing", writers.len()));
    let meter = Meter::new(&doing.context.backend, writers.len());
    let writing = writers
        .into_iter()
        .map(|writer| write_one(doing, &meter, writer));
    let bytes: Vec<u64> = join::all(writing).await?;
    if !dd.background {
        doing.measured(&meter, work(dd), bytes.iter().sum());
    }
    Ok(())
}

/// Gives the bytes that it wrote.
async fn write_one(doing: Doing<'_>, meter: &Meter, mut writer: Writer) -> Result<u64, Failure> {
    let what = format!("dd of={}", writer.path);
    let Released {
        ended,
        at,
        seconds: host_seconds,
    } = release(doing, meter, &mut writer).await?;
    let Writer {
        node,
        path,
        content,
        bytes,
        ..
    } = writer;
    let stderr = ended.stderr.clone();
    ended
        .success()
        .map_err(|failure| failure.during(format!("{what} on {node}")))?;
    let report = dd_report::parse(&stderr);
    let Some(DdReport {
        bytes: written,
        seconds,
    }) = report.filter(|report| report.bytes == bytes)
    else {
        let said = stderr.trim_end();
        let text = format!("{what} on {node}: it must write {bytes} bytes, but said: {said}");
        return Err(Failure::unexpected(text).on(&node));
    };
    if let Some(content) = content {
        let by = format!("acknowledged by {} on {node}", doing.scope.name());
        doing.context.acknowledge(
            path,
            Acknowledged {
                by,
                bytes: written,
                content,
            },
        );
    }
    clocks(doing, &node, seconds, host_seconds);
    let (step, arch) = (doing.step.label.as_str(), doing.context.arch(&node));
    let sample = Sample {
        at: Some(doing.context.event_log.seconds_at(at)),
        ..Sample::new(step, node.as_str(), arch, written, seconds, host_seconds)
    };
    doing.scope.sampled(&node, sample);
    Ok(written)
}

/// Says so if dd's own time is far from the host's.
pub(super) fn clocks(doing: Doing<'_>, node: &NodeName, seconds: f64, host_seconds: f64) {
    if (host_seconds - seconds).abs() > CLOCKS_APART.max(host_seconds * 0.2) {
        let clocks = format!(
            "the clock of {node} is off: dd took {seconds} s by its own, {host_seconds:.2} s by the host's"
        );
        doing.scope.progress(Some(node), clocks);
    }
}

/// A dd that was let go and has ended.
struct Released {
    ended: Ended,
    /// When it began.
    at: Instant,
    /// What it took by the host's clock.
    seconds: f64,
}

/// Lets a dd go and waits for its end. Where its words do not come, its script's own times count.
async fn release(
    doing: Doing<'_>,
    meter: &Meter,
    writer: &mut Writer,
) -> Result<Released, Failure> {
    let released = Instant::now();
    let script = gate::release(&writer.folder);
    let running = doing.exec(&writer.node, &script);
    let Some(times) = &mut writer.times else {
        let ended = running.await?;
        meter.ends(Instant::now());
        return Ok(Released {
            ended,
            at: released,
            seconds: released.elapsed().as_secs_f64(),
        });
    };
    let mut running = std::pin::pin!(running);
    let mut listening = true;
    let ended = loop {
        tokio::select! {
            biased;
            // Nothing more is wanted then, or nothing more comes.
            _ = times.listen(meter), if listening => listening = false,
            ended = &mut running => break ended?,
        }
    };
    if times.begun.is_some() && times.over.is_none() {
        // Without the word the script's end counts, which is no worse than a little late.
        let _ = timeout(LAST_WORD, times.listen(meter)).await;
    }
    let over = times.over.unwrap_or_else(|| {
        let now = Instant::now();
        meter.ends(now);
        now
    });
    let at = times.begun.unwrap_or(released);
    Ok(Released {
        ended,
        at,
        seconds: over.saturating_duration_since(at).as_secs_f64(),
    })
}

/// The same as a measurement.
fn work(dd: &Dd) -> Work {
    let has = |flags: &[String], wanted: &[&str]| {
        flags.iter().any(|flag| wanted.contains(&flag.as_str()))
    };
    let sync = if has(&dd.oflag, &["sync", "dsync"]) {
        "each"
    } else if has(&dd.conv, &["fsync", "fdatasync"]) {
        "end"
    } else {
        "never"
    };
    Work {
        tool: "dd".to_owned(),
        rw: "write".to_owned(),
        on: dd.on.iter().map(ToString::to_string).collect(),
        block_bytes: dd.bs.bytes(),
        bytes_each: dd.bytes(),
        runtime_seconds: None,
        queue_depth: 1,
        direct: has(&dd.oflag, &["direct"]),
        sync: sync.to_owned(),
    }
}

/// Leaves a dd behind that waits at the fifo `go`; prints the MD5 of what it will read, if that is random and will be proved.
fn waiting(dd: &Dd, folder: &str, id: &str, path: &str, proved: bool) -> String {
    let (make, source) = match dd.source {
        Source::Zero => (String::new(), "/dev/zero"),
        Source::Random => (
            format!(
                "{}{} >source\nrm base\n{}",
                random_bytes::draw(),
                random_bytes::print(dd.bytes()),
                if proved {
                    format!("{MD5SUM} <source\n")
                } else {
                    String::new()
                }
            ),
            "source",
        ),
    };
    let mut command = format!(
        "{DD} if={source} of={} bs={} count={}",
        quote(path),
        dd.bs.bytes(),
        dd.count
    );
    for (key, flags) in [("oflag", &dd.oflag), ("conv", &dd.conv)] {
        if !flags.is_empty() {
            let _ = write!(command, " {key}={}", quote(&flags.join(",")));
        }
    }
    let command = format!("LC_ALL=C {command}");
    if dd.background {
        gate::waiting(folder, &make, &command)
    } else {
        gate::timed(folder, id, &make, &command)
    }
}

#[cfg(test)]
mod tests {
    use sanlab_plan::ByteSize;

    use super::*;

    fn dd(source: Source, background: bool) -> Dd {
        Dd {
            on: Vec::new(),
            source,
            of: "{node}.img".to_owned(),
            bs: ByteSize::from_mib(1),
            count: 400,
            oflag: vec!["direct".to_owned(), "sync".to_owned()],
            conv: Vec::new(),
            background,
        }
    }

    #[test]
    fn a_dd_waits_for_its_start() {
        let waiting = |source, background| {
            let dd = dd(source, background);
            waiting(&dd, "/run/sanlab/load", "load", "/mnt/nbdsan/vc.img", true)
        };
        insta::assert_snapshot!("zeros", waiting(Source::Zero, true));
        insta::assert_snapshot!("random", waiting(Source::Random, false));
    }

    #[test]
    fn a_dd_is_a_work_like_others() {
        let work = work(&dd(Source::Zero, false));
        assert!(work.direct && work.sync == "each", "{work:?}");
        assert_eq!(work.bytes_each, 400 << 20);
    }
}
