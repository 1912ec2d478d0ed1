//! A suite of scenarios on several hosts: its division into shards, and what their run folders say of it.
//!
//! An engine that exists (a CI matrix, Slurm, ssh) starts the shards. All of them must divide alike without a word between them: so the
//! division is a function of the plans, a file of durations and the number of shards, and never of what a host knows or has.

pub(crate) mod divide;
pub(crate) mod division;
pub(crate) mod durations;
mod error;
mod estimate;
pub(crate) mod folders;
pub(crate) mod merge;
pub(crate) mod place;
pub(crate) mod share;
pub(crate) mod suite;
pub(crate) mod tables;
#[cfg(test)]
pub(crate) mod tests;

pub use error::ShardError;
