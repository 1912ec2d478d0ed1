//! One connected QEMU: its bytes in, and a bounded queue of its bytes out.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;

use super::wire::{self, Mac};

/// Bytes read at once: several of the largest frames, so that a full read is forwarded by few writes.
const INPUT: usize = 256 * 1024;

/// Bytes that wait for a guest which does not take them; what comes then is dropped and counted.
///
/// Dropping, because holding back the sender (the other choice) would hold back its frames for everybody else too.
/// The size, because TCP's throughput suffers from every loss: it is above Linux's largest default receive window
/// (`net.ipv4.tcp_rmem`, 6 MiB), so that a stream to a guest that is slow, but alive, does not lose anything.
pub(crate) const QUEUE: usize = 8 * 1024 * 1024;

/// What one read gave.
pub(crate) enum Input {
    /// More bytes.
    Bytes,
    /// The peer closed, or the connection broke.
    Ended,
}

/// A connection.
pub(crate) struct Link {
    pub(crate) stream: UnixStream,
    input: Box<[u8]>,
    filled: usize,
    queue: VecDeque<u8>,
    /// The address learned last from here: most frames come from the same one, so nothing is learned.
    pub(crate) last_source: Option<Mac>,
}

impl Link {
    /// Takes over an accepted connection.
    pub(crate) fn new(stream: UnixStream) -> io::Result<Self> {
        stream.set_nonblocking(true)?;
        // The kernel cuts it to net.core.wmem_max: fewer wake-ups a byte where it allows more than the default.
        rustix::net::sockopt::set_socket_send_buffer_size(&stream, 1 << 20)?;
        Ok(Self {
            stream,
            input: vec![0; INPUT].into_boxed_slice(),
            filled: 0,
            queue: VecDeque::new(),
            last_source: None,
        })
    }

    /// Reads once; [`Link::take_input`] then gives the bytes.
    pub(crate) fn read(&mut self) -> Input {
        match self.stream.read(&mut self.input[self.filled..]) {
            Ok(0) => Input::Ended,
            Ok(bytes) => {
                self.filled += bytes;
                Input::Bytes
            }
            Err(error)
                if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) =>
            {
                Input::Bytes
            }
            Err(_) => Input::Ended,
        }
    }

    /// Lends the input out while it is forwarded: the buffer, and how much of it is filled.
    pub(crate) fn take_input(&mut self) -> (Box<[u8]>, usize) {
        (std::mem::take(&mut self.input), self.filled)
    }

    /// Takes the input back, and keeps what stands between `used` and the filled end: the begin of a frame.
    pub(crate) fn return_input(&mut self, input: Box<[u8]>, used: usize) {
        self.input = input;
        self.input.copy_within(used..self.filled, 0);
        self.filled -= used;
    }

    /// Whether the poll should wait for room in the socket.
    pub(crate) fn has_queue(&self) -> bool {
        !self.queue.is_empty()
    }

    /// Bytes that wait for room in the socket.
    pub(crate) fn queued(&self) -> usize {
        self.queue.len()
    }

    /// Sends whole frames: writes what the socket takes, queues the rest; returns how many frames (and their bytes
    /// with prefixes) found no room and were dropped.
    pub(crate) fn send(&mut self, frames: &[u8]) -> io::Result<(u64, u64)> {
        let written = if self.queue.is_empty() {
            self.write(frames)?
        } else {
            0
        };
        if written == frames.len() {
            return Ok((0, 0));
        }
        let mut dropped = (0, 0);
        let mut end = 0;
        for frame in wire::frames(frames) {
            let begin = end;
            end += frame.len();
            if end <= written {
                continue;
            }
            if begin < written {
                // Its first bytes are out: the rest must follow, whatever the queue holds.
                self.queue.extend(&frames[written..end]);
            } else if self.queue.len() + frame.len() <= QUEUE {
                self.queue.extend(frame);
            } else {
                dropped = (dropped.0 + 1, dropped.1 + frame.len() as u64);
            }
        }
        Ok(dropped)
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut written = 0;
        while written < bytes.len() {
            match self.stream.write(&bytes[written..]) {
                Ok(more) => written += more,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(written)
    }

    /// Writes from the queue what the socket takes.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        while !self.queue.is_empty() {
            let (front, _) = self.queue.as_slices();
            match self.stream.write(front) {
                Ok(bytes) => drop(self.queue.drain(..bytes)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        // A guest that once stalled need not cost its whole queue for ever.
        self.queue.shrink_to(INPUT);
        Ok(())
    }
}
