//! The subcommands, one file each.

pub(crate) mod bench;
pub(crate) mod cache;
pub(crate) mod check;
pub(crate) mod doctor;
pub(crate) mod image;
pub(crate) mod plan;
pub(crate) mod run;
