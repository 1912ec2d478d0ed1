//! A run whose fleet stays up when it has failed, for some time.

use std::pin::pin;
use std::time::Duration;

use sanlab_run::{HeldFleet, Hold, HoldWhen};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio_util::sync::CancellationToken;

use super::attach::attach;
use super::control_socket::{ControlSocket, Origin};
use super::name;
use crate::LabError;
use crate::terminal::print;

/// How many fleets of one scenario may be up.
const SAME: u32 = 1000;

/// Keeps the fleet of a run up once the run has failed.
pub(crate) struct HoldOnFailure {
    origin: Origin,
    failed: UnboundedReceiver<HeldFleet>,
    release: CancellationToken,
}

impl HoldOnFailure {
    /// For a run; and what that run is given.
    pub(crate) fn new(origin: Origin) -> (Self, Hold) {
        let (ready, failed) = unbounded_channel();
        let release = CancellationToken::new();
        let hold = Hold {
            when: HoldWhen::Failed,
            ready,
            release: release.clone(),
        };
        let holding = Self {
            origin,
            failed,
            release,
        };
        (holding, hold)
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
        let socket = match open(&self.origin).await {
            Ok(socket) => socket,
            Err(error) => {
                self.release.cancel();
                return work.await.and(Err(error));
            }
        };
        // Whoever reads of it can come at once.
        socket.is_up(fleet.clone());
        announce(&socket, &fleet, self.origin.limit)?;
        let done = {
            let mut answers = pin!(socket.answer());
            loop {
                tokio::select! {
                    done = &mut work => break done,
                    Err(error) = &mut answers => return Err(error.into()),
                    () = ended(&socket), if !self.release.is_cancelled() => self.release.cancel(),
                }
            }
        };
        socket.close().await?;
        done
    }
}

async fn ended(socket: &ControlSocket) {
    tokio::select! {
        () = socket.time_is_over() => {}
        () = socket.end_is_wanted() => {}
    }
}

/// Where an annotation is what a reader of the job sees first, it is one, too.
fn announce(socket: &ControlSocket, fleet: &HeldFleet, limit: Duration) -> Result<(), LabError> {
    let name = socket.status().name;
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
async fn open(origin: &Origin) -> Result<ControlSocket, LabError> {
    let base = name::of(&origin.plan);
    let mut last = ControlSocket::open(&base, origin.clone()).await;
    for number in 2..SAME {
        if !matches!(last, Err(LabError::FleetIsUp { .. })) {
            break;
        }
        last = ControlSocket::open(&name::numbered(&base, number), origin.clone()).await;
    }
    last
}
