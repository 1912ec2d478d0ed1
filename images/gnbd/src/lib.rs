//! GNBD, the Global Network Block Device, for current kernels: server, client and their programs.
//!
//! They run inside guests, on both architectures, and speak the protocol of Red Hat Cluster Suite as it was from 2006
//! on. The crate uses no other crate of the lab; `nbd-persist` uses its way to the kernel's nbd driver. The image pipeline
//! builds its programs.
//!
//! **The protocol has no authentication.** Whoever reaches the port reads and writes every export, and bans or frees
//! whom it likes; names of nodes are what clients say. It belongs on a network where everybody is trusted:
//! `gnbd_serv -b ADDRESS` listens on one address alone.
//!
//! Where the specification leaves a choice the safety of data decides; [`server`] and [`client`] list the choices.
//! [`membership`] tells how a cluster manager is asked, [`run_dir`] where sockets and pid files are.
//!
//! The compiler is Debian's, so that nothing newer than Rust 1.85 is used, and no crate but rustix.

pub mod client;
pub mod command;
pub mod daemon;
mod error;
#[doc(hidden)]
pub mod fuzzing;
pub mod log;
pub mod membership;
pub mod pid_file;
pub mod protocol;
pub mod run_dir;
pub mod server;

pub use error::Error;
