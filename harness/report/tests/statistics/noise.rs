//! Noise of five kinds, as factors of what a run would have measured on a machine of its own.

use std::f64::consts::TAU;

use fastrand::Rng;

/// How runs differ that should be alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Noise {
    /// Logarithms are normal.
    Normal,
    /// Student's t with three degrees of freedom: most runs close together, some far off.
    Heavy,
    /// Half of it is a walk that goes on from run to run, with a slope over the whole comparison.
    Drifting,
    /// Every fourth run, by chance, is in a slower mode.
    Bimodal,
    /// Normal at half the spread, but every tenth run, by chance, takes 1.6 times as long.
    Disturbed,
}

impl Noise {
    pub(crate) const ALL: [Self; 5] = [
        Self::Normal,
        Self::Heavy,
        Self::Drifting,
        Self::Bimodal,
        Self::Disturbed,
    ];

    /// So many factors in the order of time, with a standard deviation of about `spread` (disturbances beside).
    pub(crate) fn factors(self, spread: f64, count: usize, rng: &mut Rng) -> Vec<f64> {
        let logarithms: Vec<f64> = match self {
            Self::Normal => (0..count).map(|_| normal(rng)).collect(),
            Self::Heavy => (0..count).map(|_| student_3(rng) / 3f64.sqrt()).collect(),
            Self::Drifting => {
                let slope = 3.0 * (2.0 * rng.f64() - 1.0) / count as f64;
                let mut walk = 0.0;
                (0..count)
                    .map(|_| {
                        walk += 0.3 * normal(rng) + slope;
                        walk + 0.7 * normal(rng)
                    })
                    .collect()
            }
            Self::Bimodal => (0..count)
                .map(|_| 0.3 * normal(rng) - if rng.u8(..4) == 0 { 2.2 } else { 0.0 })
                .collect(),
            Self::Disturbed => (0..count)
                .map(|_| {
                    let disturbed = rng.u8(..10) == 0;
                    0.5 * normal(rng) - if disturbed { 1.6f64.ln() / spread } else { 0.0 }
                })
                .collect(),
        };
        logarithms
            .into_iter()
            .map(|one| (spread * one).exp())
            .collect()
    }
}

/// By Box and Muller.
pub(crate) fn normal(rng: &mut Rng) -> f64 {
    (-2.0 * (1.0 - rng.f64()).ln()).sqrt() * (TAU * rng.f64()).cos()
}

fn student_3(rng: &mut Rng) -> f64 {
    let squares: f64 = (0..3).map(|_| normal(rng).powi(2)).sum();
    normal(rng) / (squares / 3.0).sqrt()
}
