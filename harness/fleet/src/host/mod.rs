//! What fleets share on the host: memory and CPUs, and the folders of runs, with the clean-up after killed ones.

pub(crate) mod budget;
pub(crate) mod capacity;
pub(crate) mod in_memory;
pub(crate) mod locked;
pub(crate) mod need;
pub(crate) mod process_group;
pub(crate) mod registry;
pub(crate) mod run_dir;
pub(crate) mod sweep;
