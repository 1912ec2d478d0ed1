//! What every node does over the run's time, in stretches of half a second: sampled from outside, no guest notices.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sanlab_record::{Lane, Timeline};
use tokio::time::{Instant, MissedTickBehavior, interval_at};
use tokio_util::task::AbortOnDropHandle;

use crate::backend::{Costs, FleetBackend};
use crate::engine::event_log::EventLog;
use crate::measure::meter::spent;

/// How often the counters are read. A reading takes the host some ten microseconds a node.
const EVERY: Duration = Duration::from_millis(500);

/// A sampling that goes on until it is dropped.
pub(crate) struct Sampling {
    kept: Arc<Mutex<Kept>>,
    event_log: EventLog,
    backend: Arc<dyn FleetBackend>,
    _task: AbortOnDropHandle<()>,
}

/// What was sampled so far.
#[derive(Default)]
struct Kept {
    timeline: Timeline,
    last: Costs,
    /// When the reading before was made, seconds since the run began.
    last_at: f64,
}

impl Sampling {
    /// Begins; nothing is kept until there is a node.
    pub(crate) fn begin(backend: Arc<dyn FleetBackend>, event_log: EventLog) -> Self {
        let kept = Arc::<Mutex<Kept>>::default();
        let now = Instant::now();
        lock(&kept).last_at = event_log.seconds_at(now);
        let mut ticks = interval_at(now + EVERY, EVERY);
        // A reading that comes late makes its stretch longer, which its time tells.
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let task = {
            let (kept, backend, event_log) =
                (Arc::clone(&kept), Arc::clone(&backend), event_log.clone());
            tokio::spawn(async move {
                loop {
                    ticks.tick().await;
                    let at = event_log.seconds_at(Instant::now());
                    lock(&kept).take(at, backend.costs());
                }
            })
        };
        Self {
            kept,
            event_log,
            backend,
            _task: AbortOnDropHandle::new(task),
        }
    }

    /// Ends it with a last, shorter stretch. `None`: no node was ever there.
    pub(crate) fn end(self) -> Option<Timeline> {
        let at = self.event_log.seconds_at(Instant::now());
        let mut kept = lock(&self.kept);
        kept.take(at, self.backend.costs());
        let timeline = std::mem::take(&mut kept.timeline);
        (!timeline.at.is_empty()).then_some(timeline)
    }
}

impl Kept {
    /// Takes in a reading made at `at`.
    fn take(&mut self, at: f64, costs: Costs) {
        let timeline = &mut self.timeline;
        if timeline.at.is_empty() {
            timeline.from = self.last_at;
        }
        self.last_at = at;
        if timeline.at.is_empty() && costs.is_empty() {
            return;
        }
        let before = timeline.at.len();
        timeline.at.push(at);
        for (node, cost) in spent(&self.last, &costs) {
            let lane = timeline.nodes.entry(node).or_default();
            fill(lane, before);
            lane.host_cpu_seconds.push(round(cost.host_cpu_seconds));
            lane.sent_bytes.push(cost.sent_bytes);
            lane.received_bytes.push(cost.received_bytes);
        }
        self.last = costs;
    }
}

/// Makes a lane so long with stretches that cost nothing.
fn fill(lane: &mut Lane, length: usize) {
    lane.host_cpu_seconds.resize(length, 0.0);
    lane.sent_bytes.resize(length, 0);
    lane.received_bytes.resize(length, 0);
}

/// To a tenth of a millisecond: a record is not to be full of digits that mean nothing.
fn round(seconds: f64) -> f64 {
    (seconds * 1e4).round() / 1e4
}

fn lock(kept: &Mutex<Kept>) -> MutexGuard<'_, Kept> {
    kept.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use sanlab_record::Cost;

    use super::*;

    fn reading(nodes: &[(&str, f64, u64)]) -> Costs {
        let cost = |(node, cpu, sent): &(&str, f64, u64)| {
            let cost = Cost {
                instructions: None,
                host_cpu_seconds: *cpu,
                sent_bytes: *sent,
                received_bytes: 0,
            };
            ((*node).to_owned(), cost)
        };
        nodes.iter().map(cost).collect()
    }

    #[test]
    fn nodes_come_and_go() {
        let mut kept = Kept::default();
        kept.take(0.5, reading(&[]));
        kept.take(1.0, reading(&[("a", 0.25, 100)]));
        kept.take(1.5, reading(&[("a", 0.5, 150), ("b", 0.125, 10)]));
        // Gone, and back.
        kept.take(2.0, reading(&[("a", 0.5, 150), ("b", 0.25, 20)]));
        kept.take(2.5, reading(&[("a", 0.625, 170), ("b", 0.25, 20)]));
        let Timeline { at, from, nodes } = kept.timeline;
        assert_eq!(at, [1.0, 1.5, 2.0, 2.5]);
        assert_eq!(from.to_bits(), 0.5_f64.to_bits(), "where the first began");
        assert_eq!(nodes["a"].host_cpu_seconds, [0.25, 0.25, 0.0, 0.125]);
        assert_eq!(nodes["a"].sent_bytes, [100, 50, 0, 20]);
        assert_eq!(nodes["b"].host_cpu_seconds, [0.0, 0.125, 0.125, 0.0]);
        assert_eq!(nodes["b"].received_bytes, [0, 0, 0, 0]);
    }
}
