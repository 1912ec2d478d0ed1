//! Pieces of shell text that scripts of several layers have in common.

pub(crate) mod power;
pub(crate) mod script;
