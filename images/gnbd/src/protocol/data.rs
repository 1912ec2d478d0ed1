//! The data phase: 28 bytes of request, 16 of reply, payloads behind WRITE requests and good READ replies.

use super::request::field;
use super::{MAX_TRANSFER, ProtocolError};

/// What a data request begins with.
pub const REQUEST_MAGIC: u32 = 0x37a0_7e00;
/// What a data reply begins with.
pub const REPLY_MAGIC: u32 = 0x41f0_9370;
/// What a keep-alive begins with.
pub const KEEP_ALIVE_MAGIC: u32 = 0x5b46_d8c2;

/// Bytes of a data request's header.
pub const DATA_REQUEST_SIZE: usize = 28;
/// Bytes of a data reply's header, and of a keep-alive.
pub const DATA_REPLY_SIZE: usize = 16;

/// The only error that historic servers ever sent. Clients take any but 0 as EIO.
pub const FAILURE: u32 = 0xffff_ffff;

/// What connects a reply with its request; opaque to the server.
pub type Handle = [u8; 8];

/// What a data request asks for. The values are those on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Command {
    /// Answered by a header and `length` bytes, or by an error header alone.
    Read = 0,
    /// Followed by `length` bytes; answered when they are on the disk.
    Write = 1,
    /// The end of the connection; answered, then closed.
    Disconnect = 2,
    /// Answered.
    Ping = 3,
}

/// Header of a data request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DataRequest {
    /// What is asked for.
    pub command: Command,
    /// What the reply repeats.
    pub handle: Handle,
    /// In bytes; 0 unless READ or WRITE.
    pub offset: u64,
    /// In bytes; 0 unless READ or WRITE.
    pub length: u32,
}

impl DataRequest {
    /// The header's bytes.
    pub fn encode(&self) -> [u8; DATA_REQUEST_SIZE] {
        let mut bytes = [0; DATA_REQUEST_SIZE];
        bytes[..4].copy_from_slice(&REQUEST_MAGIC.to_be_bytes());
        bytes[4..8].copy_from_slice(&(self.command as u32).to_be_bytes());
        bytes[8..16].copy_from_slice(&self.handle);
        bytes[16..24].copy_from_slice(&self.offset.to_be_bytes());
        bytes[24..].copy_from_slice(&self.length.to_be_bytes());
        bytes
    }

    /// Reads a header. The magic is looked at first, then the command, then the length of a READ or WRITE.
    pub fn decode(bytes: &[u8; DATA_REQUEST_SIZE]) -> Result<Self, ProtocolError> {
        let magic = u32::from_be_bytes(field(bytes, 0));
        if magic != REQUEST_MAGIC {
            return Err(ProtocolError::BadMagic(magic));
        }
        let handle = field(bytes, 8);
        let command = match u32::from_be_bytes(field(bytes, 4)) {
            0 => Command::Read,
            1 => Command::Write,
            2 => Command::Disconnect,
            3 => Command::Ping,
            command => return Err(ProtocolError::UnknownCommand { command, handle }),
        };
        let length = u32::from_be_bytes(field(bytes, 24));
        if matches!(command, Command::Read | Command::Write) && length > MAX_TRANSFER {
            return Err(ProtocolError::TooLong(length));
        }
        Ok(Self {
            command,
            handle,
            offset: u64::from_be_bytes(field(bytes, 16)),
            length,
        })
    }
}

/// Header that a server sends in the data phase.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DataReply {
    /// The answer to the request with this handle.
    Reply {
        /// 0 for success; a READ's data follows only then.
        error: u32,
        /// The request's.
        handle: Handle,
    },
    /// A sign of life to be ignored. Historic servers leave its error and handle uninitialised.
    KeepAlive,
}

impl DataReply {
    /// The header's bytes; a keep-alive is padded with zeros.
    pub fn encode(&self) -> [u8; DATA_REPLY_SIZE] {
        let mut bytes = [0; DATA_REPLY_SIZE];
        match self {
            Self::Reply { error, handle } => {
                bytes[..4].copy_from_slice(&REPLY_MAGIC.to_be_bytes());
                bytes[4..8].copy_from_slice(&error.to_be_bytes());
                bytes[8..].copy_from_slice(handle);
            }
            Self::KeepAlive => bytes[..4].copy_from_slice(&KEEP_ALIVE_MAGIC.to_be_bytes()),
        }
        bytes
    }

    /// Reads a header, the magic before anything else.
    pub fn decode(bytes: &[u8; DATA_REPLY_SIZE]) -> Result<Self, ProtocolError> {
        match u32::from_be_bytes(field(bytes, 0)) {
            REPLY_MAGIC => Ok(Self::Reply {
                error: u32::from_be_bytes(field(bytes, 4)),
                handle: field(bytes, 8),
            }),
            KEEP_ALIVE_MAGIC => Ok(Self::KeepAlive),
            magic => Err(ProtocolError::BadMagic(magic)),
        }
    }
}
