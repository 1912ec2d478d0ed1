//! What can be said of a stretch of work: the measures, each with its unit and direction.

use serde::{Deserialize, Serialize};

/// One measure. All of them concern all nodes of the fleet together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Measure {
    /// Bytes by the time from the common start to the end of the last, on the host's clock; MiB/s.
    Throughput,
    /// What the throughput would be on a host that takes one nanosecond of CPU time for every guest instruction; MiB/s.
    ///
    /// Throughput times the CPU nanoseconds that an instruction took in the same repetition: the share of it that is the
    /// host's speed falls out, waiting and instructions stay. A noisy host is noisy in its speed above all: over 71 runs of the
    /// same under TCG throughput had a coefficient of variation of 10.7 %, this one of 3.6 %. What it does not see is a cost
    /// on the host's side of an instruction, in QEMU itself: that stands in the host's CPU seconds.
    CpuNormalisedThroughput,
    /// The rates that the writers or readers reported, added up; MiB/s.
    GuestThroughput,
    /// Instructions that all guests executed for each MiB moved.
    Instructions,
    /// CPU seconds that all QEMU processes used for each GiB moved.
    HostCpu,
    /// Bytes that guests sent into the switch for each byte moved.
    SwitchBytes,
    /// [`Self::Instructions`], the 60th percentile of a run's repetitions: it has what a cost adds that only half of them pay.
    InstructionsP60,
    /// [`Self::SwitchBytes`], the 60th percentile of a run's repetitions.
    SwitchBytesP60,
    /// The 99th percentile of requests' latencies, the worst node's; microseconds.
    LatencyP99,
}

impl Measure {
    /// All of them, in the order of tables.
    pub const ALL: [Self; 9] = [
        Self::Throughput,
        Self::CpuNormalisedThroughput,
        Self::GuestThroughput,
        Self::Instructions,
        Self::HostCpu,
        Self::SwitchBytes,
        Self::InstructionsP60,
        Self::SwitchBytesP60,
        Self::LatencyP99,
    ];

    /// The measure whose repetitions it is taken from: itself, but for percentiles of them.
    #[must_use]
    pub const fn repeated(self) -> Self {
        match self {
            Self::InstructionsP60 => Self::Instructions,
            Self::SwitchBytesP60 => Self::SwitchBytes,
            other => other,
        }
    }

    /// Whether it is the 60th percentile of the repetitions, and not their mean.
    pub const fn is_p60(self) -> bool {
        matches!(self, Self::InstructionsP60 | Self::SwitchBytesP60)
    }

    /// The measure of that word.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|measure| measure.as_str() == word)
    }

    /// The equivalence margin, as a share, where nobody says otherwise. What is counted hardly varies, so that small
    /// differences show in a few runs; what is timed varies by as much as this from run to run on a quiet machine.
    pub const fn margin(self) -> f64 {
        match self {
            Self::Instructions | Self::SwitchBytes => 0.02,
            Self::Throughput
            | Self::CpuNormalisedThroughput
            | Self::GuestThroughput
            | Self::HostCpu
            // Whatever else the host does adds to some repetitions.
            | Self::InstructionsP60
            | Self::SwitchBytesP60 => 0.05,
            Self::LatencyP99 => 0.10,
        }
    }

    /// Its word in JSON, history and command lines.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Throughput => "throughput",
            Self::CpuNormalisedThroughput => "cpu_normalised_throughput",
            Self::GuestThroughput => "guest_throughput",
            Self::Instructions => "instructions",
            Self::HostCpu => "host_cpu",
            Self::SwitchBytes => "switch_bytes",
            Self::InstructionsP60 => "instructions_p60",
            Self::SwitchBytesP60 => "switch_bytes_p60",
            Self::LatencyP99 => "latency_p99",
        }
    }

    /// Its name for people.
    pub const fn title(self) -> &'static str {
        match self {
            Self::Throughput => "throughput",
            Self::CpuNormalisedThroughput => "CPU-normalised throughput",
            Self::GuestThroughput => "guest-reported throughput",
            Self::Instructions => "guest instructions",
            Self::HostCpu => "host CPU",
            Self::SwitchBytes => "switch bytes",
            Self::InstructionsP60 => "guest instructions, 60th percentile",
            Self::SwitchBytesP60 => "switch bytes, 60th percentile",
            Self::LatencyP99 => "latency, 99th percentile",
        }
    }

    /// The unit of its figures.
    pub const fn unit(self) -> &'static str {
        match self {
            Self::Throughput | Self::CpuNormalisedThroughput | Self::GuestThroughput => "MiB/s",
            Self::Instructions | Self::InstructionsP60 => "instructions/MiB",
            Self::HostCpu => "CPU s/GiB",
            Self::SwitchBytes | Self::SwitchBytesP60 => "B/B",
            Self::LatencyP99 => "µs",
        }
    }

    /// Whether more of it is better.
    pub const fn higher_is_better(self) -> bool {
        matches!(
            self,
            Self::Throughput | Self::CpuNormalisedThroughput | Self::GuestThroughput
        )
    }

    /// Whether it is read off a clock. What is timed drifts with whatever else the host does, what is counted does not.
    pub const fn is_timed(self) -> bool {
        !matches!(self.repeated(), Self::Instructions | Self::SwitchBytes)
    }

    /// Whether the host's speed, how long it takes for an instruction of a guest just then, is part of it.
    pub const fn includes_host_speed(self) -> bool {
        self.is_timed() && !matches!(self, Self::CpuNormalisedThroughput)
    }
}

impl std::fmt::Display for Measure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_read_as_they_are_written() {
        for measure in Measure::ALL {
            assert_eq!(Measure::parse(measure.as_str()), Some(measure));
            let json = serde_json::to_string(&measure).unwrap();
            assert_eq!(json, format!("\"{measure}\""));
        }
        assert_eq!(Measure::parse("Throughput"), None);
    }
}
