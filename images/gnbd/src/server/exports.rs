//! The list of exports, newest first.

use std::path::PathBuf;

use rustix::io::Errno;

use crate::protocol::local::ExportDescription;
use crate::protocol::{DeviceName, ExportRecord, Uid};

#[derive(Debug)]
pub(super) struct Exports {
    list: Vec<ExportDescription>,
    limit: usize,
}

/// What a login needs to know of an export.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) path: PathBuf,
    pub(super) sectors: u64,
    pub(super) read_only: bool,
    pub(super) uncached: bool,
}

impl Exports {
    pub(super) fn new(limit: usize) -> Self {
        Self {
            list: Vec::new(),
            limit,
        }
    }

    pub(super) fn all(&self) -> &[ExportDescription] {
        &self.list
    }

    pub(super) fn find(&self, device: &DeviceName) -> Option<&ExportDescription> {
        self.list.iter().find(|export| export.name == *device)
    }

    /// Names are unique, invalidated ones included.
    pub(super) fn add(&mut self, export: ExportDescription) -> Result<(), Errno> {
        if self.find(&export.name).is_some() {
            return Err(Errno::BUSY);
        }
        if self.list.len() >= self.limit {
            return Err(Errno::NOSPC);
        }
        self.list.insert(0, export);
        Ok(())
    }

    pub(super) fn remove(&mut self, device: &DeviceName) {
        self.list.retain(|export| export.name != *device);
    }

    pub(super) fn invalidate(&mut self, device: &DeviceName) -> Result<(), Errno> {
        let mut exports = self.list.iter_mut();
        let export = exports
            .find(|export| export.name == *device)
            .ok_or(Errno::NODEV)?;
        export.invalid = true;
        Ok(())
    }

    /// What NAMES answers with.
    pub(super) fn records(&self) -> impl Iterator<Item = ExportRecord> + '_ {
        let valid = self.list.iter().filter(|export| !export.invalid);
        valid.map(|export| ExportRecord {
            timeout: export.timeout,
            read_only: export.read_only,
            name: export.name.clone(),
        })
    }

    pub(super) fn uid(&self, device: &DeviceName) -> Result<Uid, Errno> {
        let export = self.find(device).ok_or(Errno::NODEV)?;
        Ok(export.uid.clone())
    }

    /// The export that a client may log in to.
    pub(super) fn target(&self, device: &DeviceName) -> Result<Target, Errno> {
        let export = self.find(device).filter(|export| !export.invalid);
        let export = export.ok_or(Errno::NODEV)?;
        Ok(Target {
            path: export.path.clone(),
            sectors: export.sectors,
            read_only: export.read_only,
            uncached: export.uncached,
        })
    }
}
