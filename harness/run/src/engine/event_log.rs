//! What happened, with times: sent to the listener at once and kept for the record.

use std::path::Path;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use sanlab_fleet::Printed;
use sanlab_plan::NodeName;
use sanlab_record::{Dip, Event, EventKind, Measurement, Origin, Phase, PhaseName, Sample};
use tokio::sync::mpsc::UnboundedSender;
use tokio::time::Instant;

use crate::Failure;
use crate::checkpoint::Done;
use crate::evidence::output::{self, OutputFolder};
use crate::failure::PhaseFailure;

/// The run's memory. Clones share it.
#[derive(Clone)]
pub(crate) struct EventLog(Arc<Inner>);

struct Inner {
    began: Instant,
    listener: UnboundedSender<Event>,
    logged: Mutex<Logged>,
    /// Where what guests print is kept, if anywhere.
    folder: OnceLock<Arc<OutputFolder>>,
}

/// Everything that an event log holds.
#[derive(Default)]
pub(crate) struct Logged {
    pub(crate) events: Vec<Event>,
    pub(crate) phases: Vec<Phase>,
    pub(crate) samples: Vec<Sample>,
    pub(crate) measurements: Vec<Measurement>,
    pub(crate) dips: Vec<Dip>,
    /// The phase in the foreground, for what happens outside of any step's control.
    current: Option<PhaseName>,
}

impl EventLog {
    /// Begins the run's clock. A listener that went away is no matter: the record keeps everything.
    pub(crate) fn new(listener: UnboundedSender<Event>) -> Self {
        Self(Arc::new(Inner {
            began: Instant::now(),
            listener,
            logged: Mutex::default(),
            folder: OnceLock::new(),
        }))
    }

    /// From now on what guests print is kept below `folder`. Only the first one counts.
    pub(crate) fn keep_output_in(&self, folder: &Path) {
        self.0
            .folder
            .get_or_init(|| OutputFolder::new(folder.to_owned()));
    }

    /// Begins a phase in the foreground.
    pub(crate) fn phase(&self, name: PhaseName) -> Scope {
        self.logged().current = Some(name.clone());
        self.background(name)
    }

    /// Begins a phase that runs beside the others.
    pub(crate) fn background(&self, name: PhaseName) -> Scope {
        let scope = Scope {
            event_log: self.clone(),
            name,
            since: Instant::now(),
            origin: Mutex::default(),
            kept: false,
        };
        scope.say(None, EventKind::PhaseStarted);
        scope
    }

    /// Seconds from the run's begin to a moment.
    pub(crate) fn seconds_at(&self, moment: Instant) -> f64 {
        moment.saturating_duration_since(self.0.began).as_secs_f64()
    }

    /// The phase in the foreground.
    pub(crate) fn current(&self) -> Option<PhaseName> {
        self.logged().current.clone()
    }

    /// Notes something that happened outside of a step's control, under the phase in the foreground.
    pub(crate) fn note(&self, node: Option<&str>, kind: EventKind) {
        self.tell(self.current(), node, kind);
    }

    /// The samples of a step so far.
    pub(crate) fn samples_of(&self, step: &str) -> Vec<Sample> {
        let logged = self.logged();
        let of_it = logged.samples.iter().filter(|sample| sample.step == step);
        of_it.cloned().collect()
    }

    /// From when to when a phase went on that has ended, seconds since the run began: the last of that name.
    pub(crate) fn span_of(&self, phase: &PhaseName) -> Option<(f64, f64)> {
        let logged = self.logged();
        let last = logged.phases.iter().rfind(|one| one.name == *phase)?;
        Some((last.at, last.at + last.seconds))
    }

    /// Whether `wanted` is true of some event so far.
    pub(crate) fn any(&self, wanted: impl FnMut(&Event) -> bool) -> bool {
        self.logged().events.iter().any(wanted)
    }

    /// Takes out what was kept, phases in the order of their beginnings.
    pub(crate) fn take(&self) -> Logged {
        let mut logged = std::mem::take(&mut *self.logged());
        logged.phases.sort_by(|a, b| a.at.total_cmp(&b.at));
        logged
    }

    /// What has been done to the stack, in order, with what it took, whoever did it.
    pub(crate) fn phases_done(&self) -> Vec<Done> {
        let logged = self.logged();
        let mut phases: Vec<&Phase> = logged.phases.iter().collect();
        phases.sort_by(|a, b| a.at.total_cmp(&b.at));
        let of_the_stack = |phase: &&Phase| {
            matches!(
                phase.name,
                PhaseName::Boot | PhaseName::Layer(_) | PhaseName::Step(_)
            )
        };
        let done = phases.into_iter().filter(of_the_stack).map(|phase| Done {
            name: phase.name.clone(),
            seconds: match phase.origin {
                Origin::Forked { built_seconds, .. } => built_seconds,
                Origin::Built | Origin::Cloned { .. } => phase.seconds,
            },
        });
        done.collect()
    }

    /// Phases need not be done, because what they did was kept by another run. They stand where the one that was done
    /// last, the fork, began.
    pub(crate) fn inherited(&self, phases: impl IntoIterator<Item = (PhaseName, Origin)>) {
        let mut logged = self.logged();
        let at = logged.phases.last().map_or(0.0, |fork| fork.at);
        let inherited = phases.into_iter().map(|(name, origin)| Phase {
            name,
            at,
            seconds: 0.0,
            origin,
        });
        logged.phases.extend(inherited);
    }

    /// Notes something under a phase of the caller's choice.
    pub(crate) fn tell(&self, phase: Option<PhaseName>, node: Option<&str>, kind: EventKind) {
        // The time is taken under the lock, so that the order of events is the order of their times.
        let mut logged = self.logged();
        let event = Event {
            at: self.0.began.elapsed().as_secs_f64(),
            phase,
            node: node.map(str::to_owned),
            kind,
        };
        logged.events.push(event.clone());
        // The listener has no part in the run's success.
        let _ = self.0.listener.send(event);
    }

    fn logged(&self) -> std::sync::MutexGuard<'_, Logged> {
        self.0.logged.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A phase that is going on. Dropped before its end it leaves its seconds in the record, but no `PhaseEnded`.
pub(crate) struct Scope {
    event_log: EventLog,
    name: PhaseName,
    since: Instant,
    origin: Mutex<Origin>,
    kept: bool,
}

impl Scope {
    /// The phase's name.
    pub(crate) fn name(&self) -> &PhaseName {
        &self.name
    }

    /// How long it has been going on.
    pub(crate) fn elapsed(&self) -> Duration {
        self.since.elapsed()
    }

    /// Whether some event so far satisfies `wanted`.
    pub(crate) fn any(&self, wanted: impl FnMut(&Event) -> bool) -> bool {
        self.event_log.any(wanted)
    }

    /// Notes an event.
    pub(crate) fn say(&self, node: Option<&NodeName>, kind: EventKind) {
        self.event_log
            .tell(Some(self.name.clone()), node.map(NodeName::as_str), kind);
    }

    /// Notes a line for people.
    pub(crate) fn progress(&self, node: Option<&NodeName>, text: impl Into<String>) {
        self.say(node, EventKind::Progress { text: text.into() });
    }

    /// Keeps what a command printed on a node, in a file whose path from the record's folder comes back. What printed nothing
    /// and ended well leaves none; what cannot be kept is noted.
    pub(crate) async fn keep_output(
        &self,
        node: &NodeName,
        command: &str,
        status: &str,
        printed: &Printed,
    ) -> Option<String> {
        let folder = self.event_log.0.folder.get()?;
        let file = output::file(&self.name, node.as_str());
        let at = self.event_log.seconds_at(Instant::now());
        let section = output::section(at, command, status, printed);
        if let Err(error) = folder.append(&file, section).await {
            self.progress(Some(node), format!("{file} not kept: {error}"));
            return None;
        }
        let kind = EventKind::Printed {
            file: file.clone(),
            command: output::title(command),
            status: status.to_owned(),
            stdout_bytes: printed.stdout.len() as u64,
            stderr_bytes: printed.stderr.len() as u64,
        };
        self.say(Some(node), kind);
        Some(file)
    }

    /// It was not done from nothing.
    pub(crate) fn came_from(&self, origin: Origin) {
        *self.origin.lock().unwrap_or_else(PoisonError::into_inner) = origin;
    }

    /// Keeps a figure, and says it unless it is of a warm-up.
    pub(crate) fn sampled(&self, node: &NodeName, sample: Sample) {
        if sample.warm_up {
            self.event_log.logged().samples.push(sample);
            return;
        }
        let kind = EventKind::Measured {
            step: sample.step.clone(),
            mib_per_second: sample.mib_per_second,
        };
        self.event_log.logged().samples.push(sample);
        self.say(Some(node), kind);
    }

    /// Keeps what a repetition moved, and what that cost.
    pub(crate) fn measured(&self, measurement: Measurement) {
        self.event_log.logged().measurements.push(measurement);
    }

    /// Keeps what an event did to writers.
    pub(crate) fn dipped(&self, dip: Dip) {
        self.event_log.logged().dips.push(dip);
    }

    /// Ends it well.
    pub(crate) fn end(mut self) {
        let seconds = self.keep();
        self.say(None, EventKind::PhaseEnded { seconds });
    }

    /// Ends it as what was done in it has ended. A failure is given back with the phase's name.
    pub(crate) fn finish(self, done: Result<(), Failure>) -> Result<(), PhaseFailure> {
        match done {
            Ok(()) => {
                self.end();
                Ok(())
            }
            Err(failure) => Err(PhaseFailure {
                phase: self.name.clone(),
                failure,
            }),
        }
    }

    fn keep(&mut self) -> f64 {
        self.kept = true;
        let at = self
            .since
            .duration_since(self.event_log.0.began)
            .as_secs_f64();
        let seconds = self.since.elapsed().as_secs_f64();
        self.event_log.logged().phases.push(Phase {
            name: self.name.clone(),
            at,
            seconds,
            origin: std::mem::take(
                &mut *self.origin.lock().unwrap_or_else(PoisonError::into_inner),
            ),
        });
        seconds
    }
}

impl Drop for Scope {
    fn drop(&mut self) {
        if !self.kept {
            self.keep();
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::mpsc;

    use super::*;

    #[test]
    fn a_phase_ends_as_what_was_done_in_it() {
        let event_log = EventLog::new(mpsc::unbounded_channel().0);
        let boot = event_log.phase(PhaseName::Boot);
        assert!(boot.finish(Ok(())).is_ok());
        let layer = event_log.phase(PhaseName::layer("nbd"));
        let failed = layer.finish(Err(Failure::internal("a defect")));
        assert_eq!(failed.unwrap_err().phase, PhaseName::layer("nbd"));

        let events = event_log.take().events;
        let mut ended = events
            .iter()
            .filter(|event| matches!(event.kind, EventKind::PhaseEnded { .. }));
        assert_eq!(
            ended.next().and_then(|event| event.phase.as_ref()),
            Some(&PhaseName::Boot)
        );
        assert!(ended.next().is_none(), "what failed has no end");
    }

    #[test]
    fn a_phase_that_does_not_end_well_still_has_its_seconds() {
        let (listener, mut heard) = mpsc::unbounded_channel();
        let event_log = EventLog::new(listener);
        let load = event_log.background(PhaseName::step("load"));
        let boot = event_log.phase(PhaseName::Boot);
        boot.progress(None, "4 nodes");
        boot.end();
        let layer = event_log.phase(PhaseName::layer("nbd"));
        drop(layer);
        drop(load);
        event_log.note(
            Some("vix0"),
            EventKind::Failed {
                message: "gone".to_owned(),
            },
        );

        let logged = event_log.take();
        let names: Vec<_> = logged
            .phases
            .iter()
            .map(|phase| phase.name.to_string())
            .collect();
        assert_eq!(
            names,
            ["step load", "boot", "layer nbd"],
            "in the order of their beginnings"
        );
        assert!(logged.events.is_sorted_by(|a, b| a.at <= b.at));
        let ended = logged
            .events
            .iter()
            .filter(|event| matches!(event.kind, EventKind::PhaseEnded { .. }));
        assert_eq!(ended.count(), 1, "only boot ended well");
        assert_eq!(
            logged.events.last().and_then(|event| event.phase.clone()),
            Some(PhaseName::layer("nbd"))
        );
        let mut logged_live = Vec::new();
        while let Ok(event) = heard.try_recv() {
            logged_live.push(event);
        }
        assert_eq!(
            logged_live, logged.events,
            "the listener hears what the record keeps"
        );
    }
}
