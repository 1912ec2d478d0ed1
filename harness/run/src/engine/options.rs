//! What is wanted of a run beside its plan.

use std::collections::BTreeMap;
use std::path::PathBuf;

use sanlab_fleet::AcceleratorWish;
use sanlab_record::InComparison;
use tokio_util::sync::CancellationToken;

use crate::checkpoint::KeepPolicy;
use crate::checkpoint::saved::Saved;
use crate::engine::hold::Hold;

/// How much of a plan a run does.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Extent {
    /// All of it.
    #[default]
    Whole,
    /// What must be done to measure: nothing is read back (`check` and `verify` are left out, and `throughput` does not look
    /// for what it wrote), the run ends after its last `throughput`, `dd` or `write`, and the layers are never taken down. For
    /// repetitions of a plan that has been proved whole.
    Measures,
    /// All of it, unless a run of the same plan on the same guests was whole and passed: then as [`Extent::Measures`]. The
    /// settings of a comparison, the seed and the folder do not make it another plan.
    UnlessProved,
}

/// A file that is put beside what a fleet was saved as, for whoever brings it up again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Enclosure {
    /// Its name; none that ends as those of guests' files do.
    pub name: &'static str,
    /// What it holds.
    pub text: Vec<u8>,
}

/// What is wanted of a run. The default is the whole plan with the accelerator that the host allows, moments drawn from 0, and no
/// way to cancel; nothing is kept but the usual checkpoints, and nothing is left but what every run leaves.
#[derive(Debug, Clone, Default)]
pub struct RunOptions {
    /// What may execute the guests' instructions.
    pub accelerator: AcceleratorWish,
    /// Which checkpoints are kept beside the usual ones.
    pub keep: KeepPolicy,
    /// Also write what the fleet is like at the end of its steps, to [`STATE_DUMP`](crate::STATE_DUMP) in the run's folder.
    pub state_dump: bool,
    /// What random moments are drawn from.
    pub seed: u64,
    /// What the record says that this run was given in place of what the scenario's file says.
    pub settings: BTreeMap<String, String>,
    /// Where a comparison makes the run: its place there.
    pub comparison: Option<InComparison>,
    /// Where an exploration makes the run: its number there. It shares CPUs with others, and may pass where a failure is known.
    pub exploration: Option<u32>,
    /// A folder with QEMU's programs (`qemu-system-x86_64`, `qemu-system-i386`), instead of those of the host.
    pub qemu: Option<PathBuf>,
    /// Whether guests' instructions are counted; it makes translated guests a little slower. Without a choice they are where
    /// the plan has a throughput step.
    pub count_instructions: Option<bool>,
    /// How much of the plan is done.
    pub extent: Extent,
    /// Keeps the fleet up, and what fails then ends nothing. One that is kept in place of the plan's steps, or of the last of them,
    /// takes what CPUs others leave it; its record is that of no run of the plan, and must not be kept as such.
    pub hold: Option<Hold>,
    /// Saves the fleet to [`SAVED`](crate::SAVED) in the run's folder when the run has failed in a way that is not known, before it
    /// is held or ended, with that file. It costs a copy of the disks where the fleet is forked. That it cannot be saved changes no
    /// outcome.
    pub save_failed: Option<Enclosure>,
    /// The fleet goes on from here, and no layer is brought up. For a fleet that is kept up.
    pub saved: Option<Saved>,
    /// Ends the run early as broken, with everything ended in order.
    pub cancel: CancellationToken,
}
