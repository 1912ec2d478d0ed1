//! Ages, sizes and keys as people read them: short, and never finer than it matters.

use std::time::{Duration, SystemTime};

/// `12 min`, in the largest unit of which there is at least one.
pub(crate) fn age(seconds: f64) -> String {
    const UNITS: [(&str, f64); 3] = [("d", 86_400.0), ("h", 3_600.0), ("min", 60.0)];
    let seconds = seconds.max(0.0);
    let unit = UNITS.iter().find(|(_, length)| seconds >= *length);
    let (unit, length) = unit.unwrap_or(&("s", 1.0));
    format!("{:.0} {unit}", (seconds / length).floor())
}

/// `0.39 s`, `9.5 s`, `2 min 05 s`: hundredths only where they matter.
pub(crate) fn took(seconds: f64) -> String {
    if seconds >= 99.95 {
        return sanlab_report::number::seconds(seconds);
    }
    let places = if seconds < 0.995 { 2 } else { 1 };
    format!("{seconds:.places$} s")
}

/// How long ago that was; a moment in the future, of a clock that was set back, is now.
pub(crate) fn age_of(then: SystemTime, now: SystemTime) -> String {
    let age_of = now.duration_since(then).unwrap_or(Duration::ZERO);
    age(age_of.as_secs_f64())
}

/// `1 pair`, `4 pairs`.
pub(crate) fn pairs(count: usize) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} pair{plural}")
}

/// `1.5 GiB`, `480 MiB`: three figures and the unit.
pub(crate) fn size(bytes: u64) -> String {
    const UNITS: [(&str, u64); 4] = [
        ("TiB", 1 << 40),
        ("GiB", 1 << 30),
        ("MiB", 1 << 20),
        ("KiB", 1 << 10),
    ];
    let Some((unit, factor)) = UNITS.iter().find(|(_, factor)| bytes >= *factor) else {
        return format!("{bytes} B");
    };
    let number = bytes as f64 / *factor as f64;
    let places = usize::from(number < 9.95);
    format!("{number:.places$} {unit}")
}

/// The beginning of a key in the store: enough to find it, and to tell it from others.
pub(crate) fn short(key: &str) -> &str {
    key.get(..12).unwrap_or(key)
}

/// `forked from 3f2a91c04d5e of 12 min ago`, with `cloned` likewise.
pub(crate) fn taken_from(how: &str, key: &str, age_seconds: f64) -> String {
    format!("{how} from {} of {} ago", short(key), age(age_seconds))
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use super::{age, age_of, short, size, took};

    #[test]
    fn an_age_has_one_unit() {
        let ages = [-1.0, 59.9, 60.0, 3_599.0, 3_600.0, 86_399.0, 1e6].map(age);
        assert_eq!(
            ages,
            ["0 s", "59 s", "1 min", "59 min", "1 h", "23 h", "11 d"]
        );
        let now = SystemTime::now();
        assert_eq!(age_of(now - Duration::from_secs(90), now), "1 min");
        assert_eq!(age_of(now + Duration::from_secs(90), now), "0 s");
    }

    #[test]
    fn a_short_time_has_hundredths_and_a_long_one_minutes() {
        assert_eq!(
            [0.0, 0.386, 0.996, 9.5, 99.9, 99.96, 1206.8].map(took),
            [
                "0.00 s",
                "0.39 s",
                "1.0 s",
                "9.5 s",
                "99.9 s",
                "1 min 40 s",
                "20 min 07 s"
            ]
        );
    }

    #[test]
    fn a_size_has_three_figures_at_most() {
        let sizes = [0, 1023, 1024, 15 << 19, 999 << 20, 3 << 30, 16 << 40].map(size);
        let expected = [
            "0 B", "1023 B", "1.0 KiB", "7.5 MiB", "999 MiB", "3.0 GiB", "16 TiB",
        ];
        assert_eq!(sizes, expected);
    }

    #[test]
    fn a_key_is_cut() {
        assert_eq!(short(&"ab".repeat(32)), "abababababab");
        assert_eq!(short("abc"), "abc");
    }
}
