//! Which node sees which device, of what size, on what.

pub(crate) mod device_map;
pub(crate) mod provided;
pub(crate) mod resolved_stack;
