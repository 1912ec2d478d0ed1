//! LOGIN: 48 bytes and a node name there, 16 bytes back. On success the connection becomes the data phase.

use super::{DeviceName, NodeName, ProtocolError, VERSION};

/// Bytes of a login reply.
pub const LOGIN_REPLY_SIZE: usize = 16;

/// Bytes of the login request, without the node name behind it.
const LOGIN_SIZE: usize = 48;

/// A client's wish to use an export.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoginRequest {
    /// Constant from a client's boot to its next: another value tells that the node has been started anew, and
    /// lifts its ban.
    pub timestamp: u64,
    /// The client's protocol, [`VERSION`].
    pub version: u16,
    /// What it wants to use.
    pub device: DeviceName,
    /// Who it is, by its own word.
    pub node: NodeName,
}

impl LoginRequest {
    /// Bytes of the body.
    pub const SIZE: usize = LOGIN_SIZE + NodeName::SIZE;

    /// A login in this crate's protocol version.
    pub fn new(device: DeviceName, node: NodeName, timestamp: u64) -> Self {
        Self {
            timestamp,
            version: VERSION,
            device,
            node,
        }
    }

    pub(super) fn encode(&self, body: &mut Vec<u8>) {
        body.extend(self.timestamp.to_be_bytes());
        body.extend(self.version.to_be_bytes());
        body.extend([0; 6]);
        body.extend(self.device.encode());
        body.extend(self.node.encode());
    }

    pub(super) fn decode(body: &[u8; Self::SIZE]) -> Result<Self, ProtocolError> {
        let (login, node) = body.split_at(LOGIN_SIZE);
        Ok(Self {
            timestamp: u64::from_be_bytes(super::request::field(login, 0)),
            version: u16::from_be_bytes(super::request::field(login, 8)),
            device: DeviceName::decode(&super::request::field(login, 16))?,
            node: NodeName::decode(&super::request::field(node, 0))?,
        })
    }
}

/// The answer to a [`LoginRequest`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LoginReply {
    /// The connection is in the data phase now.
    Welcome {
        /// The export's size in sectors of 512 bytes.
        sectors: u64,
    },
    /// The server speaks another protocol.
    WrongVersion {
        /// Which.
        version: u16,
    },
    /// A positive errno: 1 banned, 19 no such export, else the trouble with its file.
    Refused {
        /// The errno, never 0.
        errno: u8,
    },
}

impl LoginReply {
    /// The bytes. A wrong version comes with EINVAL, and only it has a version in its field.
    pub fn encode(self) -> [u8; LOGIN_REPLY_SIZE] {
        let (sectors, version, errno) = match self {
            Self::Welcome { sectors } => (sectors, 0, 0),
            Self::WrongVersion { version } => (0, version, 22),
            Self::Refused { errno } => (0, 0, errno),
        };
        let mut bytes = [0; LOGIN_REPLY_SIZE];
        bytes[..8].copy_from_slice(&sectors.to_be_bytes());
        bytes[8..10].copy_from_slice(&version.to_be_bytes());
        bytes[10] = errno;
        bytes
    }

    /// Reads a reply; every 16 bytes are one. The 5 at the end are undefined.
    pub fn decode(bytes: &[u8; LOGIN_REPLY_SIZE]) -> Self {
        let version = u16::from_be_bytes(super::request::field(bytes, 8));
        match bytes[10] {
            0 => Self::Welcome {
                sectors: u64::from_be_bytes(super::request::field(bytes, 0)),
            },
            _ if version != 0 => Self::WrongVersion { version },
            errno => Self::Refused { errno },
        }
    }
}
