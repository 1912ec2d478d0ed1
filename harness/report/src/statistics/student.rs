//! Quantiles of Student's and of the normal distribution.

use std::f64::consts::PI;

/// More than this is normal to the third digit in all that is asked here.
const NEARLY_NORMAL: usize = 1000;

/// What Student's t with so many degrees of freedom (at least 1) stays below with probability `p`, from 0.5 to 1.
pub(super) fn quantile(p: f64, freedom: usize) -> f64 {
    let freedom = freedom.clamp(1, NEARLY_NORMAL);
    // Bisection: the distribution has a closed form for whole degrees of freedom, its inverse has none.
    let (mut low, mut high) = (0.0, 1.0);
    while below(high, freedom) < p && high < 1e9 {
        high *= 2.0;
    }
    for _ in 0..60 {
        let middle = f64::midpoint(low, high);
        if below(middle, freedom) < p {
            low = middle;
        } else {
            high = middle;
        }
    }
    high
}

/// The same of the normal distribution.
pub(super) fn normal_quantile(p: f64) -> f64 {
    quantile(p, NEARLY_NORMAL)
}

/// The probability that t stays below `t`, which is not negative (Abramowitz and Stegun, Handbook of Mathematical Functions,
/// 26.7.3 and 26.7.4).
fn below(t: f64, freedom: usize) -> f64 {
    let angle = (t / (freedom as f64).sqrt()).atan();
    let (sine, cosine) = angle.sin_cos();
    let (mut power, mut sum) = if freedom.is_multiple_of(2) {
        (1.0, 1.0)
    } else {
        (cosine, cosine)
    };
    let mut k = if freedom.is_multiple_of(2) { 2 } else { 3 };
    while k < freedom {
        power *= cosine * cosine * (k - 1) as f64 / k as f64;
        sum += power;
        k += 2;
    }
    let within = match freedom {
        1 => 2.0 * angle / PI,
        odd if !odd.is_multiple_of(2) => 2.0 / PI * (angle + sine * sum),
        _ => sine * sum,
    };
    f64::midpoint(1.0, within)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_in_printed_tables() {
        for (p, freedom, t) in [
            (0.95, 1, 6.314),
            (0.95, 2, 2.920),
            (0.95, 3, 2.353),
            (0.95, 4, 2.132),
            (0.975, 6, 2.447),
            (0.975, 19, 2.093),
            (0.9975, 3, 7.453),
            (0.9975, 6, 4.317),
            (0.9975, 30, 3.030),
        ] {
            let found = quantile(p, freedom);
            assert!(
                (found - t).abs() < 6e-4,
                "{found} against {t} of {freedom} degrees"
            );
        }
        assert!((normal_quantile(0.95) - 1.645).abs() < 2e-3);
        assert!((normal_quantile(0.975) - 1.960).abs() < 3e-3);
    }
}
