//! Moments as people read them, always in universal time: reports travel.

use std::time::{Duration, UNIX_EPOCH};

/// `2026-11-22 12:09 UTC` for seconds since 1970.
pub fn utc(seconds: f64) -> String {
    let iso = iso(seconds);
    format!("{} {} UTC", &iso[..10], &iso[11..16])
}

/// `2026-11-22T12:09:07Z`, as machines read it.
pub fn iso(seconds: f64) -> String {
    // A record is not to be trusted: what lies before 1970 or beyond the year 9999 is drawn to the nearest end; what is no number
    // is 1970.
    let seconds = Duration::try_from_secs_f64(seconds.clamp(0.0, 253_402_300_799.0));
    let seconds = seconds.unwrap_or_default();
    humantime::format_rfc3339_seconds(UNIX_EPOCH + seconds).to_string()
}

/// `20261122T120907Z`, as names of files have it.
pub fn compact(seconds: f64) -> String {
    iso(seconds).replace(['-', ':'], "")
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
        assert_eq!(compact(951_782_400.0), "20000229T000000Z");
        assert_eq!(utc(1_180_656_000.5), "2007-06-01 00:00 UTC");
    }

    #[test]
    fn what_is_no_moment_does_not_fail() {
        assert_eq!(iso(f64::NAN), "1970-01-01T00:00:00Z");
        assert_eq!(iso(-1.0), "1970-01-01T00:00:00Z");
        assert_eq!(iso(f64::INFINITY), "9999-12-31T23:59:59Z");
    }
}
