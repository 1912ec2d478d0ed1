//! Times and keys as people read them, in events and in reports alike.

/// A stretch of time in seconds: `0.42 s`, `7.3 s`, `41.2 s`, `2 min 05 s`, `1 h 02 min`, `3 d 04 h`.
pub fn seconds(seconds: f64) -> String {
    const UNITS: [(&str, u64, &str, u64); 3] = [
        ("d", 86_400, "h", 3_600),
        ("h", 3_600, "min", 60),
        ("min", 60, "s", 1),
    ];
    let seconds = seconds.max(0.0);
    if seconds < 99.95 {
        let digits = if seconds < 0.995 { 2 } else { 1 };
        return format!("{seconds:.digits$} s");
    }
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "positive, and no run takes years"
    )]
    let whole = seconds.round() as u64;
    let fits = UNITS.into_iter().find(|(_, length, ..)| whole >= *length);
    let (unit, length, rest, part) = fits.unwrap_or(UNITS[2]);
    format!(
        "{} {unit} {:02} {rest}",
        whole / length,
        whole % length / part
    )
}

/// An amount of data: `512 bytes`, `12 KiB`, `3.2 MiB`, `480 MiB`.
pub fn bytes(bytes: u64) -> String {
    const KIB: u64 = 1 << 10;
    const MIB: u64 = 1 << 20;
    match bytes {
        0..KIB => format!("{bytes} bytes"),
        KIB..MIB => format!("{} KiB", bytes / KIB),
        _ if bytes < 100 * MIB => format!("{:.1} MiB", bytes as f64 / MIB as f64),
        _ => format!("{} MiB", bytes / MIB),
    }
}

/// As far as it takes to tell a key or a digest from others.
pub fn short(digest: &str) -> &str {
    digest.get(..12).unwrap_or(digest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_of_data() {
        let written = [0, 1023, 8192, 1 << 20, 3_355_443, 480 << 20];
        assert_eq!(
            written.map(bytes),
            [
                "0 bytes",
                "1023 bytes",
                "8 KiB",
                "1.0 MiB",
                "3.2 MiB",
                "480 MiB"
            ]
        );
    }

    #[test]
    fn stretches_of_time() {
        let written = [
            -1.0, 0.421, 0.996, 7.34, 42.4, 99.96, 125.0, 3_725.0, 273_600.0,
        ];
        assert_eq!(
            written.map(seconds),
            [
                "0.00 s",
                "0.42 s",
                "1.0 s",
                "7.3 s",
                "42.4 s",
                "1 min 40 s",
                "2 min 05 s",
                "1 h 02 min",
                "3 d 04 h"
            ]
        );
    }
}
