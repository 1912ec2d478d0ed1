//! Measuring: figures of dd, costs of a measuring step, and the timeline of CPU and network use.

pub(crate) mod dd_report;
pub(crate) mod meter;
pub(crate) mod timeline;
