//! The engine: takes a plan from its first boot to its record. Start with [`drive`].

pub(crate) mod chance;
pub(crate) mod console_sync;
pub(crate) mod context;
pub(crate) mod drive;
pub(crate) mod environment;
pub(crate) mod event_log;
pub(crate) mod execute;
pub(crate) mod executor;
pub(crate) mod faults;
pub(crate) mod hold;
pub(crate) mod host;
pub(crate) mod join;
pub(crate) mod known;
pub(crate) mod options;
pub(crate) mod saving;
pub(crate) mod state;
pub(crate) mod tasks;
