//! What a member costs, cheap enough to be read twice a second or around a measurement.

use sanlab_vm::{Cost, Usage};

use crate::network::PortCounters;

/// What a member has cost since the fleet's start, and what it did over the network.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct NodeCost {
    /// Instructions that its guest has executed, kernel and idle loop included; `None`: nobody counts them.
    pub instructions: Option<u64>,
    /// Processor time of its QEMU on the host, seconds; see [`Cost::host_cpu_seconds`] for how exact it is.
    pub host_cpu_seconds: f64,
    /// What its switch port carried.
    pub port: PortCounters,
}

impl NodeCost {
    /// Of a member's machines that are gone, the one that runs, and its port, which is one and the same.
    pub(crate) fn of(past: Usage, now: Cost, port: PortCounters) -> Self {
        let instructions = [past.instructions, now.instructions];
        let counted = instructions.iter().flatten();
        Self {
            instructions: counted.copied().reduce(|past, now| past + now),
            host_cpu_seconds: past.host_cpu_seconds + now.host_cpu_seconds,
            port,
        }
    }

    /// The later of two readings, where the later may miss a machine that is just being replaced, or the ports of a fleet
    /// that has ended.
    pub(crate) fn or_later(self, later: Self) -> Self {
        let (here, there) = (self.port, later.port);
        Self {
            instructions: self.instructions.max(later.instructions),
            host_cpu_seconds: self.host_cpu_seconds.max(later.host_cpu_seconds),
            port: PortCounters {
                sent_frames: here.sent_frames.max(there.sent_frames),
                sent_bytes: here.sent_bytes.max(there.sent_bytes),
                received_frames: here.received_frames.max(there.received_frames),
                received_bytes: here.received_bytes.max(there.received_bytes),
                dropped_frames: here.dropped_frames.max(there.dropped_frames),
                lost_frames: here.lost_frames.max(there.lost_frames),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn used(instructions: Option<u64>, host_cpu_seconds: f64) -> Usage {
        Usage {
            instructions,
            host_cpu_seconds,
            ..Usage::default()
        }
    }

    fn runs(instructions: Option<u64>, host_cpu_seconds: f64) -> Cost {
        Cost {
            instructions,
            host_cpu_seconds,
        }
    }

    #[test]
    fn a_members_machines_are_added_up() {
        let port = PortCounters {
            sent_bytes: 9,
            ..PortCounters::default()
        };
        let cost = NodeCost::of(used(Some(5), 1.5), runs(Some(7), 0.5), port);
        let sum = NodeCost {
            instructions: Some(12),
            host_cpu_seconds: 2.0,
            port,
        };
        assert_eq!(cost, sum);
        // The first machine of a member that is counted, one that is gone, and one that nobody counts.
        for (past, now, instructions) in [
            (used(None, 0.0), runs(Some(7), 0.5), Some(7)),
            (used(Some(5), 1.5), runs(None, 0.0), Some(5)),
            (used(None, 1.5), runs(None, 0.5), None),
        ] {
            assert_eq!(NodeCost::of(past, now, port).instructions, instructions);
        }
    }

    #[test]
    fn it_never_falls() {
        let port = PortCounters {
            sent_bytes: 9,
            ..PortCounters::default()
        };
        let before = NodeCost::of(used(Some(5), 1.5), runs(Some(7), 0.5), port);
        // The running machine has left, and is not yet remembered; the switch has gone.
        let between = NodeCost::of(used(Some(5), 1.5), Cost::default(), PortCounters::default());
        assert_eq!(before.or_later(between), before);
        let after = NodeCost::of(used(Some(12), 2.0), runs(Some(1), 0.25), port);
        assert_eq!(before.or_later(between).or_later(after), after);
    }
}
