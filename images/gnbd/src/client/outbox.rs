//! Answers on their way to the kernel.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, IoSlice, Write};

use super::nbd::{Cookie, NBD_REPLY_SIZE, NbdReply};
use super::pool::Pool;
use super::table::Buffer;

/// More answers than this waiting mean that the kernel does not read them: it gets no more questions in.
const MOST: usize = 256;

/// Slices given to one system call.
pub(crate) const SLICES: usize = 32;

/// What comes behind a reply's header.
#[derive(Debug)]
pub(crate) enum Body {
    None,
    /// The first bytes of a buffer that goes back to the pool.
    Buffer(Buffer, usize),
    /// A long read.
    Long(Vec<u8>),
}

impl Body {
    fn bytes(&self) -> &[u8] {
        match self {
            Self::None => &[],
            Self::Buffer(buffer, length) => &buffer[..*length],
            Self::Long(data) => data,
        }
    }
}

/// Answers in their order.
#[derive(Debug)]
pub(crate) struct Outbox {
    queue: VecDeque<([u8; NBD_REPLY_SIZE], Body)>,
    /// Bytes of the first that are sent.
    sent: usize,
    /// Bytes of long reads in the queue.
    long: usize,
}

impl Outbox {
    pub(crate) fn new() -> Self {
        Self {
            queue: VecDeque::with_capacity(2 * MOST),
            sent: 0,
            long: 0,
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    pub(crate) fn is_full(&self) -> bool {
        self.queue.len() >= MOST
    }

    /// Bytes of long reads that wait here.
    pub(crate) fn long(&self) -> usize {
        self.long
    }

    pub(crate) fn answer(&mut self, cookie: Cookie, error: u32, body: Body) {
        if let Body::Long(data) = &body {
            self.long += data.len();
        }
        let header = NbdReply { error, cookie }.encode();
        self.queue.push_back((header, body));
    }

    /// Forgets everything.
    pub(crate) fn clear(&mut self, pool: &mut Pool) {
        while let Some((_, body)) = self.queue.pop_front() {
            if let Body::Buffer(buffer, _) = body {
                pool.give(Some(buffer));
            }
        }
        (self.sent, self.long) = (0, 0);
    }

    /// Writes as much as goes; whether anything went. Buffers of what is gone go back to the pool.
    pub(crate) fn flush(&mut self, target: &mut impl Write, pool: &mut Pool) -> io::Result<bool> {
        let mut taken = false;
        while !self.queue.is_empty() {
            let mut slices = [IoSlice::new(&[]); SLICES];
            let mut count = 0;
            let mut skip = self.sent;
            for (header, body) in self.queue.iter().take(SLICES / 2) {
                for bytes in [&header[..], body.bytes()] {
                    let skipped = skip.min(bytes.len());
                    skip -= skipped;
                    slices[count] = IoSlice::new(&bytes[skipped..]);
                    count += 1;
                }
            }
            match target.write_vectored(&slices[..count]) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(written) => {
                    self.advance(written, pool);
                    taken = true;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(taken),
                Err(error) => return Err(error),
            }
        }
        Ok(taken)
    }

    fn advance(&mut self, written: usize, pool: &mut Pool) {
        self.sent += written;
        while let Some((header, body)) = self.queue.front() {
            let size = header.len() + body.bytes().len();
            if self.sent < size {
                return;
            }
            self.sent -= size;
            match self.queue.pop_front() {
                Some((_, Body::Buffer(buffer, _))) => pool.give(Some(buffer)),
                Some((_, Body::Long(data))) => self.long -= data.len(),
                Some((_, Body::None)) | None => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes `.1` bytes a call.
    struct Narrow(Vec<u8>, usize);

    impl Write for Narrow {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let count = bytes.len().min(self.1);
            self.0.extend(&bytes[..count]);
            Ok(count)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn answers_leave_in_order_whatever_fits() {
        let mut whole = None;
        for width in [1, 5, 16, 17, 40, 1000] {
            let mut pool = Pool::new(1);
            let mut outbox = Outbox::new();
            let mut buffer = pool.take().unwrap();
            buffer[..4].copy_from_slice(b"data");
            outbox.answer([1; 8], 0, Body::Buffer(buffer, 4));
            outbox.answer([2; 8], 5, Body::None);
            outbox.answer([3; 8], 0, Body::Long(b"long".to_vec()));
            let mut target = Narrow(Vec::new(), width);
            outbox.flush(&mut target, &mut pool).unwrap();
            assert!(outbox.is_empty() && !pool.is_empty() && outbox.long() == 0);
            assert_eq!(target.0.len(), 3 * NBD_REPLY_SIZE + 8);
            assert_eq!(whole.get_or_insert(target.0.clone()), &target.0);
        }
    }
}
