//! A suite as a Job of Kubernetes: each index of it runs one shard. Nothing here talks to a cluster: `sanlab kubernetes` prints what kubectl takes.

mod error;
pub(crate) mod files;
pub(crate) mod job;
pub(crate) mod names;
pub(crate) mod size;
pub(crate) mod yaml;

pub use error::KubernetesError;
