//! Evidence: kernel logs and layers and the judge of both, call traces with lines of source, acknowledged blocks, file trees and state dumps, and the collecting of
//! logs of a run that did not pass.

pub(crate) mod ack_log;
pub(crate) mod call_trace;
pub(crate) mod collect;
pub(crate) mod complaint;
pub(crate) mod end_check;
pub(crate) mod extents;
pub(crate) mod judge;
pub(crate) mod kernel_log;
pub(crate) mod known_lines;
pub(crate) mod output;
pub(crate) mod source_lines;
pub(crate) mod state_dump;
pub(crate) mod tree;
