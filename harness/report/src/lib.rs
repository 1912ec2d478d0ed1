//! Records and history in, verdicts and pages out.
//!
//! Everything here reads [`RunRecord`](sanlab_record::RunRecord)s; it knows neither guests nor fleets. Figures are taken from
//! records as [`series`], compared by [`comparison`] with the methods of [`statistics`], followed over time by [`trend`],
//! kept in a [`history`], and shown by the renderers: [`terminal`], [`markdown`], [`html`], [`junit`], [`json`], [`bencher`],
//! [`github_action_benchmark`].

pub mod comparison;
pub mod measure;
pub mod series;
pub mod verdict;
