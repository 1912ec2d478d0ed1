//! Channels between the host and a guest: QMP, the guest agent, the console and the event port.

pub(crate) mod agent;
pub(crate) mod command;
pub(crate) mod console;
pub(crate) mod dump;
pub(crate) mod event_port;
pub(crate) mod exec;
pub(crate) mod kernel_log;
pub(crate) mod lines;
pub(crate) mod qmp;
pub(crate) mod room;
pub(crate) mod sysrq;
pub(crate) mod wire;
