//! Where a byte of the volume lies: on which nodes' own disks, and where there.

use sanlab_plan::NodeName;

/// Every node's own disk: its second drive.
pub(crate) const DISK: &str = "/dev/vdb";

/// A piece of a copy: bytes of the volume that lie side by side on one node's own disk.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Leg {
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

/// The way from the volume's device down to the disks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Legs(pub(crate) Place);

impl Legs {
    /// Every copy of `length` bytes of the volume's device from `offset` on, in pieces: in the order of the volume, and
    /// for each piece all copies. What lies beyond the end is left out.
    pub fn locate(&self, offset: u64, length: u64) -> Vec<Leg> {
        let mut legs = Vec::new();
        self.0.locate(
            Piece {
                offset,
                length,
                start: 0,
            },
            &mut legs,
        );
        legs
    }
}

/// How a device is put together from disks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Place {
    /// That node's own disk, from its beginning on.
    Disk(NodeName),
    /// The same bytes on each.
    Copies(Vec<Place>),
    /// Chunks of so many bytes on each in turn.
    Striped { chunk: u64, parts: Vec<Place> },
    /// So many bytes on each, one after another.
    Linear(Vec<(u64, Place)>),
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

impl Place {
    /// Several ways to the same bytes, each copy once.
    pub(crate) fn copies(places: impl IntoIterator<Item = Self>) -> Self {
        let mut found: Vec<Self> = Vec::new();
        for place in places {
            let parts = match place {
                Self::Copies(parts) => parts,
                other => vec![other],
            };
            for part in parts {
                if !found.contains(&part) {
                    found.push(part);
                }
            }
        }
        Self::Copies(found)
    }

    fn locate(&self, mut piece: Piece, legs: &mut Vec<Leg>) {
        match self {
            Self::Disk(node) => legs.push(Leg {
                node: node.clone(),
                device: DISK.to_owned(),
                offset: piece.offset,
                length: piece.length,
                start: piece.start,
            }),
            Self::Copies(copies) => {
                for copy in copies {
                    copy.locate(piece, legs);
                }
            }
            Self::Striped { chunk, parts } => {
                while piece.length > 0 {
                    let (number, within) = (piece.offset / chunk, piece.offset % chunk);
                    let (this, rest) = piece.split(chunk - within);
                    // A stripe over nothing is not composed.
                    let count = parts.len().max(1) as u64;
                    let place = usize::try_from(number % count).ok();
                    if let Some(part) = place.and_then(|place| parts.get(place)) {
                        part.locate(this.at(number / count * chunk + within), legs);
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
                        part.locate(this.at(this.offset - begin), legs);
                        piece = rest;
                    }
                    begin = end;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use sanlab_plan::NodeName;

    use super::{Leg, Legs, Place};

    const KIB: u64 = 1024;

    fn disk(name: &str) -> Place {
        Place::Disk(NodeName::parse(name).expect("valid"))
    }

    fn pair(one: &str, other: &str) -> Place {
        Place::Copies(vec![disk(one), disk(other)])
    }

    fn show(legs: &[Leg]) -> Vec<String> {
        let show = |leg: &Leg| {
            format!(
                "{} {} {}+{} from {}",
                leg.node, leg.device, leg.offset, leg.length, leg.start
            )
        };
        legs.iter().map(show).collect()
    }

    #[test]
    fn a_block_lies_in_pieces_on_every_copy() {
        let legs = Legs(Place::Striped {
            chunk: 16 * KIB,
            parts: vec![pair("a", "b"), pair("c", "d")],
        });
        // From the middle of chunk 4 (the first pair's third) over chunk 5 into chunk 6.
        assert_eq!(
            show(&legs.locate(72 * KIB, 32 * KIB)),
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
    fn two_paths_to_one_pair_are_no_more_copies() {
        assert_eq!(
            Place::copies([pair("a", "b"), pair("a", "b")]),
            pair("a", "b")
        );
        assert_eq!(Place::copies([disk("a"), disk("b")]), pair("a", "b"));
    }

    #[test]
    fn a_concatenation_goes_on_where_the_first_ended() {
        let legs = Legs(Place::Linear(vec![
            (100 * KIB, disk("a")),
            (50 * KIB, disk("b")),
        ]));
        assert_eq!(
            show(&legs.locate(96 * KIB, 8 * KIB)),
            [
                "a /dev/vdb 98304+4096 from 0",
                "b /dev/vdb 0+4096 from 4096"
            ]
        );
        assert_eq!(
            show(&legs.locate(148 * KIB, 8 * KIB)),
            ["b /dev/vdb 49152+2048 from 0"]
        );
    }

    /// Every byte of a stripe, looked up one by one, is where a stripe of arrays has it.
    #[test]
    fn a_stripe_over_concatenations_agrees_with_copying() {
        let legs = Legs(Place::Striped {
            chunk: 4,
            parts: vec![
                Place::Linear(vec![(10, disk("a")), (30, disk("b"))]),
                disk("c"),
            ],
        });
        for byte in 0..80_u64 {
            let (chunk, within) = (byte / 4, byte % 4);
            let at = chunk / 2 * 4 + within;
            let wanted = match (chunk % 2, at) {
                (1, at) => ("c", at),
                (_, at) if at < 10 => ("a", at),
                (_, at) => ("b", at - 10),
            };
            let found = legs.locate(byte, 1);
            assert_eq!(found.len(), 1, "{found:?}");
            assert_eq!((found[0].node.as_str(), found[0].offset), wanted);
        }
        let whole: u64 = legs.locate(0, 80).iter().map(|leg| leg.length).sum();
        assert_eq!(whole, 80);
    }
}
