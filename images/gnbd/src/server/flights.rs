//! Which parts of the device are being read and written for one connection.
//!
//! Requests that overlap, one of them a write, are carried out in the order in which they came, as if there were one
//! thread; others side by side.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

#[derive(Debug, Default)]
pub(super) struct Flights {
    inner: Mutex<Inner>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Inner {
    under_way: Vec<Flight>,
    unanswered: usize,
    waiting: usize,
}

/// Bytes from `start` to before `end`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Flight {
    pub(super) start: u64,
    pub(super) end: u64,
    pub(super) write: bool,
}

impl Flight {
    fn conflicts(self, other: Self) -> bool {
        (self.write || other.write) && self.start < other.end && other.start < self.end
    }
}

impl Flights {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until nothing that came before stands in the way.
    pub(super) fn begin(&self, flight: Flight) {
        let mut inner = self.lock();
        while inner.under_way.iter().any(|other| other.conflicts(flight)) {
            inner = self.wait(inner);
        }
        inner.under_way.push(flight);
        inner.unanswered += 1;
    }

    /// The disk has done its part.
    pub(super) fn landed(&self, flight: Flight) {
        let mut inner = self.lock();
        if let Some(at) = inner.under_way.iter().position(|other| *other == flight) {
            inner.under_way.swap_remove(at);
        }
        self.tell(&inner);
    }

    /// The client has its answer.
    pub(super) fn answered(&self) {
        let mut inner = self.lock();
        inner.unanswered = inner.unanswered.saturating_sub(1);
        self.tell(&inner);
    }

    /// Waits until everything is answered.
    pub(super) fn drain(&self) {
        let mut inner = self.lock();
        while inner.unanswered > 0 {
            inner = self.wait(inner);
        }
    }

    /// Whether everything is answered.
    pub(super) fn idle(&self) -> bool {
        self.lock().unanswered == 0
    }

    fn wait<'a>(&self, mut inner: MutexGuard<'a, Inner>) -> MutexGuard<'a, Inner> {
        inner.waiting += 1;
        let mut inner = self
            .changed
            .wait(inner)
            .unwrap_or_else(PoisonError::into_inner);
        inner.waiting -= 1;
        inner
    }

    fn tell(&self, inner: &Inner) {
        if inner.waiting > 0 {
            self.changed.notify_all();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flight(start: u64, end: u64, write: bool) -> Flight {
        Flight { start, end, write }
    }

    #[test]
    fn only_overlaps_with_writes_conflict() {
        let write = flight(512, 1024, true);
        assert!(!write.conflicts(flight(0, 512, true)));
        assert!(!write.conflicts(flight(1024, 2048, false)));
        assert!(write.conflicts(flight(0, 513, false)));
        assert!(!flight(0, 4096, false).conflicts(flight(0, 4096, false)));
    }

    #[test]
    fn a_read_waits_for_the_write_before_it() {
        let flights = Flights::default();
        let (write, read) = (flight(0, 512, true), flight(0, 1024, false));
        flights.begin(write);
        std::thread::scope(|scope| {
            let reader = scope.spawn(|| flights.begin(read));
            while flights.lock().waiting == 0 {
                std::thread::yield_now();
            }
            flights.landed(write);
            reader.join().unwrap();
        });
        assert!(!flights.idle());
        flights.answered();
        flights.landed(read);
        flights.answered();
        flights.drain();
    }
}
