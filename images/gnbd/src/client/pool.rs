//! Memory for payloads, taken once: the relay must not need any while the kernel writes out to get some.

use super::table::Buffer;
use crate::protocol::MAX_TRANSFER;

/// Free buffers of [`MAX_TRANSFER`] bytes.
#[derive(Debug)]
pub(crate) struct Pool {
    free: Vec<Buffer>,
}

impl Pool {
    /// Takes the memory for `count` buffers, and touches it.
    pub(crate) fn new(count: usize) -> Self {
        // A page that was only promised is none: ones make the kernel give them all.
        let buffer = || vec![1_u8; MAX_TRANSFER as usize].into_boxed_slice();
        Self {
            free: (0..count).map(|_| buffer()).collect(),
        }
    }

    pub(crate) fn take(&mut self) -> Option<Buffer> {
        self.free.pop()
    }

    pub(crate) fn give(&mut self, buffer: Option<Buffer>) {
        self.free.extend(buffer);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.free.is_empty()
    }
}
