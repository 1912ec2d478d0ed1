//! How wrong a clock is, as authors write it: set by a time, or running too fast by a share of it.

use std::fmt;
use std::time::Duration;

use crate::values::units::{UnitError, parse_duration};

/// A time by which a clock is set forward, or back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimeShift(i64);

impl TimeShift {
    /// It stays as it is.
    pub const NONE: Self = Self(0);
    /// A day.
    pub(crate) const MOST: Duration = Duration::from_secs(24 * 3600);

    /// So many milliseconds forward; less than 0: back.
    pub const fn milliseconds(self) -> i64 {
        self.0
    }

    /// How long it is, whichever way.
    pub(crate) const fn size(self) -> Duration {
        Duration::from_millis(self.0.unsigned_abs())
    }

    /// Whether the clock is set to an earlier time.
    pub(crate) const fn is_back(self) -> bool {
        self.0 < 0
    }

    /// Parses `60m`, `-500ms`: a time, and `-` before it for one back.
    pub(crate) fn parse(text: &str) -> Result<Self, UnitError> {
        let expected = || {
            UnitError {
            reason: "a shift is a whole number and one of ms, s, m, h, such as `60m`, or `-60m` for one back"
                .to_owned(),
        }
        };
        let (sign, time) = match text.strip_prefix('-') {
            Some(time) => (-1, time),
            None => (1, text),
        };
        let time = parse_duration(time).map_err(|_| expected())?;
        let time = i64::try_from(time.as_millis()).map_err(|_| expected())?;
        Ok(Self(sign * time))
    }
}

impl fmt::Display for TimeShift {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 % 1000 == 0 {
            f.pad(&format!("{}s", self.0 / 1000))
        } else {
            f.pad(&format!("{}ms", self.0))
        }
    }
}

/// By how many millionths a clock runs too fast, or too slow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Drift(i32);

impl Drift {
    /// It runs right.
    pub const NONE: Self = Self(0);
    /// A tenth: the kernel changes its ticks by no more.
    const MOST: u32 = 100_000;

    /// So many millionths too fast; less than 0: too slow.
    pub const fn millionths(self) -> i32 {
        self.0
    }

    /// Whether a kernel lets its clock run so.
    pub(crate) const fn is_possible(self) -> bool {
        self.0.unsigned_abs() <= Self::MOST
    }

    /// Parses `500ppm`, `-20 ppm`: a whole number and the unit.
    pub(crate) fn parse(text: &str) -> Result<Self, UnitError> {
        let number = text.strip_suffix("ppm").map(str::trim_end);
        let number = number.filter(|number| !number.starts_with('+'));
        number
            .and_then(|number| number.parse().ok())
            .map(Self)
            .ok_or_else(|| UnitError {
                reason: "a drift is a whole number and ppm, such as `500ppm` or `-500ppm`"
                    .to_owned(),
            })
    }
}

impl fmt::Display for Drift {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{}ppm", self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::{Drift, TimeShift};

    #[test]
    fn shifts_are_times_with_a_direction() {
        for (text, milliseconds) in [
            ("60m", 3_600_000),
            ("1h", 3_600_000),
            ("-60m", -3_600_000),
            ("-500ms", -500),
            ("0s", 0),
        ] {
            let shift = TimeShift::parse(text).unwrap();
            assert_eq!(shift.milliseconds(), milliseconds, "{text}");
            assert_eq!(TimeShift::parse(&shift.to_string()), Ok(shift));
        }
        for text in [
            "",
            "-",
            "--1s",
            "+1s",
            "1d",
            "- 1s",
            "18446744073709551615ms",
        ] {
            assert!(TimeShift::parse(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn drifts_are_millionths() {
        for (text, millionths) in [("500ppm", 500), ("-20 ppm", -20), ("0ppm", 0)] {
            let drift = Drift::parse(text).unwrap();
            assert_eq!(drift.millionths(), millionths, "{text}");
            assert_eq!(Drift::parse(&drift.to_string()), Ok(drift));
        }
        for text in ["", "ppm", "500", "+5ppm", "1.5ppm", "99999999999ppm"] {
            assert!(Drift::parse(text).is_err(), "{text:?}");
        }
    }
}
