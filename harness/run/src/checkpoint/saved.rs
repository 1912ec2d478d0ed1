//! A fleet that was saved because its run had failed: what lies in its folder beside the guests' files, and a start from there.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use sanlab_fleet::{AcceleratorWish, Circumstances, Fleet, Image, SavedFile, SavedFleet, Store};
use sanlab_plan::{NodeName, Plan};
use serde::{Deserialize, Serialize};
use tokio::task::spawn_blocking;
use tokio::time::{Instant, timeout_at};

use crate::backend::fleet_spec::fleet_spec;
use crate::backend::usage::bytes_on_disk;
use crate::backend::{Provenance, Saving, StartPoint};
use crate::checkpoint::durable;
use crate::checkpoint::session::now;
use crate::checkpoint::{CheckpointMeta, Progress};
use crate::{Enclosure, Environment, Failure, RunOptions};

/// The folder of a run's saved fleet, beside its record.
pub const SAVED: &str = "saved";

/// The file in that folder that was written last, and makes it whole.
pub const SAVED_LABEL: &str = "saved.json";

/// A saved fleet: where its files are, and what its label says.
#[derive(Debug, Clone, PartialEq)]
pub struct Saved {
    folder: PathBuf,
    label: Label,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Label {
    /// Seconds since 1970.
    made: f64,
    circumstances: Circumstances,
    /// By node.
    images: BTreeMap<String, SavedImage>,
    fleet: SavedFleet,
    /// Who was there and was not saved, and why.
    left_out: BTreeMap<String, String>,
    meta: CheckpointMeta,
}

/// What a node of a saved fleet runs from.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct SavedImage {
    /// Its architecture's word.
    pub arch: String,
    /// The image's key in the store.
    pub digest: String,
}

impl Saved {
    /// What was saved to that folder; the error is a reason.
    pub fn open(folder: &Path) -> Result<Self, String> {
        let text = fs_err::read(folder.join(SAVED_LABEL)).map_err(|error| error.to_string())?;
        Self::parse(folder, &text)
    }

    /// The same with the label's text, wherever that was read.
    pub fn parse(folder: &Path, label: &[u8]) -> Result<Self, String> {
        let label = serde_json::from_slice(label);
        let label = label.map_err(|error| format!("{SAVED_LABEL} cannot be read: {error}"))?;
        Ok(Self {
            folder: folder.to_owned(),
            label,
        })
    }

    /// Where its files are.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Where it ran.
    pub fn circumstances(&self) -> &Circumstances {
        &self.label.circumstances
    }

    /// The nodes that are in it, in the plan's order.
    pub fn nodes(&self) -> impl Iterator<Item = &str> {
        self.label.fleet.nodes.iter().map(|node| &*node.name)
    }

    /// Who was there and is not in it, and why.
    pub fn left_out(&self) -> &BTreeMap<String, String> {
        &self.label.left_out
    }

    /// What each node of its plan runs from.
    pub fn images(&self) -> &BTreeMap<String, SavedImage> {
        &self.label.images
    }

    /// The guests' files in that folder, as they were saved.
    pub fn files(&self) -> Vec<SavedFile> {
        self.label.fleet.files()
    }

    /// No layer is brought up from there.
    pub(crate) fn start_point(&self) -> StartPoint {
        StartPoint::Fork {
            done: Progress {
                layers: usize::MAX,
                steps: 0,
            },
            from: Provenance {
                checkpoint: "the failed fleet".to_owned(),
                key: SAVED.to_owned(),
                age_seconds: (now() - self.label.made).max(0.0),
            },
            meta: Box::new(self.label.meta.clone()),
        }
    }

    /// What the fleet is forked from, and its folder.
    pub(crate) fn base(&self) -> (&SavedFleet, &Path) {
        (&self.label.fleet, &self.folder)
    }
}

/// Those of a saved fleet on this host, with these images for its nodes. It is an error if the host cannot run it at all.
pub async fn circumstances_of(
    saved: &Saved,
    plan: &Plan,
    images: &BTreeMap<NodeName, Image>,
    store: &Store,
    accelerator: AcceleratorWish,
    qemu: Option<&Path>,
) -> Result<Circumstances, sanlab_fleet::FleetError> {
    let environment = Environment {
        images: images.clone(),
        // Nothing runs.
        out_dir: PathBuf::new(),
        store: store.clone(),
        options: RunOptions {
            accelerator,
            qemu: qemu.map(Path::to_owned),
            count_instructions: Some(false),
            saved: Some(saved.clone()),
            ..RunOptions::default()
        },
    };
    let spec = fleet_spec(plan, &environment);
    sanlab_fleet::check_memory(&spec)?;
    sanlab_fleet::circumstances(&spec).await
}

/// Saves a fleet to a folder, which is made, and goes again when that fails. After the deadline what is being done is broken off.
pub(crate) async fn save(
    fleet: &Fleet,
    folder: &Path,
    meta: CheckpointMeta,
    enclosure: &Enclosure,
    deadline: Duration,
) -> Result<Saving, Failure> {
    let done = write(fleet, folder, meta, enclosure, deadline).await;
    if done.is_err() {
        // The first error tells more.
        let _ = fs_err::remove_dir_all(folder);
    }
    done
}

async fn write(
    fleet: &Fleet,
    folder: &Path,
    meta: CheckpointMeta,
    enclosure: &Enclosure,
    deadline: Duration,
) -> Result<Saving, Failure> {
    let failed = || Failure::host("save the fleet");
    fs_err::create_dir_all(folder).map_err(failed())?;
    // First, since a disk that is full later is full of guests.
    fs_err::write(folder.join(enclosure.name), &enclosure.text).map_err(failed())?;
    let spec = fleet.spec();
    let circumstances = sanlab_fleet::circumstances(spec).await?;
    let end = Instant::now() + deadline;
    let saved = fleet.save_whole(folder, deadline).await?;
    let images = spec.images.iter().map(|(node, image)| {
        let image = SavedImage {
            arch: image.arch.to_string(),
            digest: image.digest.clone(),
        };
        (node.clone(), image)
    });
    let label = Label {
        made: now(),
        circumstances,
        images: images.collect(),
        fleet: saved.fleet,
        left_out: saved.left_out,
        meta,
    };
    let text = serde_json::to_vec_pretty(&label).map_err(io::Error::from);
    let text = text.map_err(failed())?;
    let sealed = folder.to_owned();
    let sealed = spawn_blocking(move || durable::seal(&sealed, SAVED_LABEL, &text));
    let overdue = |_| {
        let limit = deadline.as_secs();
        let why = format!("the host's disk had not written all of it after {limit} s");
        io::Error::new(io::ErrorKind::TimedOut, why)
    };
    let sealed = timeout_at(end, sealed).await.map_err(overdue);
    let sealed = sealed.and_then(|joined| joined.map_err(io::Error::from).flatten());
    sealed.map_err(failed())?;
    // It is whole: what goes wrong now takes nothing away from it.
    let mut troubles: Vec<String> = saved.not_resumed.into_values().collect();
    let bytes = bytes_on_disk(folder).await.unwrap_or_else(|failure| {
        troubles.push(failure.to_string());
        0
    });
    Ok(Saving {
        bytes,
        left_out: label.left_out,
        troubles,
    })
}
