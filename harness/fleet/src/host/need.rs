//! What fleets take of the machine, and why one waits for it.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What a fleet takes of the machine.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Need {
    /// Memory of the guests and of the processes that run them, MiB.
    pub memory_mib: u64,
    /// CPUs of the host that are kept busy.
    pub cpus: u64,
}

impl Need {
    pub(crate) fn fits(self, room: Self) -> bool {
        self.memory_mib <= room.memory_mib && self.cpus <= room.cpus
    }

    pub(crate) fn plus(self, other: Self) -> Self {
        Self {
            memory_mib: self.memory_mib.saturating_add(other.memory_mib),
            cpus: self.cpus.saturating_add(other.cpus),
        }
    }

    pub(crate) fn minus(self, other: Self) -> Self {
        Self {
            memory_mib: self.memory_mib.saturating_sub(other.memory_mib),
            cpus: self.cpus.saturating_sub(other.cpus),
        }
    }
}

impl fmt::Display for Need {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let s = if self.cpus == 1 { "" } else { "s" };
        write!(f, "{} MiB and {} CPU{s}", self.memory_mib, self.cpus)
    }
}

/// A run that has its claim granted, or one that waits before ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claimant {
    /// The run's name.
    pub run: String,
    /// Its process.
    pub pid: u32,
    /// What it claims.
    pub need: Need,
    /// Whether it wants no fleet of another process beside its own.
    pub alone: bool,
}

impl fmt::Display for Claimant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { run, pid, need, .. } = self;
        if self.alone {
            write!(
                f,
                "run {run} (process {pid}), which measures and wants no other fleet beside it"
            )
        } else {
            write!(f, "run {run} (process {pid}): {need}")
        }
    }
}

/// Why a fleet does not start yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WaitingFor {
    /// What it needs.
    pub need: Need,
    /// Whether it waits until no other fleet is there, whatever that needs.
    pub alone: bool,
    /// What neither a fleet nor another program holds.
    pub free: Need,
    /// Who holds the rest.
    pub holders: Vec<Claimant>,
    /// Who waits longer and comes first.
    pub ahead: Vec<Claimant>,
}

impl WaitingFor {
    /// Whether another fleet is in the way, and not only other programs.
    pub(crate) fn is_for_others(&self) -> bool {
        !(self.holders.is_empty() && self.ahead.is_empty())
    }

    /// Whether the same fleets are in the way.
    pub(crate) fn is_for_the_same(&self, other: &Self) -> bool {
        (&self.holders, &self.ahead) == (&other.holders, &other.ahead)
    }
}

impl fmt::Display for WaitingFor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |claimants: &[Claimant]| {
            claimants
                .iter()
                .map(ToString::to_string)
                .collect::<Vec<_>>()
                .join(", ")
        };
        if self.alone {
            f.write_str("the machine without other fleets")?;
        } else {
            write!(f, "{}; free: {}", self.need, self.free)?;
        }
        if !self.holders.is_empty() {
            write!(f, "; held by {}", list(&self.holders))?;
        }
        if !self.ahead.is_empty() {
            write!(f, "; first comes {}", list(&self.ahead))?;
        }
        if !self.is_for_others() {
            f.write_str("; other programs use the rest")?;
        }
        Ok(())
    }
}
