//! What proves that a run went well, and what is kept of one that did not.

pub(crate) mod ack_log;
pub(crate) mod collect;
pub(crate) mod extents;
pub(crate) mod kernel_log;
pub(crate) mod state_dump;
pub(crate) mod tree;
