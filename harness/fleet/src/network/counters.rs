//! What a port carried, readable at any time from any thread.

use std::sync::atomic::{AtomicU64, Ordering};

/// What a port carried, seen from its guest. Bytes are those of frames, without the stream's prefixes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PortCounters {
    /// Frames that the guest sent.
    pub sent_frames: u64,
    /// Bytes that the guest sent.
    pub sent_bytes: u64,
    /// Frames that were queued or written for the guest.
    pub received_frames: u64,
    /// Bytes that were queued or written for the guest.
    pub received_bytes: u64,
    /// Frames for the guest that its full queue had no room for, or that came while nothing was connected.
    pub dropped_frames: u64,
    /// Frames for the guest that were lost on purpose ([`Switch::impair`](crate::Switch::impair)).
    pub lost_frames: u64,
}

impl std::ops::AddAssign for PortCounters {
    fn add_assign(&mut self, other: Self) {
        self.sent_frames += other.sent_frames;
        self.sent_bytes += other.sent_bytes;
        self.received_frames += other.received_frames;
        self.received_bytes += other.received_bytes;
        self.dropped_frames += other.dropped_frames;
        self.lost_frames += other.lost_frames;
    }
}

/// Written by the switch's thread alone.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    sent_frames: AtomicU64,
    sent_bytes: AtomicU64,
    received_frames: AtomicU64,
    received_bytes: AtomicU64,
    dropped_frames: AtomicU64,
    lost_frames: AtomicU64,
    queued_bytes: AtomicU64,
}

impl Counters {
    pub(crate) fn sent(&self, frames: u64, bytes: u64) {
        self.sent_frames.fetch_add(frames, Ordering::Relaxed);
        self.sent_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(crate) fn received(&self, frames: u64, bytes: u64) {
        self.received_frames.fetch_add(frames, Ordering::Relaxed);
        self.received_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(crate) fn dropped(&self, frames: u64) {
        self.dropped_frames.fetch_add(frames, Ordering::Relaxed);
    }

    pub(crate) fn lost(&self, frames: u64) {
        self.lost_frames.fetch_add(frames, Ordering::Relaxed);
    }

    /// What waits for the guest now, because it does not take it or because it is late on purpose.
    pub(crate) fn queued(&self, bytes: usize) {
        self.queued_bytes.store(bytes as u64, Ordering::Relaxed);
    }

    pub(crate) fn queued_bytes(&self) -> u64 {
        self.queued_bytes.load(Ordering::Relaxed)
    }

    pub(crate) fn read(&self) -> PortCounters {
        PortCounters {
            sent_frames: self.sent_frames.load(Ordering::Relaxed),
            sent_bytes: self.sent_bytes.load(Ordering::Relaxed),
            received_frames: self.received_frames.load(Ordering::Relaxed),
            received_bytes: self.received_bytes.load(Ordering::Relaxed),
            dropped_frames: self.dropped_frames.load(Ordering::Relaxed),
            lost_frames: self.lost_frames.load(Ordering::Relaxed),
        }
    }
}

/// What a switch is doing. Two looks that are alike: nothing was sent between them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Activity {
    /// Frames that all guests together have sent.
    pub(crate) sent_frames: u64,
    /// Bytes that wait for guests.
    pub(crate) queued_bytes: u64,
}

impl std::ops::AddAssign for Activity {
    fn add_assign(&mut self, other: Self) {
        self.sent_frames += other.sent_frames;
        self.queued_bytes += other.queued_bytes;
    }
}
