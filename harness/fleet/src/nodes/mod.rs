//! Members of a fleet: what runs them, who they are, and what they cost.

pub(crate) mod boot;
pub(crate) mod cost;
pub(crate) mod emulator;
pub(crate) mod identity;
pub(crate) mod node;
pub(crate) mod readiness;
