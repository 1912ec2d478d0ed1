//! What a layer is described in: work that is done in guests, probes that show that it was, and the trait that every layer
//! implements.

pub(crate) mod layer;
pub(crate) mod probe;
pub(crate) mod work;
