//! Past the page cache: how files are opened for that, and the memory that it takes.

use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt as _;

use rustix::fs::OFlags;

/// A page: no disk of the lab asks for more.
const ALIGNMENT: usize = 4096;

/// Options for a file that is read and written past the page cache.
pub(crate) fn options() -> OpenOptions {
    with_flags(OFlags::DIRECT)
}

/// The same, and what was written is on the disk, with all that finds it again.
pub(crate) fn synchronous_options() -> OpenOptions {
    with_flags(OFlags::DIRECT | OFlags::DSYNC)
}

fn with_flags(flags: OFlags) -> OpenOptions {
    let mut options = OpenOptions::new();
    // As C has them; none is the sign.
    let flags = i32::from_ne_bytes(flags.bits().to_ne_bytes());
    options.custom_flags(flags);
    options
}

/// Bytes that begin at a page's boundary.
#[derive(Debug)]
pub(crate) struct Buffer {
    bytes: Vec<u8>,
    begin: usize,
    length: usize,
}

impl Buffer {
    pub(crate) fn new(length: usize) -> Self {
        // Never grows, so that it stays where it is.
        let bytes = vec![0; length + ALIGNMENT];
        let begin = bytes.as_ptr().align_offset(ALIGNMENT);
        Self {
            bytes,
            begin,
            length,
        }
    }

    pub(crate) fn bytes(&mut self) -> &mut [u8] {
        &mut self.bytes[self.begin..self.begin + self.length]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn begins_at_a_page() {
        for length in [512, 4096, 262_144] {
            let mut buffer = Buffer::new(length);
            assert_eq!(buffer.bytes().as_ptr() as usize % ALIGNMENT, 0);
            assert_eq!(buffer.bytes().len(), length);
        }
    }
}
