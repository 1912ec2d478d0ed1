//! Fleets that were saved because their run had failed: found in a run's folder, packed into one file, and unpacked where they are
//! to be brought up again.

pub(crate) mod archive;
pub(crate) mod compressed;
pub(crate) mod error;
pub(crate) mod folder;
pub(crate) mod manifest;
pub(crate) mod ready;
pub(crate) mod sources;
pub(crate) mod unpack;

#[cfg(test)]
mod hostile_tests;
#[cfg(test)]
mod tests;
