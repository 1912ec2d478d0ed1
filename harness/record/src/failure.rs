//! What ends a run early, by kind.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::PhaseName;

/// How many separate ranges of blocks a message names; the record has them all.
const NAMED: usize = 8;

/// What ended a run early. Whose fault it was is the outcome's: [`Outcome`](crate::Outcome).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Failure {
    /// The phase it happened in.
    pub phase: PhaseName,
    /// What kind of failure.
    pub kind: FailureKind,
    /// The node it happened on, where it was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    /// What happened, with node, command, what was awaited and what was seen last.
    pub message: String,
    /// Of [`FailureKind::BlocksLost`], all of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lost_blocks: Vec<LostBlocks>,
}

impl Failure {
    /// Without a node.
    pub fn new(phase: impl Into<PhaseName>, kind: FailureKind, message: impl Into<String>) -> Self {
        Self {
            phase: phase.into(),
            kind,
            node: None,
            message: message.into(),
            lost_blocks: Vec::new(),
        }
    }
}

/// What kind of failure ended a run. Those up to [`GuestHangs`](Self::GuestHangs) concern the stack under test, the
/// others of the lab.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureKind {
    /// A command in a guest ended badly.
    CommandFailed,
    /// A command in a guest did not end in time; the guest's agent answers.
    CommandTimedOut,
    /// A command ended otherwise than the scenario says it must: its exit code, its output, its refusal.
    UnexpectedResult,
    /// A state that a layer or a step waits for did not come about.
    ConditionNotMet,
    /// A step was not done in time.
    StepTimedOut,
    /// A step cannot be done with the fleet as it is: a node to be restarted is up.
    WrongState,
    /// A node that was needed is down, as a step or another node wanted it.
    NodeDown,
    /// A writer got an error.
    WriteFailed,
    /// Acknowledged blocks are not what was written.
    BlocksLost,
    /// There was nothing to verify: no block was ever acknowledged.
    NothingAcknowledged,
    /// Nodes see other files or bytes than were written, or than each other.
    Differences,
    /// What a step expects, or the failure that the scenario names as known, did not come.
    ExpectationNotMet,
    /// A figure is beyond the scenario's limit, or cannot be determined.
    LimitExceeded,
    /// A kernel said what no healthy kernel says.
    KernelComplaint,
    /// A guest reset itself or shut itself down, as one that fences itself does.
    GuestReset,
    /// A guest's kernel panicked.
    GuestPanicked,
    /// A guest does not get on although its QEMU runs: its kernel obeys nothing, or keeps the agent from going on.
    GuestHangs,
    /// A guest's agent does not answer, although its QEMU runs and its kernel is well, as far as is known.
    AgentDead,
    /// A QEMU ended, unexpectedly.
    QemuDead,
    /// The host has no space left for what the run writes.
    OutOfSpace,
    /// A guest's disk on the host failed.
    DiskFailed,
    /// The fleet could not do what it was asked: start, fork, join, restart a node.
    FleetFailed,
    /// The store of templates and checkpoints could not be used.
    StoreFailed,
    /// The host refused something, such as a file.
    HostFailed,
    /// The guests' image lacks a program that a step needs.
    ProgramMissing,
    /// A program in a guest said what the lab does not understand.
    NotUnderstood,
    /// The fleet did not end in order.
    NotEnded,
    /// Somebody ended the run.
    Interrupted,
    /// The lab panicked.
    LabPanicked,
    /// The lab is in a state that it must not be in.
    Internal,
    /// A run that should have been made, as by a shard on another host, left no record.
    NoRecord,
}

/// Acknowledged blocks of one file that one reader did not find as they must be, all in the same way.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LostBlocks {
    /// The file that they were written to.
    pub file: String,
    /// The step and node that wrote them.
    pub writer: String,
    /// How many blocks of the file were acknowledged.
    pub acknowledged: u64,
    /// Who looked.
    pub node: String,
    /// The disk that it looked at; absent: it read the file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device: Option<String>,
    /// What was there instead.
    pub found: Found,
    /// The checker's words for the first of them.
    pub example: String,
    /// Where the first of them was looked for: bytes from the beginning of the file or disk.
    pub first_byte: u64,
    /// Which, in order.
    pub blocks: Vec<BlockRange>,
    /// When the first and the last of them were acknowledged, seconds since the run began.
    pub acknowledged_at: (f64, f64),
    /// The times are of the run that kept the checkpoint from which this one was forked.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub earlier_run: bool,
}

/// What was found in the place of a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Found {
    /// Nothing but zeros: it was never written, or was lost.
    Zeros,
    /// Another block.
    AnotherBlock,
    /// Other bytes.
    OtherBytes,
    /// The end of the file.
    EndOfFile,
    /// An error.
    Unreadable,
}

/// Blocks that follow each other, by number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlockRange {
    /// The first.
    pub first: u64,
    /// The last: the first again, if it is but one.
    pub last: u64,
}

impl BlockRange {
    /// The ranges of numbers in ascending order.
    pub fn of(numbers: impl IntoIterator<Item = u64>) -> Vec<Self> {
        let mut ranges: Vec<Self> = Vec::new();
        for number in numbers {
            match ranges.last_mut() {
                Some(range) if number == range.last + 1 => range.last = number,
                _ => ranges.push(Self {
                    first: number,
                    last: number,
                }),
            }
        }
        ranges
    }

    /// How many blocks.
    pub const fn count(self) -> u64 {
        self.last - self.first + 1
    }
}

impl fmt::Display for BlockRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.first)?;
        if self.last > self.first {
            write!(f, "-{}", self.last)?;
        }
        Ok(())
    }
}

impl LostBlocks {
    /// How many.
    pub fn count(&self) -> u64 {
        self.blocks.iter().map(|range| range.count()).sum()
    }
}

/// "158 of 158 acknowledged blocks of /mnt/san/n1.journal read as zeros on n2: 0-157, acknowledged from 30.2 s to 32.5 s".
impl fmt::Display for LostBlocks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            file,
            acknowledged,
            node,
            example,
            ..
        } = self;
        let count = self.count();
        write!(
            f,
            "{count} of {acknowledged} acknowledged blocks of {file} "
        )?;
        f.write_str(match self.found {
            Found::Zeros => "read as zeros",
            Found::AnotherBlock => "read as other blocks",
            Found::OtherBytes => "read as other bytes",
            Found::EndOfFile => "lie beyond the end",
            Found::Unreadable => "cannot be read",
        })?;
        write!(f, " on {node}")?;
        if let Some(device) = &self.device {
            write!(f, ", {device}")?;
        }
        let named: Vec<String> = self
            .blocks
            .iter()
            .take(NAMED)
            .map(ToString::to_string)
            .collect();
        write!(f, ": {}", named.join(", "))?;
        let more: u64 = self.blocks.iter().skip(NAMED).map(|one| one.count()).sum();
        if more > 0 {
            write!(f, " and {more} more")?;
        }
        if self.device.is_some() {
            write!(f, " (the first at byte {})", self.first_byte)?;
        }
        let (from, to) = self.acknowledged_at;
        if count == 1 {
            write!(f, ", acknowledged at {from:.3} s")?;
        } else {
            write!(f, ", acknowledged from {from:.1} s to {to:.1} s")?;
        }
        if self.earlier_run {
            f.write_str(" of the run that kept the checkpoint")?;
        }
        if self.found != Found::Zeros {
            write!(f, "; the first: {example}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lost(blocks: &[u64]) -> LostBlocks {
        LostBlocks {
            file: "/mnt/san/n1.journal".to_owned(),
            writer: "step write on n1".to_owned(),
            acknowledged: 158,
            node: "n2".to_owned(),
            device: None,
            found: Found::Zeros,
            example: "it is all zeros: never written, or lost".to_owned(),
            first_byte: 0,
            blocks: BlockRange::of(blocks.iter().copied()),
            acknowledged_at: (30.2, 32.5),
            earlier_run: false,
        }
    }

    #[test]
    fn lost_blocks_are_told_in_one_line() {
        let all: Vec<u64> = (0..158).collect();
        assert_eq!(
            lost(&all).to_string(),
            "158 of 158 acknowledged blocks of /mnt/san/n1.journal read as zeros on n2: 0-157, acknowledged from 30.2 s to 32.5 s"
        );
        let scattered: Vec<u64> = (0..20).map(|number| number * 3).chain([58]).collect();
        let scattered = LostBlocks {
            found: Found::AnotherBlock,
            example: "in its place stands block 1 of vix0, seed 0".to_owned(),
            device: Some("/dev/vdb".to_owned()),
            first_byte: 4096,
            earlier_run: true,
            ..lost(&scattered)
        };
        assert_eq!(
            scattered.to_string(),
            "21 of 158 acknowledged blocks of /mnt/san/n1.journal read as other blocks on n2, /dev/vdb: 0, 3, 6, 9, 12, 15, 18, 21 \
             and 13 more (the first at byte 4096), acknowledged from 30.2 s to 32.5 s of the run that kept the checkpoint; the \
             first: in its place stands block 1 of vix0, seed 0"
        );
    }
}
