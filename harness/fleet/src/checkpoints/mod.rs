//! A whole fleet saved at one instant, and a start from there.

pub(crate) mod circumstances;
pub(crate) mod fingerprint;
pub(crate) mod saved;
pub(crate) mod start_mode;
