//! `sanlab step`: a step of a scenario, taken now on a fleet that is up.

use std::path::PathBuf;
use std::time::Duration;

use crate::terminal::follow::{Follower, LOOK_AGAIN};
use crate::terminal::quantity::took;
use crate::terminal::{Terminal, print};
use crate::up::client;
use crate::up::protocol::{Reply, Request, receive};
use crate::up::supervisor::SUPERVISOR_LOG;
use crate::{Exit, LabError};

/// For the answer of a supervisor, which reads the file first.
const ANSWER: Duration = Duration::from_secs(10);

/// What the command line says of it.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Scenario with that step: the fleet's own, or one with the same nodes and layers
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// The step's label
    #[arg(value_name = "LABEL")]
    label: String,
    /// Fleet [default: the only one that is up]
    #[arg(long, value_name = "NAME")]
    fleet: Option<String>,
}

/// Takes it and shows what the fleet's supervisor says meanwhile. The step's own deadline is held there.
pub(crate) async fn execute(arguments: Arguments) -> Result<Exit, LabError> {
    let fleet = client::choose(arguments.fleet.as_deref()).await?;
    let mut terminal = Terminal::new();
    let log = fleet.status().await?.logs.join(SUPERVISOR_LOG);
    // A run that is held has none, and takes no step.
    let log = log.exists().then(|| Follower::open_at_end(&log));
    let mut log = log.transpose()?;
    let request = Request::Step {
        file: std::path::absolute(arguments.file)?,
        label: arguments.label.clone(),
    };
    let mut stream = match fleet.ask(&request, ANSWER).await? {
        (Reply::Started, stream) => stream,
        (other, _) => return Err(fleet.odd(&other)),
    };
    let answer = receive(&mut stream);
    tokio::pin!(answer);
    let reply = loop {
        tokio::select! {
            reply = &mut answer => break reply,
            () = tokio::time::sleep(LOOK_AGAIN) => show(&mut log, &mut terminal)?,
        }
    };
    show(&mut log, &mut terminal)?;
    let label = arguments.label;
    match reply {
        Ok(Reply::StepDone { seconds }) => {
            print(&format!("{label} is done after {}\n", took(seconds)))?;
            Ok(Exit::Success)
        }
        Ok(Reply::StepFailed { message }) => {
            print(&format!("{label} failed: {message}\n"))?;
            Ok(Exit::Failed)
        }
        Ok(Reply::Refused { reason, mistaken }) => Err(LabError::FleetRefused { reason, mistaken }),
        Ok(other) => Err(fleet.odd(&other)),
        Err(_) => Err(LabError::FleetSilent {
            name: fleet.name.clone(),
            why: "it ended before the step did".to_owned(),
        }),
    }
}

fn show(log: &mut Option<Follower>, terminal: &mut Terminal) -> Result<(), LabError> {
    log.as_mut().map_or(Ok(()), |log| log.show(terminal))
}
