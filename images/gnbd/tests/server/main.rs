//! A server in this process, or as a program, and clients that speak bytes to it. Only the loopback, and ports that
//! the kernel chooses.

#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod control;
mod data;
mod fencing;
mod hostile;
mod leaks;
mod programs;
mod wire;
