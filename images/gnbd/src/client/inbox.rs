//! Bytes that arrive: staged where they are small, straight to their place where they are many.

use std::io::{self, ErrorKind, Read};

/// What was read from a stream and not used yet. Many small headers come with one system call.
#[derive(Debug)]
pub(crate) struct Inbox {
    bytes: Box<[u8]>,
    start: usize,
    end: usize,
}

/// Bytes staged at most.
const SIZE: usize = 16 << 10;

impl Inbox {
    pub(crate) fn new() -> Self {
        Self {
            bytes: vec![0; SIZE].into(),
            start: 0,
            end: 0,
        }
    }

    /// Forgets what is staged: the stream is another now.
    pub(crate) fn clear(&mut self) {
        (self.start, self.end) = (0, 0);
    }

    /// The next `N` bytes, or `None` until they are there. The stream's end is an error.
    pub(crate) fn take<const N: usize>(
        &mut self,
        source: &mut impl Read,
    ) -> io::Result<Option<[u8; N]>> {
        while self.end - self.start < N {
            if self.start > 0 {
                self.bytes.copy_within(self.start..self.end, 0);
                (self.start, self.end) = (0, self.end - self.start);
            }
            match some(source, &mut self.bytes[self.end..])? {
                None => return Ok(None),
                Some(count) => self.end += count,
            }
        }
        let mut bytes = [0; N];
        bytes.copy_from_slice(&self.bytes[self.start..self.start + N]);
        self.start += N;
        Ok(Some(bytes))
    }

    /// Fills `target` from `filled` on; whether it is full now.
    pub(crate) fn fill(
        &mut self,
        source: &mut impl Read,
        target: &mut [u8],
        filled: &mut usize,
    ) -> io::Result<bool> {
        while *filled < target.len() {
            let space = &mut target[*filled..];
            let staged = &self.bytes[self.start..self.end];
            let count = if staged.is_empty() {
                match some(source, space)? {
                    None => return Ok(false),
                    Some(count) => count,
                }
            } else {
                let count = staged.len().min(space.len());
                space[..count].copy_from_slice(&staged[..count]);
                self.start += count;
                count
            };
            *filled += count;
        }
        Ok(true)
    }

    /// Throws `left` bytes away; whether they are all gone.
    pub(crate) fn discard(&mut self, source: &mut impl Read, left: &mut u64) -> io::Result<bool> {
        while *left > 0 {
            if self.start == self.end {
                self.clear();
                match some(source, &mut self.bytes)? {
                    None => return Ok(false),
                    Some(count) => self.end = count,
                }
            }
            let staged = self.end - self.start;
            let count = usize::try_from(*left).map_or(staged, |left| staged.min(left));
            self.start += count;
            *left -= count as u64;
        }
        Ok(true)
    }
}

/// Reads once; `None` if nothing is there.
fn some(source: &mut impl Read, space: &mut [u8]) -> io::Result<Option<usize>> {
    loop {
        return match source.read(space) {
            Ok(0) => Err(ErrorKind::UnexpectedEof.into()),
            Ok(count) => Ok(Some(count)),
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(error),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gives `chunk` bytes a call, then would block.
    struct Drip<'a>(&'a [u8], usize);

    impl Read for Drip<'_> {
        fn read(&mut self, space: &mut [u8]) -> io::Result<usize> {
            if self.0.is_empty() {
                return Err(ErrorKind::WouldBlock.into());
            }
            let count = self.1.min(space.len()).min(self.0.len());
            space[..count].copy_from_slice(&self.0[..count]);
            self.0 = &self.0[count..];
            Ok(count)
        }
    }

    #[test]
    fn pieces_come_out_whole() {
        let bytes: Vec<u8> = (0..200).collect();
        for chunk in [1, 3, 7, 64, 200] {
            let mut inbox = Inbox::new();
            let mut source = Drip(&bytes, chunk);
            assert_eq!(inbox.take::<5>(&mut source).unwrap(), Some([0, 1, 2, 3, 4]));
            let (mut body, mut filled) = ([0; 150], 0);
            assert!(inbox.fill(&mut source, &mut body, &mut filled).unwrap());
            assert_eq!(body, bytes[5..155]);
            let mut left = 20;
            assert!(inbox.discard(&mut source, &mut left).unwrap());
            assert_eq!(inbox.take::<2>(&mut source).unwrap(), Some([175, 176]));
            assert_eq!(inbox.take::<24>(&mut source).unwrap(), None);
            assert_eq!(inbox.take::<23>(&mut source).unwrap().unwrap()[22], 199);
        }
    }

    #[test]
    fn the_end_is_an_error() {
        let mut inbox = Inbox::new();
        let error = inbox.take::<4>(&mut &b"abc"[..]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::UnexpectedEof);
    }
}
