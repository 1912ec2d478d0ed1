//! Names of devices and nodes, and uids, as they stand in fixed fields: padded with NUL, at least one NUL.
//!
//! Decoding is stricter than the historic programs, which took any bytes: names end up in paths, listings and logs.

use std::fmt::{self, Display, Formatter};
use std::str::FromStr;

use super::ProtocolError;

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $size:literal, $check:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(String);

        impl $name {
            /// Bytes of the field, the NUL at the end included.
            pub const SIZE: usize = $size;

            /// Takes a name that fits the field with its NUL.
            pub fn new(name: &str) -> Result<Self, ProtocolError> {
                if name.len() >= Self::SIZE {
                    return Err(ProtocolError::NameTooLong { limit: Self::SIZE - 1 });
                }
                $check(name)?;
                Ok(Self(name.to_owned()))
            }

            /// Reads the field. What stands behind the first NUL is ignored.
            pub fn decode(field: &[u8; $size]) -> Result<Self, ProtocolError> {
                let end = field
                    .iter()
                    .position(|byte| *byte == 0)
                    .ok_or(ProtocolError::Unterminated)?;
                let name = std::str::from_utf8(&field[..end]).map_err(|_| ProtocolError::InvalidName)?;
                Self::new(name)
            }

            /// The field, padded with NUL.
            pub fn encode(&self) -> [u8; $size] {
                let mut field = [0; $size];
                field[..self.0.len()].copy_from_slice(self.0.as_bytes());
                field
            }

            /// The name.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl Display for $name {
            fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl FromStr for $name {
            type Err = ProtocolError;

            fn from_str(name: &str) -> Result<Self, ProtocolError> {
                Self::new(name)
            }
        }
    };
}

name!(
    /// Name of an exported device: at most 31 bytes, no slash, for it becomes a name in `/dev/gnbd`.
    DeviceName,
    32,
    device
);
name!(
    /// Name of a node: at most 64 bytes.
    NodeName,
    65,
    node
);
name!(
    /// What identifies the storage behind an export on whatever path: at most 63 bytes, possibly empty.
    Uid,
    64,
    printable
);

fn printable(name: &str) -> Result<(), ProtocolError> {
    if name.chars().any(char::is_control) {
        return Err(ProtocolError::InvalidName);
    }
    Ok(())
}

fn node(name: &str) -> Result<(), ProtocolError> {
    if name.is_empty() {
        return Err(ProtocolError::EmptyName);
    }
    printable(name)
}

fn device(name: &str) -> Result<(), ProtocolError> {
    node(name)?;
    if name.contains('/') || name == "." || name == ".." {
        return Err(ProtocolError::InvalidName);
    }
    Ok(())
}

impl Uid {
    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// No uid.
    pub fn none() -> Self {
        Self(String::new())
    }
}
