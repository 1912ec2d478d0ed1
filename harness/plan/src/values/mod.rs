//! Names, sizes and times as authors write them.

pub(crate) mod clocks;
pub(crate) mod names;
pub(crate) mod range;
pub(crate) mod shell;
pub(crate) mod subnet;
pub(crate) mod units;
