//! What stands in a block: a header that says which block it is, bytes that follow from it, and a checksum.
//!
//! All numbers are little-endian.
//!
//! | bytes | what |
//! | --- | --- |
//! | 0..8 | `SANLABJ1` |
//! | 8..16 | number of the block in its journal, from 0 |
//! | 16..24 | seed of the journal |
//! | 24..28 | length of the block in bytes |
//! | 28..32 | zero |
//! | 32..64 | name of the writer, filled up with zeros |
//! | 64..length-8 | pseudo-random, from all of the above |
//! | last 8 | checksum of everything before |

use std::fmt;

use crate::Error;

const MAGIC: &[u8; 8] = b"SANLABJ1";
const HEADER: usize = 64;
const CHECKSUM: usize = 8;
const WRITER: std::ops::Range<usize> = 32..64;

/// Longest name of a writer, in bytes.
pub const MAX_WRITER: usize = WRITER.end - WRITER.start;

/// Blocks are multiples of this, in bytes: what `O_DIRECT` can do on every disk of the lab.
pub const MIN_BLOCK: usize = 512;

/// Everything that decides what a block has in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    writer: String,
    seed: u64,
    length: usize,
}

/// What a block says about itself, as far as it is one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Header {
    number: u64,
    seed: u64,
    writer: String,
}

impl fmt::Display for Header {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            number,
            seed,
            writer,
        } = self;
        write!(f, "block {number} of {writer}, seed {seed}")
    }
}

impl Identity {
    /// Of the journal of `writer` with blocks of `length` bytes.
    pub fn new(writer: &str, seed: u64, length: usize) -> Result<Self, Error> {
        if writer.is_empty() || writer.len() > MAX_WRITER || writer.contains(char::is_whitespace) {
            return Err(Error::Usage(format!(
                "a writer's name has 1 to {MAX_WRITER} bytes and no spaces, not `{writer}`"
            )));
        }
        let most = usize::try_from(u32::MAX / 2).unwrap_or(usize::MAX);
        if length == 0 || length % MIN_BLOCK != 0 || length > most {
            return Err(Error::Usage(format!(
                "a block has a multiple of {MIN_BLOCK} bytes, not {length}"
            )));
        }
        let writer = writer.to_owned();
        Ok(Self {
            writer,
            seed,
            length,
        })
    }

    /// Whose blocks they are.
    pub fn writer(&self) -> &str {
        &self.writer
    }

    /// What tells one journal of a writer from another.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// Bytes in a block.
    pub fn length(&self) -> usize {
        self.length
    }

    /// Makes `block`, which has [`Identity::length`] bytes, block `number` of the journal.
    pub fn fill(&self, number: u64, block: &mut [u8]) {
        debug_assert_eq!(block.len(), self.length);
        block[..HEADER].fill(0);
        block[..8].copy_from_slice(MAGIC);
        block[8..16].copy_from_slice(&number.to_le_bytes());
        block[16..24].copy_from_slice(&self.seed.to_le_bytes());
        block[24..28].copy_from_slice(&(self.length as u64).to_le_bytes()[..4]);
        block[WRITER][..self.writer.len()].copy_from_slice(self.writer.as_bytes());
        let mut random = Random(digest(&block[..HEADER]));
        let body = self.length - CHECKSUM;
        for word in block[HEADER..body].chunks_exact_mut(8) {
            word.copy_from_slice(&random.next().to_le_bytes());
        }
        let sum = digest(&block[..body]);
        block[body..].copy_from_slice(&sum.to_le_bytes());
    }
}

/// What a block that is whole, in itself, says it is. `None`: it is no block, or not all of one.
pub(crate) fn read(block: &[u8]) -> Option<Header> {
    let word = |at: usize| -> Option<u64> {
        Some(u64::from_le_bytes(block.get(at..at + 8)?.try_into().ok()?))
    };
    let body = block.len().checked_sub(CHECKSUM)?;
    if block.get(..8)? != MAGIC || word(body)? != digest(&block[..body]) {
        return None;
    }
    let writer = block[WRITER].split(|byte| *byte == 0).next()?;
    Some(Header {
        number: word(8)?,
        seed: word(16)?,
        writer: String::from_utf8_lossy(writer).into_owned(),
    })
}

/// A checksum of whole words: against accidents, not against anybody. It tells words that changed places apart.
fn digest(bytes: &[u8]) -> u64 {
    // An odd number without a pattern, that of splitmix64.
    const MIX: u64 = 0x9e37_79b9_7f4a_7c15;
    let mut sum = MIX ^ bytes.len() as u64;
    for word in bytes.chunks_exact(8) {
        let mut value = [0; 8];
        value.copy_from_slice(word);
        sum = (sum ^ u64::from_le_bytes(value))
            .wrapping_mul(MIX)
            .rotate_left(29);
    }
    sum ^ (sum >> 32)
}

/// Xorshift, as Marsaglia gave it for 64 bits: cheap on a 32-bit processor too.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        // Zero would stay zero.
        let mut x = self.0 | 1;
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        self.0 = x;
        x
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn block(writer: &str, seed: u64, number: u64) -> Vec<u8> {
        let mut block = vec![0xff; 4096];
        let identity = Identity::new(writer, seed, block.len()).unwrap();
        identity.fill(number, &mut block);
        block
    }

    #[test]
    fn says_which_it_is() {
        let header = read(&block("client0", 7, 3)).unwrap();
        assert_eq!(header.to_string(), "block 3 of client0, seed 7");
    }

    /// The same on every architecture: the bytes are written on one and checked on another.
    #[test]
    fn its_bytes_are_fixed() {
        let block = block("client0", 7, 3);
        insta::assert_debug_snapshot!((
            &block[..HEADER + 16],
            u64::from_le_bytes(block[4088..].try_into().unwrap())
        ));
    }

    #[test]
    fn every_part_of_its_identity_changes_all_of_it() {
        let blocks = [
            block("client0", 7, 3),
            block("client1", 7, 3),
            block("client0", 8, 3),
            block("client0", 7, 4),
        ];
        for at in (HEADER..4096).step_by(512) {
            let words: BTreeSet<_> = blocks.iter().map(|block| &block[at..at + 8]).collect();
            assert_eq!(words.len(), blocks.len(), "at {at}");
        }
        let words: BTreeSet<_> = blocks[0].chunks_exact(8).collect();
        // All but the header's zeros are different.
        assert!(words.len() > 4096 / 8 - 4, "{}", words.len());
    }

    #[test]
    fn no_changed_bit_and_no_exchanged_words_go_unseen() {
        let good = block("n", 1, 1);
        for bit in (0..4096 * 8).step_by(61) {
            let mut bad = good.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(read(&bad), None, "bit {bit}");
        }
        let mut bad = good.clone();
        bad[64..72].copy_from_slice(&good[72..80]);
        bad[72..80].copy_from_slice(&good[64..72]);
        assert_eq!(read(&bad), None);
        assert_eq!(read(&good[..2048]), None);
        assert_eq!(read(&[0; 4096]), None);
        assert_eq!(read(&[]), None);
    }

    #[test]
    fn refuses_what_cannot_be() {
        for (writer, length) in [
            ("", 512),
            ("a b", 512),
            (&"n".repeat(33), 512),
            ("n", 0),
            ("n", 100),
        ] {
            assert!(
                Identity::new(writer, 0, length).is_err(),
                "{writer} {length}"
            );
        }
    }
}
