//! The whole fleet stands still, is saved, and goes on.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::{Instant, sleep};

use crate::checkpoints::start_mode::{SavedFleet, SavedNode};
use crate::deadlines;
use crate::error::FleetError;
use crate::fleet::Fleet;
use crate::network::Activity;
use crate::nodes::boot::Kept;
use crate::nodes::node::Node;

/// How often it is looked whether frames go through the switch.
const LOOK: Duration = Duration::from_millis(1);
/// So many looks in a row without a frame are a pause: a frame and its answer are closer to each other, mostly.
const CALM_LOOKS: u32 = 4;
/// How long a pause is awaited. Guests that send without one are stopped nevertheless.
const CALM_DEADLINE: Duration = Duration::from_millis(100);
/// How often members are stopped before frames that were under way then are given up for lost.
const STOPS: u32 = 4;

impl Fleet {
    /// Stops all members at one instant, and writes their state beside RAM and disks in the folder that was given as
    /// `keep`. They stand still afterwards: [`Fleet::refork`] or [`Fleet::resume`]. On an error they go on as if nothing
    /// had been.
    ///
    /// The instant is one at which nothing is under way in the switches. Guests that never pause lose what is: a network
    /// may, and TCP sends it again.
    pub async fn save(&self) -> Result<SavedFleet, FleetError> {
        let keep = self
            .members
            .with_resources(|resources| resources.keep.clone().ok_or(FleetError::NotKept))?;
        let saved = match self.stand_still().await {
            Ok(()) => self.write(&keep).await,
            Err(error) => Err(error),
        };
        if saved.is_err() {
            // The first error tells more.
            let _ = self.resume().await;
        }
        saved
    }

    /// Lets the members go on that stand still after [`Fleet::save`]. What was saved is good for nothing then: they write
    /// to its RAM and disks.
    pub async fn resume(&self) -> Result<(), FleetError> {
        let nodes = self.nodes();
        all(join_all(nodes.iter().map(|node| node.go_on())).await).map(drop)
    }

    /// The folder that was given as `keep` is about to go: the fleet cannot be saved any more, and who joins later does not
    /// look for it.
    pub fn keep_no_longer(&self) -> Result<(), FleetError> {
        self.members.with_resources(|resources| {
            resources.keep = None;
            Ok(())
        })
    }

    /// Ends the machines that stand still after [`Fleet::save`], and lets forks of what was saved take their places, with
    /// the same share of the budget and the same ports. All nodes are others then: ask for them again. `folder` and `keep`
    /// are as with [`Fleet::fork`].
    ///
    /// On an error, there may be no nodes any more: what is left to do is [`Fleet::shutdown`].
    pub async fn refork(
        &self,
        saved: &SavedFleet,
        folder: &Path,
        keep: Option<&Path>,
    ) -> Result<(), FleetError> {
        self.members.retire().await?;
        self.members.with_resources(|resources| {
            resources.keep = keep.map(Path::to_owned);
            Ok(())
        })?;
        self.go_on(saved, folder).await
    }

    /// Stops all members, if possible while nothing is under way between them.
    async fn stand_still(&self) -> Result<(), FleetError> {
        let nodes = self.nodes();
        for attempt in 1..=STOPS {
            let before = self.pause().await?;
            all(join_all(nodes.iter().map(|node| node.stand_still())).await)?;
            // What the last of them sent has gone through the switch.
            let after = self.pause().await?;
            if after == before || attempt == STOPS {
                break;
            }
            self.resume().await?;
        }
        Ok(())
    }

    /// Waits for a pause in the network, within reason.
    pub(super) async fn pause(&self) -> Result<Activity, FleetError> {
        let look = || {
            self.members.with_resources(|resources| {
                let mut all = Activity::default();
                for switch in &resources.switches {
                    all += switch.activity();
                }
                Ok(all)
            })
        };
        let end = Instant::now() + CALM_DEADLINE;
        let mut last = look()?;
        let mut calm = 0;
        while calm < CALM_LOOKS && Instant::now() < end {
            sleep(LOOK).await;
            let now = look()?;
            calm = if now == last && now.queued_bytes == 0 {
                calm + 1
            } else {
                0
            };
            last = now;
        }
        Ok(last)
    }

    async fn write(&self, keep: &Path) -> Result<SavedFleet, FleetError> {
        let nodes = self.nodes();
        // All come to an end, whatever becomes of one: a machine that is being saved cannot go on.
        let written = join_all(nodes.iter().map(|node| write_node(node, keep))).await;
        Ok(SavedFleet {
            nodes: all(written)?,
            shared_disks: self.save_shared_disks(keep).await?,
        })
    }
}

async fn write_node(node: &Node, keep: &Path) -> Result<SavedNode, FleetError> {
    let files = Kept::new(keep, node.name());
    let state = files.state();
    match fs_err::remove_file(&state) {
        // The fleet was resumed after it had been saved here.
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
        _ => {}
    }
    let length = |path: PathBuf| Ok::<_, io::Error>(fs_err::metadata(path)?.len());
    Ok(SavedNode {
        name: node.name().to_owned(),
        ram_bytes: length(files.ram())?,
        disk_bytes: match node.spec().disk_bytes {
            0 => 0,
            _ => length(files.disk())?,
        },
        state: node.save(&state, deadlines::SAVE).await?,
    })
}

/// All results, or the first error.
fn all<T>(results: Vec<Result<T, FleetError>>) -> Result<Vec<T>, FleetError> {
    results.into_iter().collect()
}
