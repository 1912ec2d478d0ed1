//! `crash`, `restart`, `stop_process` and `start`: what breaks, and what mends it.

use std::time::Duration;

use super::Walk;
use crate::diagnostic::{Diagnostic, Span};
use crate::document;
use crate::layers::{LayerKind, Property};
use crate::plan::{Crash, Restart, Start, StopProcess};
use crate::suggest::quoted;
use crate::topology::Must;

/// The longest time within which a crash may happen.
const WITHIN: Duration = Duration::from_secs(3600);

impl Walk<'_> {
    pub(super) fn crash(&mut self, entry: &document::Crash, span: &Span) -> Option<Crash> {
        if let Some(within) = entry.within.as_ref().filter(|within| within.value > WITHIN) {
            self.mistakes.note(
                Diagnostic::at(&within.span, "impossible `within`")
                    .label("out of range")
                    .help("give at most 60m"),
            );
        }
        let crashed = entry
            .node
            .as_ref()
            .filter(|node| self.topology.crash(node, span, self.mistakes));
        if crashed.is_none() {
            self.topology.lose_track();
        }
        Some(Crash {
            node: crashed?.value.clone(),
            how: entry.how.as_ref()?.value,
            within: entry.within.as_ref()?.value,
        })
    }

    pub(super) fn restart(&mut self, entry: &document::Restart, span: &Span) -> Option<Restart> {
        let restarted = entry
            .node
            .as_ref()
            .filter(|node| self.topology.restart(node, span, self.mistakes));
        if restarted.is_none() {
            self.topology.lose_track();
        }
        Some(Restart {
            node: restarted?.value.clone(),
        })
    }

    pub(super) fn stop_process(
        &mut self,
        entry: &document::StopProcess,
        span: &Span,
    ) -> Option<StopProcess> {
        let letters = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        if let Some(process) = entry
            .process
            .as_ref()
            .filter(|process| !process.chars().all(letters))
        {
            self.mistakes.note(
                Diagnostic::at(
                    &process.span,
                    format!("`{}` is not a program's name", process.value),
                )
                .label("letters, digits, `-`, `_` and `.`")
                .help("write the name alone, without path and arguments, such as `gnbd_serv`"),
            );
        }
        let list = entry.on.as_ref()?;
        let on = self
            .topology
            .choose(Some(list), Must::BeThere, span, self.mistakes)?;
        self.topology.stop(&on);
        Some(StopProcess {
            on,
            process: entry.process.as_ref()?.value.clone(),
            signal: entry.signal.as_ref()?.value,
        })
    }

    pub(super) fn start(&mut self, entry: &document::Start, span: &Span) -> Option<Start> {
        let (list, layer) = (entry.on.as_ref()?, entry.layer.as_ref()?);
        let on = self
            .topology
            .choose(Some(list), Must::BeThere, span, self.mistakes)?;
        let (kind, tower) = (layer.value, self.topology.tower);
        if !kind.has(Property::Daemons) {
            let startable: Vec<&str> = LayerKind::with(Property::Daemons)
                .map(LayerKind::as_str)
                .collect();
            let words = quoted(&startable);
            self.mistakes.note(
                Diagnostic::at(&layer.span, format!("`{kind}` has no daemons to start"))
                    .label("not these")
                    .help(format!("the layers with daemons of their own are {words}")),
            );
            return None;
        }
        let Some(without) = on.iter().find(|node| !tower.has(node, kind)) else {
            return Some(Start { on, layer: kind });
        };
        if tower.whole {
            let diagnostic = match tower.storey(kind) {
                None => Diagnostic::at(&layer.span, format!("no layer `{kind}` in this scenario"))
                    .label("nothing to start")
                    .help(format!(
                        "add a `[[layer]]` with `{kind}`, or drop this step"
                    )),
                Some(storey) => Diagnostic::at(&list.span, format!("`{without}` has no `{kind}`"))
                    .label("nothing to start there")
                    .help(format!("`{kind}` is on {}", quoted(&storey.on))),
            };
            self.mistakes.note(diagnostic);
        }
        None
    }
}
