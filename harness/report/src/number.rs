//! Numbers as people read them: few digits, and a sign where there is a direction.

/// Three to four significant digits: `0.0213`, `3.42`, `97.4`, `1234`, `4.20 M`, `1.35 G`.
pub fn figure(value: f64) -> String {
    let size = value.abs();
    if !value.is_finite() {
        return "-".to_owned();
    }
    match size {
        _ if size >= 1e9 => format!("{} G", digits(value / 1e9)),
        _ if size >= 1e6 => format!("{} M", digits(value / 1e6)),
        _ => digits(value),
    }
}

/// How much a ratio is away from one: `+3.4 %`, `-12 %`, `0.0 %`. A ratio beyond ten is told as it is: `x 25`.
pub fn change(ratio: f64) -> String {
    if !ratio.is_finite() {
        return "-".to_owned();
    }
    if ratio >= 10.0 {
        return format!("x {}", digits(ratio));
    }
    let percent = (ratio - 1.0) * 100.0;
    let text = if percent.abs() < 9.95 {
        format!("{percent:+.1} %")
    } else {
        format!("{percent:+.0} %")
    };
    // What rounds to nothing has no direction.
    if text == "+0.0 %" || text == "-0.0 %" {
        "0.0 %".to_owned()
    } else {
        text
    }
}

/// A share: `5 %`, `2.5 %`, `0.4 %`.
pub fn share(share: f64) -> String {
    let percent = share * 100.0;
    let whole = percent.round();
    if (percent - whole).abs() < 0.05 {
        format!("{whole:.0} %")
    } else {
        format!("{percent:.1} %")
    }
}

/// A probability: `0.012`, `< 0.001`.
pub fn probability(p: f64) -> String {
    if p < 0.001 {
        "< 0.001".to_owned()
    } else {
        format!("{p:.3}")
    }
}

/// A stretch of time in seconds: `0.42 s`, `7.3 s`, `2 min 05 s`, `1 h 02 min`.
pub fn seconds(seconds: f64) -> String {
    let seconds = seconds.max(0.0);
    if seconds < 9.95 {
        let digits = if seconds < 0.995 { 2 } else { 1 };
        return format!("{seconds:.digits$} s");
    }
    if seconds < 99.5 {
        return format!("{seconds:.0} s");
    }
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "positive, and no run takes years"
    )]
    let whole = seconds.round() as u64;
    if whole < 3_600 {
        format!("{} min {:02} s", whole / 60, whole % 60)
    } else {
        format!("{} h {:02} min", whole / 3_600, whole % 3_600 / 60)
    }
}

fn digits(value: f64) -> String {
    let size = value.abs();
    // Half a unit below the next power: what would round up to it is written like it.
    if size == 0.0 {
        "0".to_owned()
    } else if size >= 99.95 {
        format!("{value:.0}")
    } else if size >= 9.995 {
        format!("{value:.1}")
    } else if size >= 0.9995 {
        format!("{value:.2}")
    } else if size >= 0.0995 {
        format!("{value:.3}")
    } else {
        format!("{value:.3e}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_keep_three_digits_or_the_whole_number() {
        let written: Vec<_> = [
            0.0,
            0.01234,
            0.4567,
            0.99951,
            3.4219,
            97.44,
            99.96,
            1234.4,
            999_999.4,
            4_204_000.0,
            1.354e9,
            -17.25,
            f64::NAN,
        ]
        .into_iter()
        .map(figure)
        .collect();
        assert_eq!(
            written,
            [
                "0", "1.234e-2", "0.457", "1.00", "3.42", "97.4", "100", "1234", "999999",
                "4.20 M", "1.35 G", "-17.2", "-"
            ]
        );
    }

    #[test]
    fn changes_have_a_direction_unless_they_round_to_nothing() {
        let written: Vec<_> = [1.034, 0.88, 0.9999, 1.0001, 1.0996, 25.0, f64::INFINITY]
            .into_iter()
            .map(change)
            .collect();
        assert_eq!(
            written,
            ["+3.4 %", "-12 %", "0.0 %", "0.0 %", "+10 %", "x 25.0", "-"]
        );
    }

    #[test]
    fn shares_and_probabilities() {
        assert_eq!(share(0.05), "5 %");
        assert_eq!(share(0.025), "2.5 %");
        assert_eq!(
            share(0.07),
            "7 %",
            "0.07 is no whole number of percent in binary"
        );
        assert_eq!(probability(0.0004), "< 0.001");
        assert_eq!(probability(0.0125), "0.013");
    }

    #[test]
    fn stretches_of_time() {
        let written: Vec<_> = [0.421, 0.996, 7.34, 42.4, 99.6, 125.0, 3_725.0]
            .into_iter()
            .map(seconds)
            .collect();
        assert_eq!(
            written,
            [
                "0.42 s",
                "1.0 s",
                "7.3 s",
                "42 s",
                "1 min 40 s",
                "2 min 05 s",
                "1 h 02 min"
            ]
        );
    }
}
