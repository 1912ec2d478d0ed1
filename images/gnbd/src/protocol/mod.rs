//! What goes over the wire: byte arrays to values and back, nothing else. No I/O.
//!
//! Every number is big-endian but two: timeout and flags of a NAMES record are in the byte order of the server that
//! sends them, which means little-endian for every server there has ever been in practice, and for this one.

mod data;
mod error;
pub mod local;
mod login;
mod names;
mod record;
mod request;

pub use data::{
    Command, DATA_REPLY_SIZE, DATA_REQUEST_SIZE, DataReply, DataRequest, FAILURE, Handle,
    KEEP_ALIVE_MAGIC, REPLY_MAGIC, REQUEST_MAGIC,
};
pub use error::ProtocolError;
pub use login::{LOGIN_REPLY_SIZE, LoginReply, LoginRequest};
pub use names::{DeviceName, NodeName, Uid};
pub use record::{ExportRecord, NAMES_RECORD_SIZE};
pub use request::{LONGEST_BODY, Number, Request, list_reply};

/// The TCP port of everything, control and data.
pub const PORT: u16 = 14567;

/// The protocol's number. It stayed the same through incompatible changes; meant is the protocol of 2006 and later.
pub const VERSION: u16 = 2;

/// Longest payload of a READ or WRITE, in bytes.
pub const MAX_TRANSFER: u32 = 131_072;

/// Bytes of a sector, the unit of sizes.
pub const SECTOR_SIZE: u64 = 512;

/// The largest list that is believed to be one, in bytes: thousands of exports or banned nodes.
pub const LONGEST_LIST: u32 = 1 << 20;

#[cfg(test)]
mod tests;
