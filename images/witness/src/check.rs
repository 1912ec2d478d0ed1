//! The checker: which blocks are not what they must be.

use std::fmt;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use crate::block::{Identity, read};
use crate::direct::{self, Buffer};
use crate::error::Error;

/// A block, or a part of one, and where it must stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Piece {
    /// The block.
    pub number: u64,
    /// Where the piece stands in the file or on the device, in bytes.
    pub offset: u64,
    /// Where it begins in the block, in bytes.
    pub within: usize,
    /// How many bytes it has.
    pub length: usize,
}

/// A piece that is not what it must be. Displays as a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bad {
    /// Which.
    pub piece: Piece,
    /// What is there instead.
    pub reason: String,
}

impl fmt::Display for Bad {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Piece { number, offset, .. } = self.piece;
        write!(f, "bad {number} {offset} {}", self.reason)
    }
}

/// The most that is read at once: an emulated guest pays for each request rather than for its bytes.
const STRETCH: usize = 256 << 10;

/// Reads all `pieces` from the disk that `path` leads to, past every cache of this machine, and tells `bad` of those that
/// are not what `identity` says. Neighbours are read together.
pub fn check(
    path: &Path,
    identity: &Identity,
    pieces: impl IntoIterator<Item = Piece>,
    mut bad: impl FnMut(&Bad) -> Result<(), Error>,
) -> Result<u64, Error> {
    let file = direct::options()
        .read(true)
        .open(path)
        .map_err(|error| Error::host("open", path, error))?;
    let mut found = Buffer::new(STRETCH.max(identity.length()));
    let mut expected = vec![0; identity.length()];
    let mut checked = 0;
    let mut pieces = pieces.into_iter().peekable();
    while let Some(first) = pieces.next() {
        let mut stretch = vec![first];
        let mut length = first.length;
        while let Some(next) = pieces.next_if(|next| {
            next.offset == first.offset + length as u64 && length + next.length <= STRETCH
        }) {
            length += next.length;
            stretch.push(next);
        }
        let found = &mut found.bytes()[..length];
        // What cannot be read together is read apart, so that each piece has its own reason.
        let whole = stretch.len() > 1
            && read_piece(&file, found, first.offset).is_ok_and(|bytes| bytes == length);
        let mut rest = found;
        for piece in stretch {
            let (found, others) = rest.split_at_mut(piece.length);
            rest = others;
            identity.fill(piece.number, &mut expected);
            let expected = &expected[piece.within..piece.within + piece.length];
            let reason = if whole {
                difference(found, expected)
            } else {
                match read_piece(&file, found, piece.offset) {
                    Ok(bytes) if bytes == piece.length => difference(found, expected),
                    Ok(bytes) => Some(format!("the file ends after {bytes} bytes of it")),
                    Err(error) => Some(format!("cannot be read: {error}")),
                }
            };
            if let Some(reason) = reason {
                bad(&Bad { piece, reason })?;
            }
            checked += 1;
        }
    }
    Ok(checked)
}

/// Reads until the buffer is full or the file ends; says how far.
fn read_piece(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match file.read_at(&mut buffer[filled..], offset + filled as u64) {
            Ok(0) => break,
            Ok(bytes) => {
                filled += bytes;
                // A direct read that stops within a sector has met the end, and cannot be gone on with.
                if filled % 512 != 0 {
                    break;
                }
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

/// What is found instead of what is expected.
fn difference(found: &[u8], expected: &[u8]) -> Option<String> {
    let first = found.iter().zip(expected).position(|(a, b)| a != b)?;
    if found.iter().all(|byte| *byte == 0) {
        return Some("it is all zeros: never written, or lost".to_owned());
    }
    if let Some(other) = read(found) {
        return Some(format!("in its place stands {other}"));
    }
    let wrong = found.iter().zip(expected).filter(|(a, b)| a != b).count();
    Some(format!(
        "it differs in {wrong} of {} bytes, first at {first}",
        found.len()
    ))
}
