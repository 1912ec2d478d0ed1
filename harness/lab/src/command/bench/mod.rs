//! `sanlab bench`: figures of the lab and of what it is made of, as tables. Nothing else should run on the host meanwhile.

pub(crate) mod gnbd;
pub(crate) mod noise;
pub(crate) mod start;

/// The middle one; `None` of none.
fn median(figures: &[f64]) -> Option<f64> {
    let mut sorted = figures.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied()
}
