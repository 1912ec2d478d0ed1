//! How fast it was, and what that cost the host.

pub(crate) mod dd_report;
pub(crate) mod meter;
pub(crate) mod timeline;
