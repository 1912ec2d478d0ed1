//! What a layer is described in: tasks, probes, and the trait that every layer implements.

pub(crate) mod layer;
