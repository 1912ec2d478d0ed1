//! Moments as people read them, always in universal time: reports travel.

/// `2026-11-22 12:09 UTC` for seconds since 1970.
pub fn utc(seconds: f64) -> String {
    let (date, second) = civil(seconds);
    format!("{date} {:02}:{:02} UTC", second / 3_600, second / 60 % 60)
}

/// `2026-11-22T12:09:07Z`, as machines read it.
pub fn iso(seconds: f64) -> String {
    let (date, second) = civil(seconds);
    format!(
        "{date}T{:02}:{:02}:{:02}Z",
        second / 3_600,
        second / 60 % 60,
        second % 60
    )
}

/// The date, and the second of that day.
fn civil(seconds: f64) -> (String, u64) {
    // A record is not to be trusted: what lies before 1970 or beyond the year 9999 is drawn to the nearest end.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "clamped to what fits; not a number becomes 0"
    )]
    let whole = seconds.clamp(0.0, 253_402_300_799.0) as u64;
    let (mut days, second) = (whole / 86_400, whole % 86_400);
    let mut year = 1970;
    loop {
        let length = if is_leap(year) { 366 } else { 365 };
        if days < length {
            break;
        }
        days -= length;
        year += 1;
    }
    let february = if is_leap(year) { 29 } else { 28 };
    let mut month = 1;
    for length in [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30] {
        if days < length {
            break;
        }
        days -= length;
        month += 1;
    }
    (format!("{year:04}-{month:02}-{:02}", days + 1), second)
}

const fn is_leap(year: u64) -> bool {
    year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_moments() {
        assert_eq!(iso(0.0), "1970-01-01T00:00:00Z");
        assert_eq!(iso(951_782_399.9), "2000-02-28T23:59:59Z");
        assert_eq!(iso(951_782_400.0), "2000-02-29T00:00:00Z");
        assert_eq!(iso(4_107_542_400.0), "2100-03-01T00:00:00Z");
        assert_eq!(utc(1_180_656_000.5), "2007-06-01 00:00 UTC");
    }

    #[test]
    fn what_is_no_moment_does_not_fail() {
        assert_eq!(iso(f64::NAN), "1970-01-01T00:00:00Z");
        assert_eq!(iso(-1.0), "1970-01-01T00:00:00Z");
        assert_eq!(iso(f64::INFINITY), "9999-12-31T23:59:59Z");
    }
}
