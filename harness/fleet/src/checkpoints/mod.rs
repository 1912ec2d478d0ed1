//! A whole fleet saved at one instant, and what it goes on from.

pub(crate) mod fingerprint;
pub(crate) mod saved;
pub(crate) mod start_mode;
