//! Templates: guests that were booted once and saved, to be cloned.
//!
//! Members that are alike share one. Its memory is mapped privately by every clone, so that clones cost what they write.
//! Nothing in a template belongs to a member: a clone gets its identity afterwards, as a booted guest does.

pub(crate) mod builder;

use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::time::SystemTime;

use sanlab_image::{Held, Kind, Store};
use sanlab_plan::NicModel;
use sanlab_vm::SavedState;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::checkpoints::fingerprint::SOURCES;
use crate::checkpoints::saved;
use crate::error::FleetError;
use crate::nodes::identity;
use crate::spec::{FleetSpec, NodeSpec};

/// The name of a template's files.
pub(crate) const NAME: &str = "template";

/// A template that members were cloned from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TemplateUse {
    /// Its key in the store, hex SHA-256.
    pub key: String,
    /// When it was made.
    pub made: SystemTime,
}

/// A template in the store; nobody removes it while this lives.
#[derive(Debug)]
pub(crate) struct Template {
    held: Held,
    label: Label,
}

/// What is written last, and makes an entry whole.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Label {
    /// For listings.
    pub(crate) about: String,
    pub(crate) ram_bytes: u64,
    pub(crate) state: SavedState,
}

impl Template {
    pub(crate) fn new(held: Held) -> Result<Self, FleetError> {
        let label = held.label()?;
        Ok(Self { held, label })
    }

    /// The template under that key, if it is there and what it was. `discarded` hears why it is not.
    pub(crate) fn find(
        store: &Store,
        key: &str,
        discarded: impl Fn(String),
    ) -> Result<Option<Self>, FleetError> {
        let Some(held) = store.hold(Kind::Template, key)? else {
            return Ok(None);
        };
        let reason = match Self::new(held.clone()) {
            Ok(template) => match template.verify() {
                Ok(()) => return Ok(Some(template)),
                Err(FleetError::Damaged { path, reason }) => {
                    format!("{}: {reason}", path.display())
                }
                Err(error) => return Err(error),
            },
            Err(error) => error.to_string(),
        };
        held.discard()?;
        discarded(reason);
        Ok(None)
    }

    fn verify(&self) -> Result<(), FleetError> {
        saved::verify_state(&self.state(), &self.label.state)?;
        saved::verify_length(&self.ram(), self.label.ram_bytes)
    }

    /// The file that clones map.
    pub(crate) fn ram(&self) -> PathBuf {
        self.held.path().join(format!("{NAME}.ram"))
    }

    pub(crate) fn state(&self) -> PathBuf {
        self.held.path().join(format!("{NAME}.state"))
    }

    pub(crate) fn saved(&self) -> &SavedState {
        &self.label.state
    }

    /// What it takes on disk.
    pub(crate) fn real_bytes(&self) -> Result<u64, FleetError> {
        let mut bytes = 0;
        for file in [self.ram(), self.state()] {
            bytes += fs_err::metadata(file)?.blocks() * 512;
        }
        Ok(bytes)
    }

    /// Throws it away: QEMU does not take it. Clones that run are not disturbed.
    pub(crate) fn discard(&self) -> Result<(), FleetError> {
        Ok(self.held.clone().discard()?)
    }

    pub(crate) fn used(&self) -> TemplateUse {
        TemplateUse {
            key: self.held.key().to_owned(),
            made: self.held.made(),
        }
    }
}

/// What a template of that member is, in a few words.
pub(crate) fn about(member: &NodeSpec, spec: &FleetSpec) -> String {
    let nic = match member.nic {
        NicModel::VirtioNet => "virtio-net",
        NicModel::E1000 => "e1000",
    };
    let nics = match spec.cards(member).len() {
        1 => nic.to_owned(),
        count => format!("{count} cards {nic}"),
    };
    let cpus = match member.hardware.cpus {
        1 => String::new(),
        cpus => format!(", {cpus} CPUs"),
    };
    let disk = match member.disk_bytes {
        0 => String::new(),
        bytes => format!(", disk of {} MiB", bytes >> 20),
    };
    format!(
        "{}, {} MiB{cpus}, {nics}{disk}",
        member.hardware.arch,
        member.hardware.memory.mib()
    )
}

/// The key of the member's template: all that could change it. `machine` is the command line as
/// [`sanlab_vm::fingerprint`] has it.
pub(crate) fn key(
    member: &NodeSpec,
    spec: &FleetSpec,
    qemu: &str,
    machine: &str,
) -> Result<String, FleetError> {
    let shared = spec.shared_disks_of(&member.name);
    let shared = shared.map(|disk| disk.bytes.to_string());
    let disks = [member.disk_bytes.to_string()].into_iter().chain(shared);
    let disks = disks.collect::<Vec<_>>().join(" ");
    let prepare = prepare(member, spec);
    let mut digest = Sha256::new();
    for part in [
        SOURCES,
        member.hardware.arch.as_str(),
        spec.image(member)?.boots_as(),
        qemu,
        machine,
        // The guest has read their sizes.
        &disks,
        &prepare,
    ] {
        digest.update((part.len() as u64).to_le_bytes());
        digest.update(part);
    }
    Ok(hex::encode(digest.finalize()))
}

/// The script that a template runs before it is saved.
pub(crate) fn prepare(member: &NodeSpec, spec: &FleetSpec) -> String {
    let groundwork = identity::groundwork_script(member, spec);
    // In a shell of its own: it may end early, or change directory.
    format!("{groundwork}(\n:\n{}\n)\nsync\n", spec.warm)
}
