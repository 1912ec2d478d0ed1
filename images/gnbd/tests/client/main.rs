//! The client: its relay between a kernel and servers of every kind, both played by the tests, and its programs.

#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod faults;
mod fence;
mod hook;
mod import;
mod kernel;
mod load;
mod model;
mod netlink;
mod real;
mod server;
mod service;
mod timeouts;
mod transcript;
