//! A port's traffic as it goes by, for somebody who watches. Who watches slowly misses frames; the network never waits.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::pcap;

/// What may wait for a watcher, in bytes.
const WAITING: usize = 16 << 20;

/// The switch's end.
#[derive(Debug)]
pub(super) struct Tap {
    records: UnboundedSender<Vec<u8>>,
    account: Arc<Account>,
}

/// What a port carries, in the form of a pcap file: its header first, then a record for each frame.
#[derive(Debug)]
pub struct LiveCapture {
    records: UnboundedReceiver<Vec<u8>>,
    account: Arc<Account>,
    header: Option<Vec<u8>>,
}

#[derive(Debug, Default)]
struct Account {
    /// In bytes.
    waiting: AtomicUsize,
    frames: AtomicU64,
    missed: AtomicU64,
}

/// Both ends.
pub(super) fn tap() -> (Tap, LiveCapture) {
    let (sender, records) = unbounded_channel();
    let account = Arc::<Account>::default();
    let tap = Tap {
        records: sender,
        account: Arc::clone(&account),
    };
    let live = LiveCapture {
        records,
        account,
        header: Some(pcap::header().to_vec()),
    };
    (tap, live)
}

impl Tap {
    /// A frame (without the stream's prefix) goes by. `false`: nobody watches any more.
    pub(super) fn frame(&self, frame: &[u8]) -> bool {
        let Account {
            waiting,
            frames,
            missed,
        } = &*self.account;
        if waiting.load(Ordering::Relaxed) >= WAITING {
            missed.fetch_add(1, Ordering::Relaxed);
            return !self.records.is_closed();
        }
        let mut record = pcap::record(frame.len()).to_vec();
        record.extend(frame);
        waiting.fetch_add(record.len(), Ordering::Relaxed);
        frames.fetch_add(1, Ordering::Relaxed);
        self.records.send(record).is_ok()
    }
}

impl LiveCapture {
    /// The next piece of the file. Nothing: the network is no more.
    pub async fn next(&mut self) -> Option<Vec<u8>> {
        if let Some(header) = self.header.take() {
            return Some(header);
        }
        let record = self.records.recv().await?;
        let waiting = &self.account.waiting;
        waiting.fetch_sub(record.len(), Ordering::Relaxed);
        Some(record)
    }

    /// Sees nothing more. What has been seen still comes.
    pub fn end(&mut self) {
        self.records.close();
    }

    /// How many frames have been seen.
    pub fn frames(&self) -> u64 {
        self.account.frames.load(Ordering::Relaxed)
    }

    /// How many frames went by unseen, because 16 MiB of others waited.
    pub fn missed(&self) -> u64 {
        self.account.missed.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn who_watches_slowly_misses_frames_and_is_told() {
        let (tap, mut live) = tap();
        let frame = vec![7; 64 << 10];
        let sent = 300;
        for _ in 0..sent {
            assert!(tap.frame(&frame));
        }
        assert_eq!(live.next().await, Some(pcap::header().to_vec()));
        assert_eq!(live.frames() + live.missed(), sent);
        assert!(live.missed() > 0 && live.frames() >= 256);
        for _ in 0..live.frames() {
            assert_eq!(live.next().await.unwrap()[16..], frame);
        }
        assert!(tap.frame(&frame));
        assert!(live.next().await.is_some());
        drop(live);
        assert!(!tap.frame(&frame));
    }
}
