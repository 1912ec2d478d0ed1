//! Who takes part: every node that a scenario ever has, with number and addresses, and which of them are up at a moment.

pub(crate) mod present;
pub(crate) mod topology;
