//! Messages of generic netlink for its family `nbd` (linux/nbd-netlink.h): bytes and values, no I/O.
//!
//! Everything is in the byte order of the machine.

use std::fmt::{self, Display, Formatter};

/// The type of messages to the controller, which knows the families.
const CONTROLLER: u16 = 0x10;
/// The controller's command to look a family up, and the attributes of question and answer.
const GET_FAMILY: u8 = 3;
const FAMILY_ID: u16 = 1;
const FAMILY_NAME: u16 = 2;

/// Types of messages that every netlink socket has.
const ERROR: u16 = 2;
const DONE: u16 = 3;

/// `NLM_F_REQUEST | NLM_F_ACK`.
const FLAGS: u16 = 0x1 | 0x4;
/// `NLA_F_NESTED`, `NLA_F_NET_BYTEORDER`: no part of an attribute's type.
const NESTED: u16 = 0x8000;
const TYPE_MASK: u16 = 0x3fff;

/// The family's name and version.
const FAMILY: &str = "nbd";
const VERSION: u8 = 1;

/// Commands of the family.
mod command {
    pub(super) const CONNECT: u8 = 1;
    pub(super) const DISCONNECT: u8 = 2;
    pub(super) const RECONFIGURE: u8 = 3;
    pub(super) const STATUS: u8 = 5;
}

/// Attributes of the family.
mod attribute {
    pub(super) const INDEX: u16 = 1;
    pub(super) const SIZE_BYTES: u16 = 2;
    pub(super) const BLOCK_SIZE_BYTES: u16 = 3;
    pub(super) const TIMEOUT: u16 = 4;
    pub(super) const SERVER_FLAGS: u16 = 5;
    pub(super) const SOCKETS: u16 = 7;
    pub(super) const DEAD_CONN_TIMEOUT: u16 = 8;
    pub(super) const DEVICE_LIST: u16 = 9;
    pub(super) const BACKEND_IDENTIFIER: u16 = 10;
    /// Inside `SOCKETS`, and inside that.
    pub(super) const SOCK_ITEM: u16 = 1;
    pub(super) const SOCK_FD: u16 = 1;
    /// Inside `DEVICE_LIST`, and inside that.
    pub(super) const DEVICE_ITEM: u16 = 1;
    pub(super) const DEVICE_INDEX: u16 = 1;
    pub(super) const DEVICE_CONNECTED: u16 = 2;
}

/// Bits of the server's flags (linux/nbd.h): there are some.
pub const HAS_FLAGS: u64 = 1;
/// The kernel refuses writes.
pub const READ_ONLY: u64 = 2;

/// What a device shall be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attach {
    /// Which device.
    pub index: u32,
    /// Its size.
    pub bytes: u64,
    /// Bytes of its logical blocks.
    pub block_size: u64,
    /// What the server can do: bits of `linux/nbd.h`.
    pub flags: u64,
    /// Seconds after which the kernel gives a request up by itself; 0 never.
    pub timeout: u64,
    /// Seconds for which the kernel holds requests of a device whose socket is dead.
    pub dead_timeout: u64,
    /// Stands in sysfs; whoever reconfigures the device must name it.
    pub identifier: String,
    /// The descriptor's number in the sending process.
    pub socket: u32,
}

/// Builds one message.
#[derive(Debug)]
struct Builder {
    bytes: Vec<u8>,
}

impl Builder {
    fn new(family: u16, command: u8, sequence: u32) -> Self {
        let mut bytes = vec![0; 4];
        bytes.extend(family.to_ne_bytes());
        bytes.extend(FLAGS.to_ne_bytes());
        bytes.extend(sequence.to_ne_bytes());
        bytes.extend([0; 4]);
        bytes.extend([command, VERSION, 0, 0]);
        Self { bytes }
    }

    fn attribute(mut self, number: u16, value: &[u8]) -> Self {
        let start = self.bytes.len();
        self.bytes.extend([0; 2]);
        self.bytes.extend(number.to_ne_bytes());
        self.bytes.extend(value);
        self.close(start)
    }

    fn u64(self, number: u16, value: u64) -> Self {
        self.attribute(number, &value.to_ne_bytes())
    }

    fn u32(self, number: u16, value: u32) -> Self {
        self.attribute(number, &value.to_ne_bytes())
    }

    fn string(self, number: u16, value: &str) -> Self {
        self.attribute(number, &[value.as_bytes(), &[0]].concat())
    }

    fn nested(mut self, number: u16, inside: impl FnOnce(Self) -> Self) -> Self {
        let start = self.bytes.len();
        self.bytes.extend([0; 2]);
        self.bytes.extend((number | NESTED).to_ne_bytes());
        inside(self).close(start)
    }

    /// Sets the length of what began there, then pads.
    fn close(mut self, start: usize) -> Self {
        // Our messages are a few hundred bytes.
        let length = u16::try_from(self.bytes.len() - start).unwrap_or(u16::MAX);
        self.bytes[start..start + 2].copy_from_slice(&length.to_ne_bytes());
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
        self
    }

    fn end(mut self) -> Vec<u8> {
        let length = u32::try_from(self.bytes.len()).unwrap_or(u32::MAX);
        self.bytes[..4].copy_from_slice(&length.to_ne_bytes());
        self.bytes
    }
}

/// Asks the controller for the family.
pub fn get_family(sequence: u32) -> Vec<u8> {
    Builder::new(CONTROLLER, GET_FAMILY, sequence)
        .string(FAMILY_NAME, FAMILY)
        .end()
}

/// Makes a device. Its index comes back.
pub fn connect(family: u16, sequence: u32, attach: &Attach) -> Vec<u8> {
    let message = Builder::new(family, command::CONNECT, sequence)
        .u32(attribute::INDEX, attach.index)
        .u64(attribute::SIZE_BYTES, attach.bytes)
        .u64(attribute::BLOCK_SIZE_BYTES, attach.block_size)
        .u64(attribute::SERVER_FLAGS, attach.flags);
    with_socket(message, attach).end()
}

/// Gives a device that exists another socket in the place of a dead one. Its size stays.
pub fn reconfigure(family: u16, sequence: u32, attach: &Attach) -> Vec<u8> {
    let message =
        Builder::new(family, command::RECONFIGURE, sequence).u32(attribute::INDEX, attach.index);
    with_socket(message, attach).end()
}

fn with_socket(message: Builder, attach: &Attach) -> Builder {
    message
        .u64(attribute::TIMEOUT, attach.timeout)
        .u64(attribute::DEAD_CONN_TIMEOUT, attach.dead_timeout)
        .nested(attribute::SOCKETS, |sockets| {
            sockets.nested(attribute::SOCK_ITEM, |item| {
                item.u32(attribute::SOCK_FD, attach.socket)
            })
        })
        .string(attribute::BACKEND_IDENTIFIER, &attach.identifier)
}

/// Ends a device.
pub fn disconnect(family: u16, sequence: u32, index: u32) -> Vec<u8> {
    Builder::new(family, command::DISCONNECT, sequence)
        .u32(attribute::INDEX, index)
        .end()
}

/// Asks for all devices.
pub fn status(family: u16, sequence: u32) -> Vec<u8> {
    Builder::new(family, command::STATUS, sequence).end()
}

/// What comes back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// The request is done, or refused with a positive errno.
    Done(Result<(), u32>),
    /// The number of a family.
    Family(u16),
    /// The device that was made.
    Connected(u32),
    /// Every device, and whether it has a connection.
    Devices(Vec<(u32, bool)>),
    /// Something else.
    Other,
}

/// Why bytes are no netlink.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Malformed;

impl Display for Malformed {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str("read a netlink message: it is malformed")
    }
}

impl std::error::Error for Malformed {}

/// Takes a datagram apart: the answers to the request with this number.
pub fn answers(mut datagram: &[u8], family: u16, sequence: u32) -> Result<Vec<Answer>, Malformed> {
    let mut answers = Vec::new();
    while !datagram.is_empty() {
        let length = u32::from_ne_bytes(at(datagram, 0)?) as usize;
        if length < 16 || length > datagram.len() {
            return Err(Malformed);
        }
        let (message, rest) = datagram.split_at(length);
        datagram = &rest[rest.len().min(length.next_multiple_of(4) - length)..];
        if u32::from_ne_bytes(at(message, 8)?) == sequence {
            answers.push(answer(message, family)?);
        }
    }
    Ok(answers)
}

fn answer(message: &[u8], family: u16) -> Result<Answer, Malformed> {
    let kind = u16::from_ne_bytes(at(message, 4)?);
    if kind == DONE {
        return Ok(Answer::Done(Ok(())));
    }
    if kind == ERROR {
        let error = i32::from_ne_bytes(at(message, 16)?);
        return Ok(Answer::Done(match error {
            0 => Ok(()),
            error => Err(error.unsigned_abs()),
        }));
    }
    let [command] = at(message, 16)?;
    let body = message.get(20..).ok_or(Malformed)?;
    if kind == CONTROLLER {
        return Ok(match find(body, FAMILY_ID)? {
            Some(id) => Answer::Family(u16::from_ne_bytes(at(id, 0)?)),
            None => Answer::Other,
        });
    }
    if kind != family {
        return Ok(Answer::Other);
    }
    match command {
        command::CONNECT => Ok(match find(body, attribute::INDEX)? {
            Some(index) => Answer::Connected(u32::from_ne_bytes(at(index, 0)?)),
            None => Answer::Other,
        }),
        command::STATUS => {
            let list = find(body, attribute::DEVICE_LIST)?.unwrap_or_default();
            let mut devices = Vec::new();
            for item in attributes(list) {
                let (number, item) = item?;
                if number != attribute::DEVICE_ITEM {
                    continue;
                }
                let index = find(item, attribute::DEVICE_INDEX)?.ok_or(Malformed)?;
                let connected = find(item, attribute::DEVICE_CONNECTED)?;
                devices.push((
                    u32::from_ne_bytes(at(index, 0)?),
                    connected.is_some_and(|byte| byte.first().is_some_and(|byte| *byte != 0)),
                ));
            }
            Ok(Answer::Devices(devices))
        }
        _ => Ok(Answer::Other),
    }
}

fn find(bytes: &[u8], number: u16) -> Result<Option<&[u8]>, Malformed> {
    for item in attributes(bytes) {
        let (found, value) = item?;
        if found == number {
            return Ok(Some(value));
        }
    }
    Ok(None)
}

/// Type and value of each attribute.
fn attributes(mut bytes: &[u8]) -> impl Iterator<Item = Result<(u16, &[u8]), Malformed>> {
    std::iter::from_fn(move || {
        if bytes.is_empty() {
            return None;
        }
        let taken = take_attribute(bytes);
        bytes = taken.map_or(&[], |(_, _, rest)| rest);
        Some(taken.map(|(number, value, _)| (number, value)))
    })
}

fn take_attribute(bytes: &[u8]) -> Result<(u16, &[u8], &[u8]), Malformed> {
    let length = usize::from(u16::from_ne_bytes(at(bytes, 0)?));
    let number = u16::from_ne_bytes(at(bytes, 2)?) & TYPE_MASK;
    let value = bytes.get(4..length).ok_or(Malformed)?;
    let rest = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
    Ok((number, value, rest))
}

fn at<const N: usize>(bytes: &[u8], start: usize) -> Result<[u8; N], Malformed> {
    let field = bytes.get(start..start + N).ok_or(Malformed)?;
    field.try_into().map_err(|_| Malformed)
}
