//! What the kernel's nbd driver and its server say to each other (linux/nbd.h, and the NBD project's doc/proto.md for
//! what the header leaves out). Everything is big-endian.

/// What a request begins with.
pub const NBD_REQUEST_MAGIC: u32 = 0x2560_9513;
/// What a reply begins with.
pub const NBD_REPLY_MAGIC: u32 = 0x6744_6698;

/// Bytes of a request's header.
pub const NBD_REQUEST_SIZE: usize = 28;
/// Bytes of a reply's header.
pub const NBD_REPLY_SIZE: usize = 16;

/// Errors that a reply may have, as numbers of NBD's own (those of Linux, where they are the same).
pub mod errno {
    /// The device is read-only.
    pub const EPERM: u32 = 1;
    /// It did not work.
    pub const EIO: u32 = 5;
    /// There is not enough memory.
    pub const ENOMEM: u32 = 12;
    /// It makes no sense.
    pub const EINVAL: u32 = 22;
}

/// What connects a reply with its request; opaque to the server.
pub type Cookie = [u8; 8];

/// What the kernel asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum NbdCommand {
    /// Answered by a header and `length` bytes, or by an error header alone.
    Read,
    /// Followed by `length` bytes.
    Write,
    /// The end. Not answered.
    Disconnect,
    /// Answered when everything that was acknowledged before is on the disk.
    Flush,
    /// Any other, TRIM and `WRITE_ZEROES` among them. No payload follows.
    Other(u16),
}

impl NbdCommand {
    fn number(self) -> u16 {
        match self {
            Self::Read => 0,
            Self::Write => 1,
            Self::Disconnect => 2,
            Self::Flush => 3,
            Self::Other(number) => number,
        }
    }
}

/// Header of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NbdRequest {
    /// What is asked for.
    pub command: NbdCommand,
    /// Bits of NBD's own; bit 0 is FUA.
    pub flags: u16,
    /// What the reply repeats.
    pub cookie: Cookie,
    /// In bytes.
    pub offset: u64,
    /// In bytes.
    pub length: u32,
}

impl NbdRequest {
    /// The header's bytes.
    pub fn encode(&self) -> [u8; NBD_REQUEST_SIZE] {
        let mut bytes = [0; NBD_REQUEST_SIZE];
        bytes[..4].copy_from_slice(&NBD_REQUEST_MAGIC.to_be_bytes());
        bytes[4..6].copy_from_slice(&self.flags.to_be_bytes());
        bytes[6..8].copy_from_slice(&self.command.number().to_be_bytes());
        bytes[8..16].copy_from_slice(&self.cookie);
        bytes[16..24].copy_from_slice(&self.offset.to_be_bytes());
        bytes[24..].copy_from_slice(&self.length.to_be_bytes());
        bytes
    }

    /// Reads a header; `None` if its magic is wrong.
    pub fn decode(bytes: &[u8; NBD_REQUEST_SIZE]) -> Option<Self> {
        let [m0, m1, m2, m3, f0, f1, c0, c1, rest @ ..] = *bytes;
        if u32::from_be_bytes([m0, m1, m2, m3]) != NBD_REQUEST_MAGIC {
            return None;
        }
        let [k0, k1, k2, k3, k4, k5, k6, k7, rest @ ..] = rest;
        let [o0, o1, o2, o3, o4, o5, o6, o7, length @ ..] = rest;
        Some(Self {
            command: match u16::from_be_bytes([c0, c1]) {
                0 => NbdCommand::Read,
                1 => NbdCommand::Write,
                2 => NbdCommand::Disconnect,
                3 => NbdCommand::Flush,
                other => NbdCommand::Other(other),
            },
            flags: u16::from_be_bytes([f0, f1]),
            cookie: [k0, k1, k2, k3, k4, k5, k6, k7],
            offset: u64::from_be_bytes([o0, o1, o2, o3, o4, o5, o6, o7]),
            length: u32::from_be_bytes(length),
        })
    }
}

/// Header of a reply; a good READ's data follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NbdReply {
    /// 0 for success.
    pub error: u32,
    /// The request's.
    pub cookie: Cookie,
}

impl NbdReply {
    /// The header's bytes.
    pub fn encode(&self) -> [u8; NBD_REPLY_SIZE] {
        let mut bytes = [0; NBD_REPLY_SIZE];
        bytes[..4].copy_from_slice(&NBD_REPLY_MAGIC.to_be_bytes());
        bytes[4..8].copy_from_slice(&self.error.to_be_bytes());
        bytes[8..].copy_from_slice(&self.cookie);
        bytes
    }

    /// Reads a header, as the kernel would; `None` if its magic is wrong.
    pub fn decode(bytes: &[u8; NBD_REPLY_SIZE]) -> Option<Self> {
        let [m0, m1, m2, m3, e0, e1, e2, e3, cookie @ ..] = *bytes;
        (u32::from_be_bytes([m0, m1, m2, m3]) == NBD_REPLY_MAGIC).then_some(Self {
            error: u32::from_be_bytes([e0, e1, e2, e3]),
            cookie,
        })
    }
}
