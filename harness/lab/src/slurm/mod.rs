//! A suite as a job array of Slurm: what is submitted, what `squeue` says of its tasks, and the commands of Slurm that do both.

pub(crate) mod client;
pub(crate) mod job;
pub(crate) mod tasks;
