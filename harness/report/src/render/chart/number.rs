//! The labels of scales.

use super::svg::whole;
use crate::render::number::{figure, signed};

/// A moment of a run, in seconds since it began: `47.3 s`, as fine as one reads it off an axis.
pub fn moment(seconds: f64) -> String {
    if seconds.is_finite() && seconds.abs() < 1e6 {
        format!("{seconds:.1} s")
    } else {
        format!("{} s", figure(seconds))
    }
}

/// A tick's label: as many places as tell it from its neighbour.
pub(super) fn tick(value: f64, step: f64) -> String {
    let exponent = step.abs().log10().floor();
    let unit = 10_f64.powf(exponent);
    let mantissa = step.abs() / unit;
    // A step of 2.5 needs the place after its first.
    let broken = (mantissa - mantissa.round()).abs() > 1e-6;
    let places = |exponent: f64| whole((f64::from(u8::from(broken)) - exponent).clamp(0.0, 6.0));
    let letters = [(1e12, "T"), (1e9, "G"), (1e6, "M"), (1e4, "k")];
    let letter = letters
        .into_iter()
        .find(|(least, _)| value.abs() >= least * 0.9995);
    let text = match letter {
        None => format!("{value:.*}", places(exponent)),
        Some((least, letter)) => {
            // Thousands begin to be written so at ten thousand: 5000 is as short as 5 k, and plainer.
            let thousand = if letter == "k" { 1e3 } else { least };
            let places = places(exponent - thousand.log10());
            format!("{:.places$} {letter}", value / thousand)
        }
    };
    signed(&text)
}

#[cfg(test)]
mod tests {
    use super::{moment, tick};

    #[test]
    fn moments_are_as_fine_as_they_can_be_read() {
        assert_eq!(
            [0.0, 47.33, 142.0].map(moment),
            ["0.0 s", "47.3 s", "142.0 s"]
        );
        assert!(moment(1e300).len() < 320 && moment(f64::NAN) == "- s");
    }

    #[test]
    fn ticks_differ_from_their_neighbours() {
        assert_eq!(tick(0.25, 0.05), "0.25");
        assert_eq!(tick(2.5, 2.5), "2.5");
        assert_eq!(tick(20.0, 10.0), "20");
        assert_eq!(tick(-0.0, 0.5), "0.0");
        assert_eq!(tick(-20.0, 10.0), "−20");
        assert_eq!(tick(5_000.0, 5_000.0), "5000");
        assert_eq!(tick(10_000.0, 5_000.0), "10 k");
        assert_eq!(tick(12_500.0, 2_500.0), "12.5 k");
        assert_eq!(tick(2.5e6, 5e5), "2.5 M");
        assert_eq!(tick(2.25e6, 2.5e5), "2.25 M");
    }
}
