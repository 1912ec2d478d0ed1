//! Whether saved files are still what they were.

use std::io;
use std::path::Path;

use sanlab_vm::{SavedState, VmError};
use sha2::{Digest as _, Sha256};

use crate::error::FleetError;

fn damaged(path: &Path, reason: impl Into<String>) -> FleetError {
    FleetError::Damaged {
        path: path.to_owned(),
        reason: reason.into(),
    }
}

/// Sees that a file has its length. Its content is nobody's to change: the store's files belong to it.
pub(crate) fn verify_length(path: &Path, bytes: u64) -> Result<(), FleetError> {
    match fs_err::metadata(path) {
        Ok(found) if found.len() == bytes => Ok(()),
        Ok(found) => Err(damaged(
            path,
            format!("it has {} bytes instead of {bytes}", found.len()),
        )),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Err(damaged(path, "it is missing"))
        }
        Err(error) => Err(error.into()),
    }
}

/// Sees that a state is the one that was saved, to the last bit.
pub(crate) fn verify_state(path: &Path, saved: &SavedState) -> Result<(), FleetError> {
    verify_length(path, saved.bytes)?;
    let found = hex::encode(Sha256::digest(fs_err::read(path)?));
    if found == saved.sha256 {
        Ok(())
    } else {
        Err(damaged(
            path,
            format!("its SHA-256 is {found} and not {}", saved.sha256),
        ))
    }
}

/// The error of a machine that did not come up from what was saved: what QEMU refuses is as good as damaged.
pub(crate) fn load_error(node: &str, source: VmError) -> FleetError {
    match source {
        VmError::StateDamaged { path, reason } => FleetError::Damaged { path, reason },
        VmError::NotLoaded { state, reason, .. } => FleetError::Damaged {
            path: state,
            reason,
        },
        source => FleetError::Machine {
            node: node.to_owned(),
            doing: "load",
            source: Box::new(source),
        },
    }
}
