//! Lines from a guest or QEMU, of which none can grow without end.

use tokio::io::{AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, BufReader};

/// How much is read at once.
const PIECE: u64 = 64 << 10;

/// Reads lines of at most `most` bytes: of a longer one the middle is left out.
pub(crate) struct LineReader<R> {
    reader: BufReader<R>,
    piece: Vec<u8>,
    most: usize,
}

/// A line, without its end.
#[derive(Debug, Default)]
pub(crate) struct Line {
    /// It has an end: it is not what was there when the channel closed.
    pub(crate) whole: bool,
    /// How many bytes were left out between the two.
    pub(crate) left_out: u64,
    head: Vec<u8>,
    tail: Vec<u8>,
}

impl<R: AsyncRead + Unpin> LineReader<R> {
    pub(crate) fn new(reader: R, most: usize) -> Self {
        Self {
            reader: BufReader::new(reader),
            piece: Vec::new(),
            most,
        }
    }

    /// The next line; `None` at the end. An error is as good as the end: a channel is heard as far as it goes.
    pub(crate) async fn next(&mut self) -> Option<Line> {
        let half = self.most / 2;
        let mut line = Line::default();
        let mut begun = false;
        while !line.whole {
            self.piece.clear();
            let mut reader = (&mut self.reader).take(PIECE);
            let read = reader.read_until(b'\n', &mut self.piece).await;
            begun |= !self.piece.is_empty();
            let is_end = !read.is_ok_and(|length| length > 0);
            line.whole = self.piece.pop_if(|last| *last == b'\n').is_some();
            line.push(&self.piece, half);
            if is_end {
                break;
            }
        }
        line.cut(half);
        begun.then_some(line)
    }
}

impl Line {
    fn push(&mut self, piece: &[u8], half: usize) {
        let free = half.saturating_sub(self.head.len()).min(piece.len());
        let (to_head, to_tail) = piece.split_at(free);
        self.head.extend(to_head);
        self.tail.extend(to_tail);
        // Not at each piece: what is moved is moved once.
        if self.tail.len() > 2 * half {
            self.cut(half);
        }
    }

    fn cut(&mut self, half: usize) {
        let over = self.tail.len().saturating_sub(half);
        self.tail.drain(..over);
        self.left_out += over as u64;
    }

    /// All of it, unless some was left out.
    pub(crate) fn bytes(mut self) -> Vec<u8> {
        self.head.append(&mut self.tail);
        self.head
    }

    /// As text, without a carriage return at its end: what is not UTF-8 is replaced, and where something was left out it
    /// says how much.
    pub(crate) fn text(self) -> String {
        let mut text = if self.left_out > 0 {
            let (head, tail) = (
                String::from_utf8_lossy(&self.head),
                String::from_utf8_lossy(&self.tail),
            );
            format!("{head} ... {} bytes are left out ... {tail}", self.left_out)
        } else {
            String::from_utf8_lossy(&self.bytes()).into_owned()
        };
        text.truncate(text.trim_end_matches('\r').len());
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn lines(bytes: &[u8], most: usize) -> Vec<(String, bool)> {
        let mut reader = LineReader::new(bytes, most);
        let mut lines = Vec::new();
        while let Some(line) = reader.next().await {
            let whole = line.whole;
            lines.push((line.text(), whole));
        }
        lines
    }

    #[tokio::test]
    async fn a_long_line_keeps_its_beginning_and_its_end() {
        let read = lines(b"12345678\n123456789ab\r\n\n\xc3\xa4\xff\r", 8).await;
        let wanted = [
            ("12345678", true),
            ("1234 ... 4 bytes are left out ... 9ab", true),
            ("", true),
            ("ä\u{fffd}", false),
        ];
        assert_eq!(read, wanted.map(|(text, whole)| (text.to_owned(), whole)));
    }

    #[tokio::test]
    async fn a_character_across_the_middle_is_one() {
        let read = lines("12345äbcdef\n".as_bytes(), 12).await;
        assert_eq!(read[0].0, "12345äbcdef");
    }

    /// 64 MiB without an end take no more than a few pieces.
    #[tokio::test]
    async fn a_flood_without_a_newline_is_not_kept() {
        const MOST: usize = 8 << 10;
        let flood = tokio::io::repeat(b'x').take(64 << 20);
        let rest = &b" Kernel panic - not syncing: x\nnext\n"[..];
        let mut reader = LineReader::new(flood.chain(rest), MOST);
        let line = reader.next().await.expect("a line");
        assert_eq!(line.head.len() + line.tail.len(), MOST);
        assert!(line.head.capacity() + line.tail.capacity() <= 1 << 20);
        assert!(reader.piece.capacity() <= 1 << 20);
        let text = line.text();
        assert!(
            text.ends_with("Kernel panic - not syncing: x"),
            "its end is heard"
        );
        assert!(
            text.contains(" ... 67100702 bytes are left out ... "),
            "{text:.9000}"
        );
        assert_eq!(reader.next().await.expect("a line").text(), "next");
        assert!(reader.next().await.is_none());
    }
}
