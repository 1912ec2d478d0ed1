//! `dd`: one writer, or many from a common start.
//!
//! Every guest has its dd waiting at a fifo before any is let go. What dd reported as written is remembered:
//! from then on every node must see it.

use std::fmt::Write as _;

use futures_util::future::try_join_all;
use sanlab_plan::{Dd, NodeName, Source};
use sanlab_record::Sample;
use tokio::time::Instant;

use super::{Doing, gate};
use crate::Fault;
use crate::dd_report::{self, DdReport};
use crate::scene::{Acknowledged, Content};
use crate::tasks::quote;

/// Release and report take up to this much of the host's time on a busy host, seconds. A greater difference, or a
/// fifth of a long dd, tells of a guest whose clock loses time, and of a figure that is not to be trusted.
const CLOCKS_APART: f64 = 3.0;

/// A dd that waits for its start.
pub(super) struct Writer {
    node: NodeName,
    /// Absolute, in the guest.
    path: String,
    /// What will be there, when it can be told beforehand.
    content: Option<Content>,
    bytes: u64,
    /// In the guest: the fifos, dd's report, and what it reads.
    folder: String,
}

/// Makes what is to be written, and a dd on each node that waits at its fifo.
pub(super) async fn prepare(doing: Doing<'_>, dd: &Dd) -> Result<Vec<Writer>, Fault> {
    let at = &doing.scene.volume()?.at;
    let folder = format!(
        "/run/sanlab/{}",
        doing.step.label.as_str().replace(' ', "_")
    );
    try_join_all(dd.on.iter().map(|node| {
        let path = format!("{at}/{}", dd.of.replace("{node}", node.as_str()));
        let folder = folder.clone();
        async move {
            let ended = doing.exec(node, &waiting(dd, &folder, &path)).await?;
            let said = ended
                .success()
                .map_err(|fault| fault.during(format!("prepare dd on {node}")))?;
            // Appended to or written into, the file is more than what this dd writes.
            let whole = !dd.oflag.iter().any(|flag| flag == "append")
                && !dd.conv.iter().any(|conv| conv == "notrunc");
            let content = match dd.source {
                Source::Zero => Content::Zeros,
                Source::Random => Content::Sha256(
                    said.split_whitespace()
                        .next()
                        .unwrap_or_default()
                        .to_owned(),
                ),
            };
            doing.scene.forget(&path);
            Ok(Writer {
                node: node.clone(),
                path,
                content: whole.then_some(content),
                bytes: dd.bytes(),
                folder,
            })
        }
    }))
    .await
}

/// Lets all writers go at once and waits for every one.
pub(super) async fn write(doing: Doing<'_>, writers: &[Writer]) -> Result<(), Fault> {
    doing
        .scope
        .progress(None, format!("{} writing", writers.len()));
    try_join_all(writers.iter().map(|writer| write_one(doing, writer))).await?;
    Ok(())
}

async fn write_one(doing: Doing<'_>, writer: &Writer) -> Result<(), Fault> {
    let Writer {
        node,
        path,
        content,
        bytes,
        folder,
    } = writer;
    let what = format!("dd of={path}");
    let started = Instant::now();
    let ended = doing.exec(node, &gate::release(folder)).await?;
    let host_seconds = started.elapsed().as_secs_f64();
    let stderr = ended.stderr.clone();
    ended
        .success()
        .map_err(|fault| fault.during(format!("{what} on {node}")))?;
    let report = dd_report::parse(&stderr);
    let Some(DdReport {
        bytes: written,
        seconds,
    }) = report.filter(|report| report.bytes == *bytes)
    else {
        let said = stderr.trim_end();
        return Err(Fault::Stack(format!(
            "{what} on {node}: it must write {bytes} bytes, but said: {said}"
        )));
    };
    if let Some(content) = content {
        let by = format!("acknowledged by {} on {node}", doing.scope.name());
        doing.scene.acknowledge(
            path.clone(),
            Acknowledged {
                by,
                bytes: written,
                content: content.clone(),
            },
        );
    }
    if (host_seconds - seconds).abs() > CLOCKS_APART.max(host_seconds * 0.2) {
        let clocks = format!(
            "the clock of {node} is off: dd took {seconds} s by its own, {host_seconds:.2} s by the host's"
        );
        doing.scope.progress(Some(node), clocks);
    }
    let arch = doing
        .scene
        .plan
        .node(node)
        .map_or("", |node| node.arch.as_str());
    let step = doing.step.label.as_str();
    doing.scope.measured(
        node,
        Sample::new(step, node.as_str(), arch, written, seconds, host_seconds),
    );
    Ok(())
}

/// Leaves a dd behind that waits at the fifo `go`; prints the sha256 of what it will read, if that is random.
fn waiting(dd: &Dd, folder: &str, path: &str) -> String {
    let (make, source) = match dd.source {
        Source::Zero => (String::new(), "/dev/zero"),
        Source::Random => (
            format!(
                "/usr/bin/head -c {} /dev/urandom >source\n/usr/bin/sha256sum <source\n",
                dd.bytes()
            ),
            "source",
        ),
    };
    let mut command = format!(
        "/bin/dd if={source} of={} bs={} count={}",
        quote(path),
        dd.bs.bytes(),
        dd.count
    );
    for (key, flags) in [("oflag", &dd.oflag), ("conv", &dd.conv)] {
        if !flags.is_empty() {
            let _ = write!(command, " {key}={}", quote(&flags.join(",")));
        }
    }
    gate::waiting(folder, &make, &format!("LC_ALL=C {command}"))
}

#[cfg(test)]
mod tests {
    use sanlab_plan::ByteSize;

    use super::*;

    fn dd(source: Source) -> Dd {
        Dd {
            on: Vec::new(),
            source,
            of: "{node}.img".to_owned(),
            bs: ByteSize::from_mib(1),
            count: 400,
            oflag: vec!["direct".to_owned(), "sync".to_owned()],
            conv: Vec::new(),
            background: false,
        }
    }

    #[test]
    fn a_dd_waits_for_its_start() {
        let waiting = |source| waiting(&dd(source), "/run/sanlab/load", "/mnt/nbdsan/vc.img");
        insta::assert_snapshot!("zeros", waiting(Source::Zero));
        insta::assert_snapshot!("random", waiting(Source::Random));
    }
}
