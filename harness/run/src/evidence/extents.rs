//! Where a file's blocks lie: from the file through its extents on the volume's device to the disks below.

use std::collections::BTreeMap;

use sanlab_plan::{NodeName, Replica};

/// Bytes of a file that lie in one row on the volume's device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Extent {
    pub(crate) logical: u64,
    pub(crate) physical: u64,
    pub(crate) length: u64,
}

/// Bytes of a block that lie in one row on a disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Piece {
    /// Of the block.
    pub(crate) number: u64,
    /// On the disk.
    pub(crate) offset: u64,
    /// In the block.
    pub(crate) skip: u64,
    pub(crate) length: u64,
}

/// What lies on which node's device.
pub(crate) type Places = BTreeMap<(NodeName, String), Vec<Piece>>;

/// What `filefrag -v` says of a file:
///
/// ```text
/// Filesystem type is: 7461636f
/// File size of /mnt/san/f is 12288 (3 blocks of 4096 bytes)
///  ext:     logical_offset:        physical_offset: length:   expected: flags:
///    0:        0..       1:       9000..      9001:      2:             unwritten
///    1:        2..       2:       9999..      9999:      1:       9002: last,eof
/// /mnt/san/f: 2 extents found
/// ```
pub(crate) fn parse(text: &str) -> Result<Vec<Extent>, String> {
    let unit = text.lines().find_map(|line| {
        let (_, size) = line
            .rsplit_once(" blocks of ")
            .or_else(|| line.rsplit_once(" block of "))?;
        size.strip_suffix(" bytes)")?.parse::<u64>().ok()
    });
    let unit = unit.ok_or_else(|| format!("find the size of a block in `{text}`"))?;
    let is_extent = |line: &&str| {
        let number = line.split(':').next().unwrap_or_default().trim();
        !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit())
    };
    let extents = text.lines().filter(is_extent).map(|line| {
        let fields: Vec<&str> = line.split(':').map(str::trim).collect();
        let bytes = |field: Option<&&str>| {
            let first = field?.split("..").next()?.trim();
            first.parse::<u64>().ok()?.checked_mul(unit)
        };
        let extent = || {
            Some(Extent {
                logical: bytes(fields.get(1))?,
                physical: bytes(fields.get(2))?,
                length: bytes(fields.get(3))?,
            })
        };
        extent().ok_or_else(|| format!("understand the extent `{line}`"))
    });
    extents.collect()
}

/// Every piece of the first `count` blocks, on every disk that holds a copy. An error: part of a block lies nowhere.
pub(crate) fn pieces(
    extents: &[Extent],
    block: u64,
    count: u64,
    locate: impl Fn(u64, u64) -> Vec<Replica>,
) -> Result<Places, String> {
    let mut places = Places::new();
    for number in 0..count {
        let (from, to) = (number * block, (number + 1) * block);
        let mut found = 0;
        for extent in extents {
            let begin = from.max(extent.logical);
            let end = to.min(extent.logical + extent.length);
            if begin >= end {
                continue;
            }
            found += end - begin;
            let physical = extent.physical + (begin - extent.logical);
            for replica in locate(physical, end - begin) {
                let piece = Piece {
                    number,
                    offset: replica.offset,
                    skip: begin - from + replica.start,
                    length: replica.length,
                };
                places
                    .entry((replica.node, replica.device))
                    .or_default()
                    .push(piece);
            }
        }
        if found != block {
            return Err(format!(
                "{found} of the {block} bytes of block {number} have a place on the device"
            ));
        }
    }
    Ok(places)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two disks in turn of 4 KiB, each on two nodes.
    fn striped(offset: u64, length: u64) -> Vec<Replica> {
        let mut replicas = Vec::new();
        let mut at = offset;
        while at < offset + length {
            let end = (at / 4096 + 1) * 4096;
            let end = end.min(offset + length);
            let pair = at / 4096 % 2;
            for side in ["a", "b"] {
                replicas.push(Replica {
                    node: NodeName::parse(&format!("s{pair}{side}")).unwrap(),
                    device: "/dev/vdb".to_owned(),
                    offset: at / 8192 * 4096 + at % 4096,
                    length: end - at,
                    start: at - offset,
                });
            }
            at = end;
        }
        replicas
    }

    fn of<const N: usize>(extents: [[u64; 3]; N]) -> Vec<Extent> {
        let extent = |[logical, physical, length]: [u64; 3]| Extent {
            logical,
            physical,
            length,
        };
        extents.map(extent).into()
    }

    #[test]
    fn a_block_is_followed_to_every_copy() {
        let extents = of([[0, 8192, 12288], [12288, 65536, 4096]]);
        let places = pieces(&extents, 8192, 2, striped).unwrap();
        let shown: Vec<String> = places
            .iter()
            .flat_map(|((node, device), pieces)| {
                pieces.iter().map(move |piece| {
                    let Piece {
                        number,
                        offset,
                        skip,
                        length,
                    } = piece;
                    format!("{node} {device} {number} {offset} {skip} {length}")
                })
            })
            .collect();
        insta::assert_snapshot!(shown.join("\n"), @r"
        s0a /dev/vdb 0 4096 0 4096
        s0a /dev/vdb 1 8192 0 4096
        s0a /dev/vdb 1 32768 4096 4096
        s0b /dev/vdb 0 4096 0 4096
        s0b /dev/vdb 1 8192 0 4096
        s0b /dev/vdb 1 32768 4096 4096
        s1a /dev/vdb 0 4096 4096 4096
        s1b /dev/vdb 0 4096 4096 4096
        ");
    }

    #[test]
    fn a_hole_is_no_place() {
        let extents = of([[0, 8192, 4096], [8192, 65536, 8192]]);
        assert_eq!(
            pieces(&extents, 8192, 2, striped),
            Err("4096 of the 8192 bytes of block 0 have a place on the device".to_owned())
        );
    }

    #[test]
    fn filefrags_table_is_read() {
        let said = "Filesystem type is: 7461636f\n\
             File size of /mnt/san/f is 12288 (3 blocks of 4096 bytes)\n \
             ext:     logical_offset:        physical_offset: length:   expected: flags:\n   \
             0:        0..       1:       9000..      9001:      2:             unwritten\n   \
             1:        2..       2:       9999..      9999:      1:       9002: last,eof\n\
             /mnt/san/f: 2 extents found\n";
        let expected = of([[0, 9000 * 4096, 2 * 4096], [2 * 4096, 9999 * 4096, 4096]]);
        assert_eq!(parse(said), Ok(expected));
        assert!(parse("").is_err());
        assert!(parse(&said.replace("9999..", "many..")).is_err());
    }
}
