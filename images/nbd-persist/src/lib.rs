//! An NBD client whose device outlives the death of its server: `nbd-persist HOST PORT /dev/nbdN`.
//!
//! It does what `nbd-client -persist -dead-timeout SECONDS` does from nbd 3.27 on. Older ones cannot: over netlink they ignore
//! `-persist`, and over ioctl the kernel says that the connection ended well, so that they end as well.
//!
//! The kernel's nbd driver gets a connected socket by netlink, as from `nbd-client`, and a time for which it holds requests of a device
//! whose connection is dead. A process in the background watches that connection. When it ends, because the server closed it or because
//! the kernel did (a request was not answered within `-timeout`), the process connects to the server again and gives the
//! driver the new socket. The driver sends everything again that was not answered.
//!
//! **A flush is not a barrier across connections.** What a server acknowledged and had not written when it lost its power is
//! gone, and the next server answers a flush at once: it has nothing to flush. A server for such clients must write each
//! request to the disk before it acknowledges it, as nbdkit does with `--filter=fua fuamode=force`.

mod command;
mod dial;
mod keep;

pub use command::run;
pub use dial::{Export, Server, negotiate};
