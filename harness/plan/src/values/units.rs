//! Sizes and times as authors write them: parse and print, the unit in the type.

use std::fmt;
use std::time::Duration;

/// A number of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ByteSize(u64);

const SIZE_UNITS: [(&str, u64); 5] = [
    ("TiB", 1 << 40),
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("B", 1),
];

/// Why a quantity was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct UnitError {
    /// What would be accepted.
    pub reason: String,
}

impl ByteSize {
    /// That many bytes.
    pub const fn from_bytes(bytes: u64) -> Self {
        Self(bytes)
    }

    /// That many MiB.
    pub const fn from_mib(mib: u64) -> Self {
        Self(mib << 20)
    }

    /// The number of bytes.
    pub const fn bytes(self) -> u64 {
        self.0
    }

    /// Whole MiB, rounded up.
    pub const fn mib(self) -> u64 {
        self.0.div_ceil(1 << 20)
    }

    /// Parses `1GiB`, `16 KiB`, `512B`: a whole number and a binary unit.
    pub fn parse(text: &str) -> Result<Self, UnitError> {
        let expected = || UnitError {
            reason: "a size is a whole number and one of B, KiB, MiB, GiB, TiB, such as `1GiB`"
                .to_owned(),
        };
        let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let (number, unit) = text.split_at(digits);
        let number: u64 = number.parse().map_err(|_| expected())?;
        let unit = unit.trim_start();
        let (_, factor) = SIZE_UNITS
            .iter()
            .find(|(name, _)| *name == unit)
            .ok_or_else(expected)?;
        number
            .checked_mul(*factor)
            .map(Self)
            .ok_or_else(|| UnitError {
                reason: "a size is at most 16777215 TiB".to_owned(),
            })
    }
}

impl fmt::Display for ByteSize {
    /// The largest unit that divides it, so that parsing gives it back.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == 0 {
            return f.pad("0B");
        }
        for (unit, factor) in SIZE_UNITS {
            if self.0.is_multiple_of(factor) {
                return f.pad(&format!("{}{unit}", self.0 / factor));
            }
        }
        unreachable!("every number is a multiple of one byte")
    }
}

/// A part of something, in whole hundredths; may be negative, or more than the whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Percent(pub(crate) i32);

impl Percent {
    /// Parses `90%`, `-10 %`: a whole number and the sign.
    pub(crate) fn parse(text: &str) -> Result<Self, UnitError> {
        let number = text.strip_suffix('%').map(str::trim_end);
        let number = number.filter(|number| !number.starts_with('+'));
        number
            .and_then(|number| number.parse().ok())
            .map(Self)
            .ok_or_else(|| UnitError {
                reason: "a percentage is a whole number and %, such as `90%` or `-10%`".to_owned(),
            })
    }
}

impl fmt::Display for Percent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{}%", self.0))
    }
}

/// A share from nothing to all, in millionths.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Share(u32);

impl Share {
    /// 0%.
    pub const NONE: Self = Self(0);
    /// 100%.
    pub const ALL: Self = Self(1_000_000);

    /// From 0 to 1.
    pub fn fraction(self) -> f64 {
        f64::from(self.0) / 1e6
    }

    /// From 0 to 1,000,000.
    pub(crate) const fn millionths(self) -> u32 {
        self.0
    }

    /// Parses `1%`, `0.05 %`: a number from 0 to 100 with at most four digits behind the point, and the sign.
    pub(crate) fn parse(text: &str) -> Result<Self, UnitError> {
        let expected = || UnitError {
            reason: "a share is a number from 0 to 100 and %, such as `1%` or `0.05%`".to_owned(),
        };
        let number = text
            .strip_suffix('%')
            .map(str::trim_end)
            .ok_or_else(expected)?;
        let (whole, part) = number.split_once('.').unwrap_or((number, "0"));
        let digits = |text: &str| !text.is_empty() && text.chars().all(|c| c.is_ascii_digit());
        if !digits(whole) || !digits(part) || part.len() > 4 {
            return Err(expected());
        }
        let whole: u32 = whole.parse().map_err(|_| expected())?;
        let part: u32 = format!("{part:0<4}").parse().map_err(|_| expected())?;
        let millionths = whole
            .checked_mul(10_000)
            .and_then(|whole| whole.checked_add(part));
        millionths
            .map(Self)
            .filter(|share| *share <= Self::ALL)
            .ok_or_else(expected)
    }
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{}%", f64::from(self.0) / 1e4))
    }
}

/// Parses `500ms`, `30s`, `2m`, `8h`: the times of scenarios and of the command line.
pub fn parse_duration(text: &str) -> Result<Duration, UnitError> {
    let expected = || UnitError {
        reason: "a time is a whole number and one of ms, s, m, h, such as `30s`".to_owned(),
    };
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().map_err(|_| expected())?;
    let seconds = match unit.trim_start() {
        "ms" => return Ok(Duration::from_millis(number)),
        "s" => Some(number),
        "m" => number.checked_mul(60),
        "h" => number.checked_mul(3600),
        _ => None,
    };
    seconds.map(Duration::from_secs).ok_or_else(expected)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::{ByteSize, Percent, Share, parse_duration};

    proptest! {
        #[test]
        fn sizes_survive_printing(bytes in any::<u64>(), shift in 0_u32..50) {
            let size = ByteSize::from_bytes(bytes >> shift << shift);
            prop_assert_eq!(ByteSize::parse(&size.to_string()), Ok(size));
        }
    }

    #[test]
    fn sizes_need_a_number_and_a_binary_unit() {
        assert_eq!(ByteSize::parse("16 KiB"), Ok(ByteSize::from_bytes(16384)));
        assert_eq!(
            ByteSize::parse("16777215TiB").map(ByteSize::mib),
            Ok(16_777_215 << 20)
        );
        for text in [
            "",
            "GiB",
            "1",
            "1MB",
            "1mib",
            "-1MiB",
            "1.5GiB",
            "1MiB ",
            "16777216TiB",
            "99999999999999999999B",
        ] {
            assert!(ByteSize::parse(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn times_need_a_number_and_a_unit() {
        assert_eq!(parse_duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(parse_duration("2 m"), Ok(Duration::from_secs(120)));
        assert_eq!(parse_duration("8h"), Ok(Duration::from_secs(28_800)));
        for text in [
            "",
            "s",
            "30",
            "30sec",
            "-1s",
            "1.5s",
            "18446744073709551615m",
            "18446744073709551615h",
            // No time of a scenario is finer than a millisecond.
            "500us",
            "1ms500us",
        ] {
            assert!(parse_duration(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn percentages_need_a_whole_number_and_the_sign() {
        for (text, number) in [("90%", 90), ("-10%", -10), ("250 %", 250), ("0%", 0)] {
            assert_eq!(Percent::parse(text), Ok(Percent(number)), "{text:?}");
        }
        assert_eq!(Percent(-10).to_string(), "-10%");
        for text in ["", "%", "90", "1.5%", "+5%", " 5%", "5%%", "99999999999%"] {
            assert!(Percent::parse(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn shares_are_numbers_from_0_to_100_and_the_sign() {
        for (text, fraction) in [
            ("1%", 0.01),
            ("0.05 %", 0.0005),
            ("100%", 1.0),
            ("0%", 0.0),
            ("12.5%", 0.125),
        ] {
            let share = Share::parse(text).unwrap();
            assert!((share.fraction() - fraction).abs() < 1e-12, "{text}");
            assert_eq!(Share::parse(&share.to_string()), Ok(share));
        }
        for text in [
            "",
            "%",
            "1",
            "101%",
            "100.0001%",
            "-1%",
            "1e1%",
            ".5%",
            "0.00001%",
            "1.%",
        ] {
            assert!(Share::parse(text).is_err(), "{text:?}");
        }
    }
}
