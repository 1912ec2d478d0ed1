//! What fleets share on their host: memory and CPUs, and the folders that outlive a killed run.

pub(crate) mod budget;
pub(crate) mod capacity;
pub(crate) mod locked;
pub(crate) mod need;
pub(crate) mod orphans;
pub(crate) mod process_group;
pub(crate) mod registry;
pub(crate) mod run_dir;
