//! Fleets that stay up, and what is said to them.
//!
//! A fleet that is up belongs to a supervisor: this program, detached, with a folder of its own among those of running fleets. In it
//! stands the socket `NAME.fleet` on which it is asked. A janitor removes that folder when the supervisor is gone, however it
//! ends; so a socket that is there answers.

pub(crate) mod client;
pub(crate) mod protocol;
mod relay;
pub(crate) mod remote;
pub(crate) mod supervisor;
