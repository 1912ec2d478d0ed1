//! Frames that are late on purpose, until they are due.

use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::time::Instant;

/// Bytes of all that may wait, with what is noted of each frame.
const ROOM: usize = 64 * 1024 * 1024;

/// Places for frames that are kept when none waits.
const PLACES: usize = 1024;

/// A frame that waits.
pub(super) struct Waiting {
    due: Instant,
    /// Of those that are due at the same time the first comes first.
    number: u64,
    /// The port that it is for.
    pub(super) to: usize,
    /// With its prefix.
    pub(super) frame: Box<[u8]>,
    /// How often it arrives.
    pub(super) copies: usize,
}

impl Ord for Waiting {
    /// The heap's greatest is due first.
    fn cmp(&self, other: &Self) -> Ordering {
        (other.due, other.number).cmp(&(self.due, self.number))
    }
}

impl PartialOrd for Waiting {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Waiting {
    fn eq(&self, other: &Self) -> bool {
        self.number == other.number
    }
}

impl Eq for Waiting {}

/// All frames that wait.
#[derive(Default)]
pub(super) struct Late {
    heap: BinaryHeap<Waiting>,
    count: u64,
    used: usize,
    /// Bytes of the frames for each port.
    queued: Vec<usize>,
}

impl Late {
    pub(super) fn is_empty(&self) -> bool {
        self.heap.is_empty()
    }

    /// Whether a frame of so many bytes, with its prefix, can wait.
    pub(super) fn has_room(&self, bytes: usize) -> bool {
        self.used + space(bytes) <= ROOM
    }

    /// Bytes that wait for a port.
    pub(super) fn queued(&self, port: usize) -> usize {
        self.queued.get(port).copied().unwrap_or_default()
    }

    /// Has a frame, given with its prefix, wait until it is due.
    pub(super) fn add(&mut self, due: Instant, to: usize, frame: Box<[u8]>, copies: usize) {
        self.used += space(frame.len());
        if self.queued.len() <= to {
            self.queued.resize(to + 1, 0);
        }
        self.queued[to] += frame.len();
        self.count += 1;
        self.heap.push(Waiting {
            due,
            number: self.count,
            to,
            frame,
            copies,
        });
    }

    /// When the next is due.
    pub(super) fn next_due(&self) -> Option<Instant> {
        self.heap.peek().map(|next| next.due)
    }

    /// The next that is due by now.
    pub(super) fn take_due(&mut self, now: Instant) -> Option<Waiting> {
        let next = self.next_due().filter(|due| *due <= now);
        let waiting = next.and_then(|_| self.heap.pop())?;
        self.used -= space(waiting.frame.len());
        self.queued[waiting.to] -= waiting.frame.len();
        if self.heap.is_empty() {
            self.heap.shrink_to(PLACES);
        }
        Some(waiting)
    }
}

fn space(bytes: usize) -> usize {
    bytes + size_of::<Waiting>()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn frames_come_when_due_and_in_their_order() {
        let now = Instant::now();
        let later = now + Duration::from_millis(1);
        let mut late = Late::default();
        for (due, byte) in [(later, 3), (now, 1), (later, 4), (now, 2)] {
            late.add(due, 5, Box::new([byte; 10]), 1);
        }
        assert_eq!([4, 5, 6].map(|port| late.queued(port)), [0, 40, 0]);
        let mut take = |now| late.take_due(now).map(|waiting| waiting.frame[0]);
        assert_eq!([now; 3].map(&mut take), [Some(1), Some(2), None]);
        assert_eq!([later; 3].map(&mut take), [Some(3), Some(4), None]);
        assert!(late.is_empty() && late.next_due().is_none());
        assert_eq!((late.queued(5), late.used), (0, 0));
    }

    #[test]
    fn there_is_no_room_for_all() {
        let mut late = Late::default();
        let half = ROOM / 2 - space(0);
        for _ in 0..2 {
            assert!(late.has_room(half));
            late.add(Instant::now(), 0, vec![0; half].into(), 1);
        }
        assert!(!late.has_room(0));
        late.take_due(Instant::now());
        assert!(late.has_room(half) && !late.has_room(half + 1));
    }
}
