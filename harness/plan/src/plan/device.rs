//! Block devices as nodes see them: how long they are, and where their bytes lie.

use std::fmt;

use crate::values::names::NodeName;
use crate::values::units::ByteSize;

/// Every node's own disk: its second drive.
pub const DISK: &str = "/dev/vdb";

/// What layers open in its place on nodes whose disk a step lets fail: device-mapper passes on to [`DISK`] what it may.
pub const FAULTY_DISK: &str = "/dev/mapper/sanlab-disk";

/// A block device. Nodes that have the same one see the same bytes.
#[derive(Clone, PartialEq, Eq)]
pub struct Device {
    /// The same on every node that has it.
    pub path: String,
    /// Its length in sectors of 512 bytes.
    pub sectors: u64,
    /// The number by which it is known to be the same disk elsewhere: a DRBD device's minor, a GNBD export's uid, a shared
    /// disk's number where it has several paths.
    pub uid: Option<u32>,
    /// Where its bytes are.
    pub blocks: BlockMap,
}

impl Device {
    /// Its length in bytes.
    pub const fn size(&self) -> ByteSize {
        ByteSize::from_bytes(self.sectors * 512)
    }
}

impl fmt::Debug for Device {
    /// On one line: a plan has many.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            path,
            sectors,
            uid,
            blocks,
        } = self;
        write!(f, "{path} of {sectors} sectors on {blocks}")?;
        uid.map_or(Ok(()), |uid| write!(f, " with uid {uid}"))
    }
}

/// A piece of a copy: bytes of a device that lie side by side on one node's own disk.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Replica {
    /// Whose disk.
    pub node: NodeName,
    /// The disk, below everything that could answer in its place.
    pub device: String,
    /// The place on it, in bytes.
    pub offset: u64,
    /// How long it is, in bytes.
    pub length: u64,
    /// Where it begins in the range that was asked for, in bytes.
    pub start: u64,
}

/// How a device is put together from the nodes' own disks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BlockMap {
    /// That node's own disk, from its beginning on.
    Disk(NodeName),
    /// The shared disk of that number: it is outside of all nodes, whole, and there whoever is away.
    Shared(u8),
    /// The same bytes on each.
    Copies(Vec<Self>),
    /// Chunks of so many bytes on each in turn.
    Striped {
        /// Bytes.
        chunk: u64,
        /// At least one.
        parts: Vec<Self>,
    },
    /// So many bytes on each, one after another.
    Linear(Vec<(u64, Self)>),
    /// That, without so many bytes at its beginning.
    After {
        /// Bytes.
        skipped: u64,
        /// What is left of it is meant.
        part: Box<Self>,
    },
    /// Somewhere on these: from outside one cannot see where.
    Unknown(Vec<Self>),
}

impl BlockMap {
    /// Whether [`BlockMap::locate`] finds every byte.
    pub fn is_known(&self) -> bool {
        match self {
            Self::Disk(_) => true,
            Self::Copies(parts) | Self::Striped { parts, .. } => parts.iter().all(Self::is_known),
            Self::Linear(parts) => parts.iter().all(|(_, part)| part.is_known()),
            Self::After { part, .. } => part.is_known(),
            Self::Shared(_) | Self::Unknown(_) => false,
        }
    }

    /// Whether these nodes have every byte: where the same bytes are on several disks, one of them is enough.
    pub fn is_held_by(&self, nodes: &[NodeName]) -> bool {
        match self {
            Self::Disk(node) => nodes.contains(node),
            Self::Shared(_) => true,
            Self::Copies(parts) => parts.iter().any(|part| part.is_held_by(nodes)),
            Self::Striped { parts, .. } | Self::Unknown(parts) => {
                parts.iter().all(|part| part.is_held_by(nodes))
            }
            Self::Linear(parts) => parts.iter().all(|(_, part)| part.is_held_by(nodes)),
            Self::After { part, .. } => part.is_held_by(nodes),
        }
    }

    /// Every copy of `length` bytes from `offset` on, in pieces: in the order of the device, and for each piece all copies.
    /// What lies beyond the end is left out, and so is what is on no node's own disk or [`BlockMap::Unknown`].
    pub fn locate(&self, offset: u64, length: u64) -> Vec<Replica> {
        let mut replicas = Vec::new();
        let whole = Piece {
            offset,
            length,
            start: 0,
        };
        self.find(whole, &mut replicas);
        replicas
    }

    fn find(&self, mut piece: Piece, replicas: &mut Vec<Replica>) {
        match self {
            Self::Disk(node) => replicas.push(Replica {
                node: node.clone(),
                device: DISK.to_owned(),
                offset: piece.offset,
                length: piece.length,
                start: piece.start,
            }),
            Self::Copies(copies) => {
                for copy in copies {
                    copy.find(piece, replicas);
                }
            }
            Self::Striped { chunk, parts } => {
                while piece.length > 0 {
                    let (number, within) = (piece.offset / chunk, piece.offset % chunk);
                    let (this, rest) = piece.split(chunk - within);
                    // A stripe over nothing is not resolved.
                    let count = parts.len().max(1) as u64;
                    let place = usize::try_from(number % count).ok();
                    if let Some(part) = place.and_then(|place| parts.get(place)) {
                        part.find(this.at(number / count * chunk + within), replicas);
                    }
                    piece = rest;
                }
            }
            Self::Linear(parts) => {
                let mut begin = 0;
                for (length, part) in parts {
                    let end = begin + length;
                    if piece.length > 0 && piece.offset < end {
                        let (this, rest) = piece.split(end - piece.offset);
                        part.find(this.at(this.offset - begin), replicas);
                        piece = rest;
                    }
                    begin = end;
                }
            }
            Self::After { skipped, part } => {
                part.find(piece.at(piece.offset + skipped), replicas);
            }
            Self::Shared(_) | Self::Unknown(_) => {}
        }
    }
}

impl fmt::Display for BlockMap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |parts: &[Self]| parts.iter().map(ToString::to_string).collect();
        let (how, parts): (String, Vec<String>) = match self {
            Self::Disk(node) => return write!(f, "{node}"),
            Self::Shared(number) => return write!(f, "shared disk {number}"),
            Self::Copies(parts) => ("copies".to_owned(), list(parts)),
            Self::Striped { chunk, parts } => {
                let chunk = ByteSize::from_bytes(*chunk);
                (format!("stripes of {chunk}"), list(parts))
            }
            Self::Linear(parts) => {
                let part = |(length, part): &(u64, Self)| {
                    format!("{} of {part}", ByteSize::from_bytes(*length))
                };
                ("in turn".to_owned(), parts.iter().map(part).collect())
            }
            Self::After { skipped, part } => {
                let skipped = ByteSize::from_bytes(*skipped);
                (format!("behind {skipped}"), vec![part.to_string()])
            }
            Self::Unknown(parts) => ("somewhere".to_owned(), list(parts)),
        };
        write!(f, "{how}({})", parts.join(", "))
    }
}

/// A range of bytes of some device.
#[derive(Debug, Clone, Copy)]
struct Piece {
    offset: u64,
    length: u64,
    /// Its place in the range that was asked for.
    start: u64,
}

impl Piece {
    /// Its first `length` bytes, and the rest.
    fn split(self, length: u64) -> (Self, Self) {
        let length = length.min(self.length);
        let rest = Self {
            offset: self.offset + length,
            length: self.length - length,
            start: self.start + length,
        };
        (Self { length, ..self }, rest)
    }

    fn at(self, offset: u64) -> Self {
        Self { offset, ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::{BlockMap, Replica};
    use crate::values::names::NodeName;

    const KIB: u64 = 1024;

    fn disk(name: &str) -> BlockMap {
        BlockMap::Disk(NodeName::parse(name).expect("valid"))
    }

    fn pair(one: &str, other: &str) -> BlockMap {
        BlockMap::Copies(vec![disk(one), disk(other)])
    }

    fn show(replicas: &[Replica]) -> Vec<String> {
        let show = |replica: &Replica| {
            format!(
                "{} {} {}+{} from {}",
                replica.node, replica.device, replica.offset, replica.length, replica.start
            )
        };
        replicas.iter().map(show).collect()
    }

    #[test]
    fn a_block_lies_in_pieces_on_every_copy() {
        let replicas = BlockMap::Striped {
            chunk: 16 * KIB,
            parts: vec![pair("a", "b"), pair("c", "d")],
        };
        // From the middle of chunk 4 (the first pair's third) over chunk 5 into chunk 6.
        assert_eq!(
            show(&replicas.locate(72 * KIB, 32 * KIB)),
            [
                "a /dev/vdb 40960+8192 from 0",
                "b /dev/vdb 40960+8192 from 0",
                "c /dev/vdb 32768+16384 from 8192",
                "d /dev/vdb 32768+16384 from 8192",
                "a /dev/vdb 49152+8192 from 24576",
                "b /dev/vdb 49152+8192 from 24576",
            ]
        );
    }

    #[test]
    fn a_concatenation_goes_on_where_the_first_ended() {
        let replicas = BlockMap::Linear(vec![(100 * KIB, disk("a")), (50 * KIB, disk("b"))]);
        assert_eq!(
            show(&replicas.locate(96 * KIB, 8 * KIB)),
            [
                "a /dev/vdb 98304+4096 from 0",
                "b /dev/vdb 0+4096 from 4096"
            ]
        );
        assert_eq!(
            show(&replicas.locate(148 * KIB, 8 * KIB)),
            ["b /dev/vdb 49152+2048 from 0"]
        );
    }

    #[test]
    fn what_is_skipped_at_the_beginning_of_each_part_has_no_place() {
        let part = |name: &str| BlockMap::After {
            skipped: 1024 * KIB,
            part: Box::new(disk(name)),
        };
        let replicas = BlockMap::Striped {
            chunk: 16 * KIB,
            parts: vec![part("a"), part("b")],
        };
        assert_eq!(
            show(&replicas.locate(24 * KIB, 16 * KIB)),
            [
                "b /dev/vdb 1056768+8192 from 0",
                "a /dev/vdb 1064960+8192 from 8192",
            ]
        );
        assert!(replicas.is_known());
    }

    /// Every byte of a stripe, looked up one by one, is where a stripe of arrays has it.
    #[test]
    fn a_stripe_over_concatenations_agrees_with_copying() {
        let replicas = BlockMap::Striped {
            chunk: 4,
            parts: vec![
                BlockMap::Linear(vec![(10, disk("a")), (30, disk("b"))]),
                disk("c"),
            ],
        };
        for byte in 0..80_u64 {
            let (chunk, within) = (byte / 4, byte % 4);
            let at = chunk / 2 * 4 + within;
            let wanted = match (chunk % 2, at) {
                (1, at) => ("c", at),
                (_, at) if at < 10 => ("a", at),
                (_, at) => ("b", at - 10),
            };
            let found = replicas.locate(byte, 1);
            assert_eq!(found.len(), 1, "{found:?}");
            assert_eq!((found[0].node.as_str(), found[0].offset), wanted);
        }
        let whole: u64 = replicas
            .locate(0, 80)
            .iter()
            .map(|replica| replica.length)
            .sum();
        assert_eq!(whole, 80);
    }
}
