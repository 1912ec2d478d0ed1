//! Lists of what is to be checked.

use crate::block::{Identity, MIN_BLOCK};
use crate::check::Piece;
use crate::error::Error;

/// Lines `NUMBER OFFSET`, for a whole block at that byte, or `NUMBER OFFSET WITHIN LENGTH`, for the part of it that begins
/// at its byte WITHIN and has LENGTH bytes. All but the number are multiples of 512.
pub fn parse(text: &str, identity: &Identity) -> Result<Vec<Piece>, Error> {
    let whole = identity.length();
    let piece = |line: &str| -> Option<Piece> {
        let words: Vec<u64> = line
            .split_whitespace()
            .map(|word| word.parse().ok())
            .collect::<Option<_>>()?;
        let (number, offset, within, length) = match words[..] {
            [number, offset] => (number, offset, 0, whole),
            [number, offset, within, length] => (
                number,
                offset,
                usize::try_from(within).ok()?,
                usize::try_from(length).ok()?,
            ),
            _ => return None,
        };
        let fits = within
            .checked_add(length)
            .is_some_and(|end| length > 0 && end <= whole);
        let aligned =
            offset % MIN_BLOCK as u64 == 0 && within % MIN_BLOCK == 0 && length % MIN_BLOCK == 0;
        (fits && aligned).then_some(Piece {
            number,
            offset,
            within,
            length,
        })
    };
    let line = |(index, line): (usize, &str)| {
        piece(line).ok_or_else(|| {
            Error::Usage(format!(
                "line {} of the list is no `NUMBER OFFSET [WITHIN LENGTH]` of a block of {whole} bytes: `{line}`",
                index + 1
            ))
        })
    };
    text.lines().enumerate().map(line).collect()
}

/// The first `count` blocks where a journal has them.
pub fn first(count: u64, identity: &Identity) -> Vec<Piece> {
    let length = identity.length();
    let piece = |number| Piece {
        number,
        offset: number * length as u64,
        within: 0,
        length,
    };
    (0..count).map(piece).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_blocks_and_parts_of_blocks() {
        let identity = Identity::new("n", 0, 8192).unwrap();
        let pieces = parse("3 1048576\n4 4096 512 1024\n", &identity).unwrap();
        insta::assert_debug_snapshot!(pieces);
    }

    #[test]
    fn says_which_line_is_wrong() {
        let identity = Identity::new("n", 0, 8192).unwrap();
        let wrong = [
            "1",
            "1 2 3",
            "x 512",
            "1 100",
            "1 512 0 0",
            "1 512 7680 1024",
            "1 512 0 100",
            "-1 0",
            "",
        ];
        for line in wrong {
            let error = parse(&format!("0 0\n{line}\n"), &identity)
                .unwrap_err()
                .to_string();
            assert!(error.contains("line 2 of the list"), "{error}");
        }
    }
}
