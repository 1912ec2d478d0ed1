//! Evidence: kernel logs, acknowledged blocks, file trees and state dumps, and the collecting of logs of a run that did not pass.

pub(crate) mod ack_log;
pub(crate) mod collect;
pub(crate) mod extents;
pub(crate) mod kernel_log;
pub(crate) mod output;
pub(crate) mod state_dump;
pub(crate) mod tree;
