//! Control requests: a number and a fixed body, each on a connection of its own; and the replies that are lists.

use super::{DeviceName, LoginRequest, NodeName, ProtocolError};

/// Bytes of the longest body, that of LOGIN.
pub const LONGEST_BODY: usize = LoginRequest::SIZE;

/// Which control request. The values are those on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Number {
    /// The exports.
    Names = 1,
    /// Ban a node.
    Fence = 2,
    /// Lift a ban.
    Unfence = 3,
    /// The banned nodes.
    ListBanned = 4,
    /// End a node's connections to a device.
    KillServer = 5,
    /// Use an export.
    Login = 6,
    /// The server's node name.
    NodeName = 7,
    /// An export's uid.
    Uid = 8,
}

impl Number {
    /// Reads the number that every control request begins with.
    pub fn decode(bytes: [u8; 4]) -> Result<Self, ProtocolError> {
        Ok(match u32::from_be_bytes(bytes) {
            1 => Self::Names,
            2 => Self::Fence,
            3 => Self::Unfence,
            4 => Self::ListBanned,
            5 => Self::KillServer,
            6 => Self::Login,
            7 => Self::NodeName,
            8 => Self::Uid,
            number => return Err(ProtocolError::UnknownRequest(number)),
        })
    }

    /// Bytes of the body that follows the number.
    pub const fn body_size(self) -> usize {
        match self {
            Self::Names | Self::ListBanned | Self::NodeName => 0,
            Self::Fence | Self::Unfence => NodeName::SIZE,
            Self::KillServer => DeviceName::SIZE + NodeName::SIZE,
            Self::Login => LoginRequest::SIZE,
            Self::Uid => DeviceName::SIZE,
        }
    }
}

/// A control request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// List the exports; answered by a list of [`ExportRecord`](super::ExportRecord)s.
    Names,
    /// Ban this node and end its connections; answered when all have ended.
    Fence(NodeName),
    /// Lift this node's ban.
    Unfence(NodeName),
    /// List the banned nodes; answered by a list of node names.
    ListBanned,
    /// End this node's connections to this device; answered when all have ended.
    KillServer {
        /// The export.
        device: DeviceName,
        /// Whose connections.
        node: NodeName,
    },
    /// Use an export; answered by a [`LoginReply`](super::LoginReply).
    Login(LoginRequest),
    /// Ask for the server's node name; answered by a list of one string with its NUL.
    NodeName,
    /// Ask for an export's uid; answered by a list of one string with its NUL, or an empty list.
    Uid(DeviceName),
}

impl Request {
    /// Which request it is.
    pub fn number(&self) -> Number {
        match self {
            Self::Names => Number::Names,
            Self::Fence(_) => Number::Fence,
            Self::Unfence(_) => Number::Unfence,
            Self::ListBanned => Number::ListBanned,
            Self::KillServer { .. } => Number::KillServer,
            Self::Login(_) => Number::Login,
            Self::NodeName => Number::NodeName,
            Self::Uid(_) => Number::Uid,
        }
    }

    /// Number and body.
    pub fn encode(&self) -> Vec<u8> {
        let number = self.number();
        let mut bytes = Vec::with_capacity(4 + number.body_size());
        bytes.extend((number as u32).to_be_bytes());
        match self {
            Self::Names | Self::ListBanned | Self::NodeName => {}
            Self::Fence(node) | Self::Unfence(node) => bytes.extend(node.encode()),
            Self::KillServer { device, node } => {
                bytes.extend(device.encode());
                bytes.extend(node.encode());
            }
            Self::Login(login) => login.encode(&mut bytes),
            Self::Uid(device) => bytes.extend(device.encode()),
        }
        bytes
    }

    /// Reads a body of exactly [`body_size`](Number::body_size) bytes.
    pub fn decode(number: Number, body: &[u8]) -> Result<Self, ProtocolError> {
        if body.len() != number.body_size() {
            return Err(ProtocolError::WrongLength {
                expected: number.body_size(),
                got: body.len(),
            });
        }
        Ok(match number {
            Number::Names => Self::Names,
            Number::Fence => Self::Fence(NodeName::decode(&field(body, 0))?),
            Number::Unfence => Self::Unfence(NodeName::decode(&field(body, 0))?),
            Number::ListBanned => Self::ListBanned,
            Number::KillServer => Self::KillServer {
                device: DeviceName::decode(&field(body, 0))?,
                node: NodeName::decode(&field(body, DeviceName::SIZE))?,
            },
            Number::Login => Self::Login(LoginRequest::decode(&field(body, 0))?),
            Number::NodeName => Self::NodeName,
            Number::Uid => Self::Uid(DeviceName::decode(&field(body, 0))?),
        })
    }
}

/// A reply that is a list, or a string: status 0, the number of bytes, the bytes. Lists here are never long enough to
/// overflow the count.
pub fn list_reply(data: &[u8]) -> Vec<u8> {
    let count = u32::try_from(data.len()).unwrap_or(u32::MAX);
    let mut reply = Vec::with_capacity(8 + data.len());
    reply.extend(0_u32.to_be_bytes());
    reply.extend(count.to_be_bytes());
    reply.extend(data);
    reply
}

/// The `N` bytes from `at`. The callers' buffers are long enough by their types or by a check; where that is wrong,
/// zeros are better than a panic.
pub(super) fn field<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    let mut field = [0; N];
    if let Some(source) = bytes.get(at..at + N) {
        field.copy_from_slice(source);
    }
    field
}
