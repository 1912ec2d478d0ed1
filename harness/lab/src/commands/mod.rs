//! The command line: the subcommands, one file each, what they exit with, and the [`pages`] that some of them write.

pub(crate) mod artefact_file;
pub(crate) mod cache;
pub(crate) mod changes;
pub(crate) mod check;
pub(crate) mod cli;
pub(crate) mod compare;
pub(crate) mod console;
pub(crate) mod cp;
pub(crate) mod doctor;
pub(crate) mod exec;
pub(crate) mod exit;
pub(crate) mod explore;
pub(crate) mod fleets;
pub(crate) mod history;
pub(crate) mod image;
pub(crate) mod init;
pub(crate) mod matrix;
pub(crate) mod merge;
pub(crate) mod pages;
pub(crate) mod plan;
pub(crate) mod report;
pub(crate) mod run;
pub(crate) mod schema;
pub(crate) mod sharding;
pub(crate) mod up;
