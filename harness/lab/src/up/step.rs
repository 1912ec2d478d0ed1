//! A supervisor's side of a step that is taken now.

use std::io;
use std::path::Path;
use std::time::Instant;

use sanlab_plan::{Plan, Step, did_you_mean};
use sanlab_run::{HeldFleet, StepError};
use tokio::io::{AsyncReadExt as _, BufReader};
use tokio::net::UnixStream;

use super::control_socket::{Origin, Shared};
use super::protocol::{Reply, send};
use crate::LabError;
use crate::lab::scenario;

/// Takes a step of a file's scenario until it is done, or the connection is closed, which gives it up.
pub(crate) async fn serve(
    mut stream: BufReader<UnixStream>,
    shared: &Shared,
    file: &Path,
    label: &str,
) -> io::Result<()> {
    let taken = match shared
        .fleet()
        .map(|fleet| (fleet, step_of(&shared.origin, file, label)))
    {
        Ok((fleet, Ok(step))) => {
            send(&mut stream, &Reply::Started).await?;
            take(fleet, step, &mut stream).await
        }
        Ok((_, Err(reason))) => Some(Reply::Refused {
            reason,
            mistaken: true,
        }),
        Err(refused) => Some(refused),
    };
    match taken {
        Some(reply) => send(&mut stream, &reply).await,
        None => Ok(()),
    }
}

/// Nothing: nobody waits any more.
async fn take(fleet: &HeldFleet, step: Step, stream: &mut BufReader<UnixStream>) -> Option<Reply> {
    let begin = Instant::now();
    let mut more = [0; 1];
    let taken = tokio::select! {
        taken = fleet.take(step) => taken,
        // A client says no more; that it has ended is all that can come.
        _ = stream.read(&mut more) => return None,
    };
    Some(match taken {
        Ok(()) => Reply::StepDone {
            seconds: begin.elapsed().as_secs_f64(),
        },
        Err(StepError::Failed(message)) => Reply::StepFailed { message },
        Err(error) => Reply::Refused {
            reason: error.to_string(),
            mistaken: false,
        },
    })
}

/// The step of that label in a scenario for the same fleet, or why there is none.
fn step_of(origin: &Origin, file: &Path, label: &str) -> Result<Step, String> {
    let plan = scenario::load_with(file, &origin.settings).map_err(|error| mistakes(&error))?;
    if let Some(what) = differs(&origin.plan, &plan) {
        return Err(format!(
            "{what} of {} are not those of the fleet; only its steps may be others",
            file.display()
        ));
    }
    let known = plan.steps.iter().map(|step| step.label.to_string());
    let known: Vec<String> = known.collect();
    let step = plan
        .steps
        .into_iter()
        .find(|step| step.label.to_string() == label);
    step.ok_or_else(|| {
        let hint = did_you_mean(label, "steps", known.iter().map(String::as_str));
        format!("{} has no step `{label}`: {hint}", file.display())
    })
}

/// All of them, as they are shown elsewhere behind this word.
fn mistakes(error: &LabError) -> String {
    let shown = error.show(false);
    let text = shown.strip_prefix("error: ").unwrap_or(&shown);
    text.trim_end().to_owned()
}

/// What of a plan makes another fleet.
fn differs(fleet: &Plan, plan: &Plan) -> Option<&'static str> {
    let parts = [
        ("the nodes", fleet.nodes != plan.nodes),
        ("the networks", fleet.networks != plan.networks),
        ("the layers", fleet.layers != plan.layers),
        ("the images", fleet.image != plan.image),
        ("the files under test", fleet.artefacts != plan.artefacts),
    ];
    let first = parts.into_iter().find(|(_, differ)| *differ);
    first.map(|(what, _)| what)
}
