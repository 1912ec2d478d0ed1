//! A run whose fleet stays up when it has failed, for some time.

use std::path::Path;
use std::pin::pin;
use std::time::Duration;

use sanlab_plan::Plan;
use sanlab_run::{HeldFleet, Hold, HoldWhen};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio_util::sync::CancellationToken;

use super::attach::attach;
use super::door::{Door, Origin};
use crate::LabError;
use crate::terminal::print;

/// How many fleets of one scenario may be up.
const SAME: u32 = 1000;
/// Of a fleet's name.
const LONGEST: usize = 40;

/// What is done once a run has failed.
pub(crate) struct Attend {
    origin: Origin,
    failed: UnboundedReceiver<HeldFleet>,
    release: CancellationToken,
}

impl Attend {
    /// For a run; and what that run is told.
    pub(crate) fn new(origin: Origin) -> (Self, Hold) {
        let (ready, failed) = unbounded_channel();
        let release = CancellationToken::new();
        let hold = Hold {
            when: HoldWhen::Failed,
            ready,
            release: release.clone(),
        };
        let attend = Self {
            origin,
            failed,
            release,
        };
        (attend, hold)
    }

    /// Does the run's work; where it fails, its fleet can be asked until somebody wants its end, its time is over, or the run ends.
    pub(crate) async fn around<T>(
        mut self,
        work: impl Future<Output = Result<T, LabError>>,
    ) -> Result<T, LabError> {
        let mut work = pin!(work);
        let fleet = tokio::select! {
            done = &mut work => return done,
            Some(fleet) = self.failed.recv() => fleet,
        };
        let door = match open(&self.origin).await {
            Ok(door) => door,
            Err(error) => {
                self.release.cancel();
                return work.await.and(Err(error));
            }
        };
        // Whoever reads of it can come at once.
        door.is_up(fleet.clone());
        announce(&door, &fleet, self.origin.limit)?;
        let done = {
            let mut answers = pin!(door.answer());
            loop {
                tokio::select! {
                    done = &mut work => break done,
                    Err(error) = &mut answers => return Err(error.into()),
                    () = ended(&door), if !self.release.is_cancelled() => self.release.cancel(),
                }
            }
        };
        door.close().await?;
        done
    }
}

async fn ended(door: &Door) {
    tokio::select! {
        () = door.time_is_over() => {}
        () = door.end_is_wanted() => {}
    }
}

/// Where an annotation is what a reader of the job sees first, it is one, too.
fn announce(door: &Door, fleet: &HeldFleet, limit: Duration) -> Result<(), LabError> {
    let name = door.status().name;
    let node = fleet.nodes().first().map(|node| node.name().to_owned());
    let attach = attach(&name, node.as_deref());
    fleet.announce(&name, limit.as_secs_f64(), &attach);
    if std::env::var_os("GITHUB_ACTIONS").is_some() {
        print(&format!(
            "::notice title=The fleet {name} stays up::{attach}\n"
        ))?;
    }
    Ok(())
}

/// Under the first name that no other fleet has.
async fn open(origin: &Origin) -> Result<Door, LabError> {
    let base = name_of(&origin.plan);
    let mut last = Door::open(&base, origin.clone()).await;
    for number in 2..SAME {
        if !matches!(last, Err(LabError::FleetIsUp { .. })) {
            break;
        }
        last = Door::open(&format!("{base}-{number}"), origin.clone()).await;
    }
    last
}

/// The name of its scenario's file, or of its variant.
fn name_of(plan: &Plan) -> String {
    let name = Path::new(&plan.id).file_name().unwrap_or_default();
    let name = name.to_string_lossy();
    let fits = |c: char| c.is_ascii_alphanumeric() || "-_".contains(c);
    let fitting = name.chars().map(|c| if fits(c) { c } else { '-' });
    fitting.take(LONGEST - 4).collect()
}
