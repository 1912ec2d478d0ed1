//! Faults: what steps break, how it ends, and what follows from it.

pub(crate) mod down;
pub(crate) mod excusing;
pub(crate) mod fencing;
pub(crate) mod network;
pub(crate) mod nodes;
pub(crate) mod open;
