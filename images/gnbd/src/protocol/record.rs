//! The NAMES record: 40 bytes, of which 38 are used.

use super::request::field;
use super::{DeviceName, ProtocolError};

/// Bytes of a record.
pub const NAMES_RECORD_SIZE: usize = 40;

/// Bit of the flags field.
const READ_ONLY: u16 = 1;

/// What NAMES tells of an export.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExportRecord {
    /// Seconds until a client may give a request up; 0: never, the export is cached.
    pub timeout: u32,
    /// Whether writes are refused.
    pub read_only: bool,
    /// Its name.
    pub name: DeviceName,
}

impl ExportRecord {
    /// The record, timeout and flags little-endian.
    pub fn encode(&self) -> [u8; NAMES_RECORD_SIZE] {
        let flags = if self.read_only { READ_ONLY } else { 0 };
        let mut bytes = [0; NAMES_RECORD_SIZE];
        bytes[..4].copy_from_slice(&self.timeout.to_le_bytes());
        bytes[4..6].copy_from_slice(&flags.to_le_bytes());
        bytes[6..38].copy_from_slice(&self.name.encode());
        bytes
    }

    /// Reads one record. Flags other than read-only are ignored, and so is the padding.
    pub fn decode(bytes: &[u8; NAMES_RECORD_SIZE]) -> Result<Self, ProtocolError> {
        Ok(Self {
            timeout: u32::from_le_bytes(field(bytes, 0)),
            read_only: u16::from_le_bytes(field(bytes, 4)) & READ_ONLY != 0,
            name: DeviceName::decode(&field(bytes, 6))?,
        })
    }

    /// Reads the data of a NAMES reply, `count` bytes long.
    pub fn decode_all(data: &[u8]) -> Result<Vec<Self>, ProtocolError> {
        if data.len() % NAMES_RECORD_SIZE != 0 {
            return Err(ProtocolError::WrongLength {
                expected: data.len().next_multiple_of(NAMES_RECORD_SIZE),
                got: data.len(),
            });
        }
        data.chunks_exact(NAMES_RECORD_SIZE)
            .map(|record| Self::decode(&field(record, 0)))
            .collect()
    }
}
