//! From a machine's description to QEMU's command line, and what QEMU can do here.

pub(crate) mod accelerator;
pub(crate) mod argv;
pub(crate) mod clock;
pub(crate) mod counting;
pub(crate) mod fingerprint;
pub(crate) mod kvm_device;
pub(crate) mod kvm_verdict;
pub(crate) mod probe_guest;
pub(crate) mod program;
pub(crate) mod spec;
