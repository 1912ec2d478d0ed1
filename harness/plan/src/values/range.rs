//! Ranges of times, sizes, shares and numbers: two values of one kind.

use std::fmt;
use std::time::Duration;

use super::units::{ByteSize, Share, UnitError, parse_duration};

/// What sizes in a range are multiples of, where its ends are: a block.
const BLOCK: u64 = 4096;

/// All values from one to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Range {
    unit: Unit,
    low: u64,
    high: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Unit {
    Milliseconds,
    Bytes,
    /// Millionths.
    Share,
    Number,
}

impl Range {
    /// From one time to another; `None` if the second is not at least a millisecond later.
    pub fn of_times(low: Duration, high: Duration) -> Option<Self> {
        let [low, high] = [low, high].map(|time| u64::try_from(time.as_millis()).ok());
        let (unit, low, high) = (Unit::Milliseconds, low?, high?);
        (low < high).then_some(Self { unit, low, high })
    }

    /// Parses `0s..3s`, `4KiB..1MiB`, `0%..5%`, `100..500`.
    pub fn parse(text: &str) -> Result<Self, UnitError> {
        let wrong = |reason: &str| UnitError {
            reason: reason.to_owned(),
        };
        let expected = "a range is two times, sizes, shares or whole numbers, such as `0s..3s`, `4KiB..1MiB`, `0%..5%` or \
                        `100..500`";
        let (low, high) = text.split_once("..").ok_or_else(|| wrong(expected))?;
        let ends = [low.trim(), high.trim()].map(quantity);
        let [Some((unit, low)), Some((other, high))] = ends else {
            return Err(wrong(expected));
        };
        if unit != other {
            return Err(wrong(expected));
        }
        if low >= high {
            return Err(wrong("the lower end of a range stands first"));
        }
        Ok(Self { unit, low, high })
    }

    /// The value that is at this place between the ends, from 0 to 1, as it is written in a scenario. Sizes are whole blocks of 4 KiB
    /// where the ends are.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    pub fn at(self, place: f64) -> String {
        let span = self.high - self.low;
        // Not negative, and at most the span.
        let mut value = self.low + (span as f64 * place.clamp(0.0, 1.0)).round() as u64;
        let in_blocks = self.low.is_multiple_of(BLOCK) && self.high.is_multiple_of(BLOCK);
        if self.unit == Unit::Bytes && in_blocks {
            value -= value % BLOCK;
        }
        self.unit.show(value)
    }

    /// How many different values there are between the ends, and with them.
    pub fn values(self) -> u64 {
        (self.high - self.low).saturating_add(1)
    }
}

impl Unit {
    fn show(self, value: u64) -> String {
        match self {
            Self::Milliseconds if value.is_multiple_of(1000) => format!("{}s", value / 1000),
            Self::Milliseconds => format!("{value}ms"),
            Self::Bytes => ByteSize::from_bytes(value).to_string(),
            Self::Share => format!("{}%", value as f64 / 1e4),
            Self::Number => value.to_string(),
        }
    }
}

fn quantity(text: &str) -> Option<(Unit, u64)> {
    if let Ok(time) = parse_duration(text) {
        return Some((Unit::Milliseconds, u64::try_from(time.as_millis()).ok()?));
    }
    if let Ok(size) = ByteSize::parse(text) {
        return Some((Unit::Bytes, size.bytes()));
    }
    if let Ok(share) = Share::parse(text) {
        return Some((Unit::Share, share.millionths().into()));
    }
    text.parse().ok().map(|number| (Unit::Number, number))
}

/// As it is parsed.
impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (low, high) = (self.unit.show(self.low), self.unit.show(self.high));
        write!(f, "{low}..{high}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_is_read_and_written_and_has_values() {
        let at = |text: &str, place: f64| Range::parse(text).unwrap().at(place);
        for text in ["0s..3s", "500ms..1500ms", "4KiB..1MiB", "0%..0.5%", "1..9"] {
            assert_eq!(Range::parse(text).unwrap().to_string(), text);
        }
        assert_eq!(at("0s..3s", 0.0), "0s");
        assert_eq!(at("0s..3s", 0.4573), "1372ms");
        assert_eq!(at("0s..3s", 1.0), "3s");
        assert_eq!(at("4KiB..1MiB", 0.5), "512KiB");
        assert_eq!(at("1B..1000B", 0.5), "501B");
        assert_eq!(at("0%..5%", 0.25), "1.25%");
        assert_eq!(at("100..500", 0.5), "300");
        assert_eq!(Range::parse("1s..3s").unwrap().values(), 2001);
        let seconds =
            |low, high| Range::of_times(Duration::from_secs(low), Duration::from_secs(high));
        assert_eq!(seconds(2, 2), None);
        assert_eq!(seconds(0, 3), Range::parse("0s..3s").ok());
    }

    #[test]
    fn what_is_no_range_is_refused() {
        for wrong in [
            "3s", "3s..", "..3s", "0s..3", "1KiB..3s", "3s..1s", "3s..3s", "a..b",
        ] {
            assert!(Range::parse(wrong).is_err(), "{wrong}");
        }
    }
}
