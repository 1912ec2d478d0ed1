//! Files and lines of source for the call traces of a run that did not pass.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use sanlab_fleet::{Call, Image, ImageError, Store, Symbols};
use sanlab_plan::{Artefact, ArtefactKind, ImageName, NodeName, Plan};
use sanlab_record::{EventKind, FailureKind, Finding, Outcome, Source, TraceLine};
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, timeout_at};

use crate::engine::event_log::EventLog;
use crate::evidence::call_trace::{self, TracedCall};

/// For all nodes of a run together: its record waits for it.
const LOOK_UP: Duration = Duration::from_secs(60);

/// Runs side by side may die of the same oops at once. Debug symbols of a kernel take hundreds of MiB while they are read.
static ONE_READER: Semaphore = Semaphore::const_new(1);

/// What call traces of a run are looked up with.
pub(crate) struct Sources<'a> {
    pub(crate) plan: &'a Plan,
    pub(crate) images: &'a BTreeMap<NodeName, Image>,
    pub(crate) store: &'a Store,
    /// The last lines of consoles, as they were heard.
    pub(crate) tails: &'a BTreeMap<String, Vec<String>>,
    /// Where the consoles' logs are.
    pub(crate) out_dir: &'a Path,
    pub(crate) event_log: &'a EventLog,
}

impl Sources<'_> {
    /// Gives findings that count, in kernel logs, their call traces with files and lines, where the kernel's debug symbols are there. Where they are not,
    /// an event says how to get them. What goes wrong is told and stops nothing.
    pub(crate) async fn add_to(&self, findings: &mut [Finding], outcome: &Outcome) {
        // Who has interrupted a run waits for its record.
        if outcome
            .failure()
            .is_none_or(|failure| failure.kind == FailureKind::Interrupted)
        {
            return;
        }
        let until = Instant::now() + LOOK_UP;
        let mut lacking: BTreeMap<(String, String), Vec<String>> = BTreeMap::new();
        for node in &self.plan.nodes {
            let of_node = |finding: &&mut Finding| {
                finding.node == node.name.as_str()
                    && finding.excuse.is_none()
                    && finding.source == Source::KernelLog
            };
            let found: Vec<&mut Finding> = findings.iter_mut().filter(of_node).collect();
            if found.is_empty() {
                continue;
            }
            let traced = self.traced(&node.name, &found).await;
            let Some(image) = self.images.get(&node.name) else {
                continue;
            };
            if traced.iter().all(Vec::is_empty) {
                continue;
            }
            let located = timeout_at(until, self.located(&node.name, image, &traced));
            let Ok(located) = located.await else {
                let text = format!(
                    "no source lines of call traces: debug symbols were not read within {} s",
                    LOOK_UP.as_secs()
                );
                self.event_log.note(None, EventKind::Progress { text });
                break;
            };
            match located {
                Ok(Some(lines)) => {
                    for ((finding, calls), lines) in found.into_iter().zip(traced).zip(lines) {
                        if lines.iter().any(|lines| !lines.is_empty()) {
                            finding.trace = trace(calls, lines);
                        }
                    }
                }
                Ok(None) => {
                    let name = self.plan.image_of(node).as_str();
                    let arch = node.hardware.arch.as_str();
                    let artefacts = self.plan.artefacts_of(&node.name);
                    let kernel = (image.kernel_release.clone(), remedy(artefacts, name, arch));
                    lacking
                        .entry(kernel)
                        .or_default()
                        .push(node.name.to_string());
                }
                Err(error) => {
                    let text = format!("no source lines of the call trace: failed to {error}");
                    let kind = EventKind::Progress { text };
                    self.event_log.note(Some(node.name.as_str()), kind);
                }
            }
        }
        for ((kernel, remedy), nodes) in lacking {
            let kind = EventKind::NoSymbols {
                kernel,
                nodes,
                remedy,
            };
            self.event_log.note(None, kind);
        }
    }

    /// The calls of each finding, from what was heard last. What was earlier is taken from QEMU's log, which may have a character twice.
    async fn traced(&self, node: &NodeName, findings: &[&mut Finding]) -> Vec<Vec<TracedCall>> {
        let path: PathBuf = self.out_dir.join(format!("{node}.console.log"));
        // Without a log there are no call traces.
        let console = fs_err::tokio::read(path).await.unwrap_or_default();
        let console = String::from_utf8_lossy(&console);
        let tail = self.tails.get(node.as_str());
        let tail = tail.map(|lines| lines.join("\n")).unwrap_or_default();
        let calls = findings.iter().map(|finding| {
            let heard = call_trace::of_report(&tail, &finding.text);
            if heard.is_empty() {
                call_trace::of_report(&console, &finding.text)
            } else {
                heard
            }
        });
        calls.collect()
    }

    /// For each call its files and lines; nothing if there are no debug symbols.
    async fn located(
        &self,
        node: &NodeName,
        image: &Image,
        traced: &[Vec<TracedCall>],
    ) -> Result<Option<Vec<Vec<Vec<String>>>>, ImageError> {
        let artefacts: Vec<Artefact> = self.plan.artefacts_of(node).cloned().collect();
        let (image, store) = (image.clone(), self.store.clone());
        let lengths: Vec<usize> = traced.iter().map(Vec::len).collect();
        let calls = traced.iter().flatten();
        let calls: Vec<Call> = calls.map(|(_, call)| call.clone()).collect();
        let look_up = move || {
            let symbols = Symbols::find(&image, &artefacts, &store)?;
            let lines = symbols.lines(&calls)?;
            let known = symbols.kernel().is_some() || lines.iter().any(|lines| !lines.is_empty());
            Ok(known.then_some(lines))
        };
        let one = ONE_READER.acquire().await.map_err(std::io::Error::other)?;
        let looked_up = spawn_blocking(move || {
            let _one = one;
            look_up()
        })
        .await;
        let lines: Result<Option<Vec<Vec<String>>>, ImageError> =
            looked_up.map_err(std::io::Error::from)?;
        Ok(lines?.map(|lines| {
            let mut lines = lines.into_iter();
            let each = lengths
                .into_iter()
                .map(|length| lines.by_ref().take(length).collect());
            each.collect()
        }))
    }
}

fn trace(calls: Vec<TracedCall>, lines: Vec<Vec<String>>) -> Vec<TraceLine> {
    let both = calls.into_iter().zip(lines);
    both.map(|((text, _), lines)| TraceLine { text, lines })
        .collect()
}

/// How to get the symbols of the kernel that a node boots.
fn remedy<'a>(artefacts: impl Iterator<Item = &'a Artefact>, image: &str, arch: &str) -> String {
    let mut kernels = artefacts.filter(|one| matches!(one.kind, ArtefactKind::Kernel { .. }));
    let kernel = kernels.next();
    let name = kernel.map_or(Some(image), |kernel| kernel.image().map(ImageName::as_str));
    match name {
        Some(name) => format!("`sanlab image symbols {name} --arch {arch}` fetches them"),
        None => {
            "build it with CONFIG_DEBUG_INFO_DWARF5, and give its tree by `--kernel`".to_owned()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_way_to_symbols_depends_on_the_kernel() {
        let kernel = |from: &str, image: Option<&str>| Artefact {
            kind: ArtefactKind::Kernel {
                image: image.map(|name| ImageName::parse(name).unwrap()),
            },
            from: from.into(),
            on: Vec::new(),
        };
        let module = Artefact {
            kind: ArtefactKind::Module,
            ..kernel("ocfs2.ko", None)
        };
        let tree = kernel("linux", None);
        let other = kernel("trixie", Some("trixie"));
        let said = [vec![&module], vec![&module, &tree], vec![&other]]
            .map(|artefacts| remedy(artefacts.into_iter(), "debian-bookworm", "x86_64"));
        insta::assert_snapshot!(said.join("\n"), @r"
        `sanlab image symbols debian-bookworm --arch x86_64` fetches them
        build it with CONFIG_DEBUG_INFO_DWARF5, and give its tree by `--kernel`
        `sanlab image symbols trixie --arch x86_64` fetches them
        ");
    }
}
