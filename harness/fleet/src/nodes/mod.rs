//! Members of a fleet: how they come to life, who they are, and how they crash.

pub(crate) mod boot;
pub(crate) mod bring_up;
pub(crate) mod cost;
pub(crate) mod crash;
pub(crate) mod emulator;
pub(crate) mod identity;
pub(crate) mod node;
pub(crate) mod readiness;
