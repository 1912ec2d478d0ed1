//! A port's traffic as a pcap file, for Wireshark and tcpdump.

use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use fs_err::File;

use super::wire::MAX_FRAME;

/// pcap's magic number for time stamps in nanoseconds (draft-ietf-opsawg-pcap), in the writer's byte order.
const MAGIC_NANOSECONDS: u32 = 0xa1b2_3c4d;
/// `LINKTYPE_ETHERNET` in the registry of link types at tcpdump.org.
const LINKTYPE_ETHERNET: u32 = 1;

/// A file's header.
pub(crate) fn header() -> [u8; 24] {
    let mut bytes = [0; 24];
    bytes[..4].copy_from_slice(&MAGIC_NANOSECONDS.to_ne_bytes());
    bytes[4..6].copy_from_slice(&2_u16.to_ne_bytes()); // version 2.4
    bytes[6..8].copy_from_slice(&4_u16.to_ne_bytes());
    // Eight bytes are reserved.
    bytes[16..20].copy_from_slice(&length(MAX_FRAME).to_ne_bytes());
    bytes[20..].copy_from_slice(&LINKTYPE_ETHERNET.to_ne_bytes());
    bytes
}

/// What stands before a frame (without the stream's prefix) of that length that goes by now.
pub(crate) fn record(bytes: usize) -> [u8; 16] {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or(Duration::ZERO);
    // The format's seconds are 32 bits wide; they wrap in 2106.
    let seconds = u32::try_from(now.as_secs() & 0xffff_ffff).unwrap_or(0);
    let words = [seconds, now.subsec_nanos(), length(bytes), length(bytes)];
    let mut head = [0; 16];
    for (place, word) in head.chunks_exact_mut(4).zip(words) {
        place.copy_from_slice(&word.to_ne_bytes());
    }
    head
}

/// An open pcap file. What is written reaches the file at the latest with [`Capture::flush`].
pub(crate) struct Capture {
    out: BufWriter<File>,
    /// Whether something waits for a flush.
    pub(crate) dirty: bool,
}

impl Capture {
    /// Creates the file, or empties it, and writes its header.
    pub(crate) fn create(path: &Path) -> io::Result<Self> {
        let mut out = BufWriter::with_capacity(1 << 18, File::create(path)?);
        out.write_all(&header())?;
        out.flush()?;
        Ok(Self { out, dirty: false })
    }

    /// Appends a frame (without the stream's prefix) with the present time.
    pub(crate) fn frame(&mut self, frame: &[u8]) -> io::Result<()> {
        self.dirty = true;
        self.out.write_all(&record(frame.len()))?;
        self.out.write_all(frame)
    }

    pub(crate) fn flush(&mut self) -> io::Result<()> {
        self.dirty = false;
        self.out.flush()
    }
}

/// Frames are never longer than [`MAX_FRAME`].
fn length(bytes: usize) -> u32 {
    u32::try_from(bytes).unwrap_or(u32::MAX)
}
