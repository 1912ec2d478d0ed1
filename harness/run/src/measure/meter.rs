//! What a stretch of work costs all nodes.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use sanlab_record::{Cost, Measurement, Work};
use tokio::time::Instant;

use crate::backend::{Costs, FleetBackend};
use crate::engine::event_log::EventLog;

/// What was spent between two readings, by everybody who is in the second: counters never fall, whatever becomes of a node.
pub(crate) fn spent(before: &Costs, after: &Costs) -> Costs {
    let nodes = after.iter().map(|(node, now)| {
        let then = before.get(node);
        let instructions = match then {
            None => now.instructions,
            // What could not be read at one end is not known.
            Some(then) => now
                .instructions
                .zip(then.instructions)
                .map(|(now, then)| now.saturating_sub(then)),
        };
        let then = then.copied().unwrap_or_default();
        let cost = Cost {
            instructions,
            host_cpu_seconds: micros(now.host_cpu_seconds - then.host_cpu_seconds),
            sent_bytes: now.sent_bytes.saturating_sub(then.sent_bytes),
            received_bytes: now.received_bytes.saturating_sub(then.received_bytes),
        };
        (node.clone(), cost)
    });
    nodes.collect()
}

/// To the microsecond, and never below 0: a difference has digits that mean nothing.
fn micros(seconds: f64) -> f64 {
    (seconds * 1e6).round().max(0.0) / 1e6
}

/// Reads all nodes' counters when the first of several workers begins and when the last of them ends.
pub(crate) struct Meter {
    backend: Arc<dyn FleetBackend>,
    state: Mutex<State>,
}

struct State {
    /// How many have not ended.
    working: usize,
    /// When they were let go, until the first reports that it has begun.
    from: (Instant, Costs),
    begun: bool,
    to: Option<(Instant, Costs)>,
}

impl Meter {
    /// Just before so many workers are let go.
    pub(crate) fn new(backend: &Arc<dyn FleetBackend>, workers: usize) -> Self {
        Self {
            backend: Arc::clone(backend),
            state: Mutex::new(State {
                working: workers,
                from: (Instant::now(), backend.costs()),
                begun: false,
                to: None,
            }),
        }
    }

    /// One reports that it began at `at`; the first to do so begins the measurement.
    pub(crate) fn begins(&self, at: Instant) {
        let mut state = self.state();
        if !state.begun {
            state.begun = true;
            state.from = (at, self.backend.costs());
        }
    }

    /// One reports that it ended at `at`; the last to do so ends the measurement.
    pub(crate) fn ends(&self, at: Instant) {
        let mut state = self.state();
        state.working = state.working.saturating_sub(1);
        if state.working == 0 {
            state.to = Some((at, self.backend.costs()));
        }
    }

    /// What was measured of `bytes` in all; `None` as long as somebody works.
    pub(crate) fn measured(
        &self,
        event_log: &EventLog,
        step: &str,
        round: Round,
        work: Work,
        bytes: u64,
    ) -> Option<Measurement> {
        let state = self.state();
        let (from, before) = &state.from;
        let (to, after) = state.to.as_ref()?;
        Some(Measurement {
            step: step.to_owned(),
            repetition: round.repetition,
            warm_up: round.warm_up,
            work,
            at: event_log.seconds_at(*from),
            seconds: to.saturating_duration_since(*from).as_secs_f64(),
            bytes,
            nodes: spent(before, after),
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Which of a step's repetitions it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Round {
    /// From 1; warm-ups count on their own.
    pub(crate) repetition: u32,
    pub(crate) warm_up: bool,
}

impl Round {
    /// That of a step that does its work once.
    pub(crate) const ONLY: Self = Self {
        repetition: 1,
        warm_up: false,
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    fn costs(nodes: &[(&str, Option<u64>, f64, u64)]) -> Costs {
        let cost = |(node, instructions, cpu, bytes): &(&str, Option<u64>, f64, u64)| {
            let cost = Cost {
                instructions: *instructions,
                host_cpu_seconds: *cpu,
                sent_bytes: *bytes,
                received_bytes: 2 * bytes,
            };
            ((*node).to_owned(), cost)
        };
        nodes.iter().map(cost).collect()
    }

    #[test]
    fn what_is_spent_is_the_difference() {
        let before = costs(&[("a", Some(100), 1.0, 10)]);
        let after = costs(&[("a", Some(150), 1.5, 30), ("new", Some(7), 0.25, 3)]);
        let expected = costs(&[("a", Some(50), 0.5, 20), ("new", Some(7), 0.25, 3)]);
        assert_eq!(spent(&before, &after), expected);
    }

    #[test]
    fn what_nothing_counted_at_one_end_is_not_known() {
        let none = costs(&[("a", None, 1.0, 10)]);
        let some = costs(&[("a", Some(40), 2.0, 15)]);
        assert_eq!(spent(&none, &some)["a"].instructions, None);
        assert_eq!(spent(&some, &none)["a"].instructions, None);
    }
}
