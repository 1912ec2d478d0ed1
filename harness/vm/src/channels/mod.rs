//! Channels between the host and a guest: QMP, the guest agent, the console, the event port and the lab's agent.

pub(crate) mod agent;
pub(crate) mod command;
pub(crate) mod console;
pub(crate) mod dump;
pub(crate) mod event_port;
pub(crate) mod exec;
/// What the lab's agent understands: one file for both ends.
#[path = "../../../../images/agent/src/frame.rs"]
pub mod frame;
pub(crate) mod kernel_log;
pub(crate) mod lab_agent;
pub(crate) mod lines;
pub(crate) mod qmp;
pub(crate) mod room;
pub(crate) mod sysrq;
pub(crate) mod wire;
