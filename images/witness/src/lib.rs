//! The lab's witness inside guests: it writes a journal whose blocks tell which they are, and checks what is left.
//!
//! A [`Journal`] acknowledges a block when the file system says that it is on the disk; what was acknowledged must be there
//! afterwards, whatever was cut off or crashed meanwhile, on the volume and on every device below it that keeps a copy.
//! [`check()`] says of every block whether it is. What a block has in it follows from its writer, number and seed alone
//! ([`Identity`]), so that nothing but these has to be remembered.
//!
//! The compiler is Debian's, so that nothing newer than Rust 1.85 is used, and no crate but rustix. No other crate of the
//! lab is used, and none uses this one: the image pipeline builds the program.

mod block;
mod check;
mod command;
mod direct;
mod error;
mod list;
mod write;

pub use block::{Identity, MAX_WRITER, MIN_BLOCK};
pub use check::{Bad, Piece, check};
pub use command::run;
pub use error::Error;
pub use list::{first, parse};
pub use write::{Journal, Written};
