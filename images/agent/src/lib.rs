//! The lab's agent in a guest: it runs commands for the host, on pipes or on a terminal, several at a time, over one
//! virtio-serial port. What they write, and how they end, it sends at once; nobody polls.
//!
//! It is one thread around `poll`, and touches no file system itself, so that nothing that hangs in a guest holds it up. Its memory
//! is locked and the kernel never ends it for want of memory; the commands that it starts are as anybody's.
//!
//! What is said on the port: [`frame`].

pub mod frame;
mod job;
mod serve;
mod spawn;

pub use serve::{Agent, protect};
