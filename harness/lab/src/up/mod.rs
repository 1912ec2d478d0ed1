//! Fleets that stay up, and what is said to them.
//!
//! A fleet that is up belongs to a process: a supervisor, which is this program, detached; or a run that has failed and is to
//! wait. It has a folder of its own among those of running fleets. In it stands the socket `NAME.fleet` on which it is asked. A
//! janitor removes that folder when the process is gone, however it ends; so a socket that is there answers.

mod attach;
mod capture;
pub(crate) mod client;
pub(crate) mod control_socket;
mod gdb;
pub(crate) mod hold_on_failure;
pub(crate) mod name;
pub(crate) mod protocol;
mod relay;
pub(crate) mod remote;
pub(crate) mod source;
mod step;
pub(crate) mod supervisor;
