//! How much of what a guest says may wait for those who listen: where there is no room left nothing more is read, so that the
//! guest waits, and nothing is lost.

use std::fmt;
use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// What a line takes beside its text, wherever it waits.
const OVERHEAD: usize = 128;

/// The room of a channel.
#[derive(Debug)]
pub(crate) struct Rooms {
    free: Arc<Semaphore>,
    bytes: usize,
}

/// A line's share of its channel's room, which is given back when the last clone is dropped. It says nothing about the line.
#[derive(Clone, Default)]
pub struct Room {
    _taken: Option<Arc<OwnedSemaphorePermit>>,
}

impl Rooms {
    /// Room for so many bytes.
    pub(crate) fn new(bytes: usize) -> Self {
        let free = Arc::new(Semaphore::new(bytes));
        Self { free, bytes }
    }

    /// Waits until there is room for a line.
    pub(crate) async fn take(&self, line: &str) -> Room {
        let bytes = (line.len() + OVERHEAD).min(self.bytes);
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        // It is never closed.
        let taken = Arc::clone(&self.free).acquire_many_owned(bytes).await;
        Room {
            _taken: taken.ok().map(Arc::new),
        }
    }
}

impl PartialEq for Room {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Room {}

impl fmt::Debug for Room {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Room")
    }
}
