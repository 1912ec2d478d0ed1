//! Memory for one request's payload, aligned for direct I/O.

use crate::protocol::MAX_TRANSFER;

/// Direct I/O wants addresses that are multiples of the device's logical block size, at most 4096.
const ALIGNMENT: usize = 4096;

/// Room for the longest payload.
#[derive(Debug)]
pub(crate) struct Buffer {
    memory: Box<[u8]>,
    start: usize,
}

impl Buffer {
    pub(crate) fn new() -> Self {
        let memory = vec![0; MAX_TRANSFER as usize + ALIGNMENT].into_boxed_slice();
        let start = memory.as_ptr().addr().next_multiple_of(ALIGNMENT) - memory.as_ptr().addr();
        Self { memory, start }
    }

    /// The first `length` bytes, at most [`MAX_TRANSFER`].
    pub(crate) fn bytes(&mut self, length: u32) -> &mut [u8] {
        let length = length.min(MAX_TRANSFER) as usize;
        &mut self.memory[self.start..self.start + length]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_aligned() {
        let mut buffer = Buffer::new();
        assert_eq!(buffer.bytes(MAX_TRANSFER).len(), 131_072);
        assert_eq!(buffer.bytes(512).as_ptr().addr() % ALIGNMENT, 0);
    }
}
