//! What `gnbd_export` and `gnbd_serv` say to each other on a Unix socket: the historic records, in native byte order.
//!
//! A command number and its body there; a status back, 0 or a positive errno, and for lists the number of bytes and
//! the records.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use super::request::field;
use super::{DeviceName, NodeName, ProtocolError, Uid};

/// Name of the socket in the folder of pid files.
pub const SOCKET: &str = "gnbd_servcomm";

/// Bytes of an export's record.
pub const EXPORT_SIZE: usize = 1136;
/// Bytes of a connection's record.
pub const SESSION_SIZE: usize = 104;

const PATH_SIZE: usize = 1024;
const PATH_AT: usize = 45;
const UID_AT: usize = 1069;

const READ_ONLY: u8 = 1;
const UNCACHED: u8 = 2;
const INVALID: u8 = 4;

/// An export, as the server keeps it and as it is listed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExportDescription {
    /// Its name.
    pub name: DeviceName,
    /// The file or block device, at most 1023 bytes without NUL.
    pub path: PathBuf,
    /// In units of 512 bytes; the server finds it out by itself.
    pub sectors: u64,
    /// Seconds until a client may give a request up; 0: never.
    pub timeout: u32,
    /// Whether writes are refused.
    pub read_only: bool,
    /// Whether the server's page cache is passed by.
    pub uncached: bool,
    /// Whether it takes no clients any more.
    pub invalid: bool,
    /// What identifies the storage on whatever path, or nothing.
    pub uid: Uid,
}

impl ExportDescription {
    /// The record. A path that is too long is an error: another file must not be served for it.
    pub fn encode(&self) -> Result<[u8; EXPORT_SIZE], ProtocolError> {
        let path = self.path.as_os_str().as_bytes();
        if path.len() >= PATH_SIZE {
            return Err(ProtocolError::NameTooLong {
                limit: PATH_SIZE - 1,
            });
        }
        let flag = |set: bool, bit: u8| if set { bit } else { 0 };
        let mut bytes = [0; EXPORT_SIZE];
        bytes[..8].copy_from_slice(&self.sectors.to_ne_bytes());
        bytes[8..12].copy_from_slice(&self.timeout.to_ne_bytes());
        bytes[12] = flag(self.read_only, READ_ONLY)
            | flag(self.uncached, UNCACHED)
            | flag(self.invalid, INVALID);
        bytes[13..45].copy_from_slice(&self.name.encode());
        bytes[PATH_AT..PATH_AT + path.len()].copy_from_slice(path);
        bytes[UID_AT..UID_AT + Uid::SIZE].copy_from_slice(&self.uid.encode());
        Ok(bytes)
    }

    /// Reads a record.
    pub fn decode(bytes: &[u8; EXPORT_SIZE]) -> Result<Self, ProtocolError> {
        let path: [u8; PATH_SIZE] = field(bytes, PATH_AT);
        let end = path.iter().position(|byte| *byte == 0);
        let path = &path[..end.ok_or(ProtocolError::Unterminated)?];
        if path.is_empty() {
            return Err(ProtocolError::EmptyName);
        }
        Ok(Self {
            name: DeviceName::decode(&field(bytes, 13))?,
            path: Path::new(OsStr::from_bytes(path)).to_owned(),
            sectors: u64::from_ne_bytes(field(bytes, 0)),
            timeout: u32::from_ne_bytes(field(bytes, 8)),
            read_only: bytes[12] & READ_ONLY != 0,
            uncached: bytes[12] & UNCACHED != 0,
            invalid: bytes[12] & INVALID != 0,
            uid: Uid::decode(&field(bytes, UID_AT))?,
        })
    }
}

/// A connection in the data phase, as it is listed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionDescription {
    /// The client, by its own word.
    pub node: NodeName,
    /// The thread that serves it; once a process.
    pub pid: u32,
    /// The export.
    pub device: DeviceName,
}

impl SessionDescription {
    /// The record.
    pub fn encode(&self) -> [u8; SESSION_SIZE] {
        let mut bytes = [0; SESSION_SIZE];
        bytes[..65].copy_from_slice(&self.node.encode());
        bytes[68..72].copy_from_slice(&self.pid.to_ne_bytes());
        bytes[72..].copy_from_slice(&self.device.encode());
        bytes
    }

    /// Reads a record.
    pub fn decode(bytes: &[u8; SESSION_SIZE]) -> Result<Self, ProtocolError> {
        Ok(Self {
            node: NodeName::decode(&field(bytes, 0))?,
            pid: u32::from_ne_bytes(field(bytes, 68)),
            device: DeviceName::decode(&field(bytes, 72))?,
        })
    }
}

/// What `gnbd_export` asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LocalRequest {
    /// Add an export.
    Create(Box<ExportDescription>),
    /// Remove an export that nobody uses.
    Remove(DeviceName),
    /// Mark an export invalid and end its connections; answered when they have ended.
    Invalidate(DeviceName),
    /// List the exports, invalid ones included.
    Exports,
    /// List the connections.
    Sessions,
    /// End the server, unless it has exports.
    Shutdown,
    /// Send keep-alives to all clients.
    Validate,
}

impl LocalRequest {
    fn number(&self) -> u32 {
        match self {
            Self::Create(_) => 1,
            Self::Remove(_) => 2,
            Self::Invalidate(_) => 3,
            Self::Exports => 4,
            Self::Sessions => 5,
            Self::Shutdown => 6,
            Self::Validate => 7,
        }
    }

    /// Bytes of the body that follows a number.
    pub fn body_size(number: [u8; 4]) -> Result<usize, ProtocolError> {
        Ok(match u32::from_ne_bytes(number) {
            1 => EXPORT_SIZE,
            2 | 3 => DeviceName::SIZE,
            4..=7 => 0,
            number => return Err(ProtocolError::UnknownRequest(number)),
        })
    }

    /// Number and body.
    pub fn encode(&self) -> Result<Vec<u8>, ProtocolError> {
        let mut bytes = self.number().to_ne_bytes().to_vec();
        match self {
            Self::Create(export) => bytes.extend(export.encode()?),
            Self::Remove(device) | Self::Invalidate(device) => bytes.extend(device.encode()),
            Self::Exports | Self::Sessions | Self::Shutdown | Self::Validate => {}
        }
        Ok(bytes)
    }

    /// Reads a body of [`body_size`](Self::body_size) bytes.
    pub fn decode(number: [u8; 4], body: &[u8]) -> Result<Self, ProtocolError> {
        let expected = Self::body_size(number)?;
        if body.len() != expected {
            return Err(ProtocolError::WrongLength {
                expected,
                got: body.len(),
            });
        }
        Ok(match u32::from_ne_bytes(number) {
            1 => Self::Create(Box::new(ExportDescription::decode(&field(body, 0))?)),
            2 => Self::Remove(DeviceName::decode(&field(body, 0))?),
            3 => Self::Invalidate(DeviceName::decode(&field(body, 0))?),
            4 => Self::Exports,
            5 => Self::Sessions,
            6 => Self::Shutdown,
            _ => Self::Validate,
        })
    }
}
