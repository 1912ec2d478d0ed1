//! Which shard of how many.

use std::fmt;
use std::str::FromStr;

/// More are a mistake: no suite has so many scenarios.
pub(crate) const MOST: i64 = 9999;

/// Shard I of N.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Share {
    /// From 1.
    pub(crate) number: usize,
    /// Of how many.
    pub(crate) of: usize,
}

impl FromStr for Share {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = "it must be I/N with I from 1 to N, such as 2/3";
        let (number, of) = text.split_once('/').ok_or(wrong)?;
        let (Ok(number), Ok(of)) = (number.parse(), of.parse()) else {
            return Err(wrong);
        };
        if of > usize::try_from(MOST).unwrap_or(usize::MAX) {
            return Err("there can be at most 9999 shards");
        }
        if !(1..=of).contains(&number) {
            return Err(wrong);
        }
        Ok(Self { number, of })
    }
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.number, self.of)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_read() {
        let read = |text: &str| text.parse::<Share>();
        assert_eq!(read("1/1").unwrap().to_string(), "1/1");
        assert_eq!(read("3/4"), Ok(Share { number: 3, of: 4 }));
        for wrong in ["", "1", "0/2", "3/2", "1/0", "a/b", "-1/2", "1/10000"] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }
}
