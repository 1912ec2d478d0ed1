//! The one loop of blocking code that waits.

use std::thread;
use std::time::{Duration, Instant};

/// Asks every `interval` until there is an answer; `None` when there is none by the deadline.
pub(crate) fn wait_until<T>(
    deadline: Duration,
    interval: Duration,
    mut ask: impl FnMut() -> Option<T>,
) -> Option<T> {
    let end = Instant::now() + deadline;
    loop {
        if let Some(answer) = ask() {
            return Some(answer);
        }
        let left = end.checked_duration_since(Instant::now())?;
        thread::park_timeout(interval.min(left));
    }
}
