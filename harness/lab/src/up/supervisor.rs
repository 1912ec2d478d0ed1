//! The process that has a fleet: it brings it up, answers on its socket, and ends the fleet when it is asked to, at a signal, or
//! when the fleet's time is over.

use std::collections::BTreeMap;

use sanlab_fleet::Store;
use sanlab_image::Image;
use sanlab_plan::NodeName;
use sanlab_run::{Hold, HoldWhen};
use tokio::sync::mpsc::unbounded_channel;
use tokio_util::sync::CancellationToken;

use super::attach::attach;
use super::control_socket::{ControlSocket, Origin};
use crate::terminal::summary::scenario_table;
use crate::terminal::{Terminal, print, watch};
use crate::{Exit, LabError, RunRequest, run_on};

/// What a supervisor has to say, in the folder of its run.
pub(crate) const SUPERVISOR_LOG: &str = "supervisor.log";

/// What is to be up.
pub(crate) struct Wanted {
    pub(crate) name: String,
    pub(crate) origin: Origin,
    pub(crate) images: BTreeMap<NodeName, Image>,
    pub(crate) request: RunRequest,
    /// When it is up: after some of the plan's steps, or as it was saved.
    pub(crate) when: HoldWhen,
}

/// Brings a fleet up and keeps it until its end. Once it is up, its status goes to standard output, a line of JSON.
pub(crate) async fn supervise(
    wanted: Wanted,
    signalled: CancellationToken,
) -> Result<Exit, LabError> {
    let Wanted {
        name,
        origin,
        images,
        mut request,
        when,
    } = wanted;
    let plan = origin.plan.clone();
    let limit = origin.limit;
    let socket = ControlSocket::open(&name, origin).await?;
    let (ready, mut is_up) = unbounded_channel();
    let (release, cancel) = (CancellationToken::new(), request.options.cancel.clone());
    request.options.hold = Some(Hold {
        when,
        ready,
        release: release.clone(),
    });
    let (sender, events) = unbounded_channel();
    let store = Store::open_default()?;
    let mut terminal = Terminal::plain();
    let work = run_on(store, images, &plan, request, sender);
    let work = watch::run(&mut terminal, &name, events, work);
    tokio::pin!(work);
    let mut answers = Box::pin(socket.answer());
    let done = loop {
        tokio::select! {
            done = &mut work => break done,
            Some(fleet) = is_up.recv() => {
                let node = fleet.nodes().first().map(|node| node.name().to_owned());
                socket.is_up(fleet.clone());
                fleet.announce(&name, limit.as_secs_f64(), &attach(&name, node.as_deref()));
                let mut line = serde_json::to_string(&socket.status()).map_err(LabError::Record)?;
                line.push('\n');
                // Whoever waited for it may be gone.
                let _ = print(&line);
            }
            Err(error) = &mut answers => return Err(error.into()),
            () = socket.time_is_over(), if !release.is_cancelled() => release.cancel(),
            () = ended(&socket, &signalled), if !release.is_cancelled() => {
                release.cancel();
                if !socket.was_up() {
                    cancel.cancel();
                }
            }
        }
    };
    let was_up = socket.was_up();
    drop(answers);
    socket.close().await?;
    let (record, path) = done?;
    if !was_up {
        Terminal::plain().line(scenario_table(&record, &path).trim_end());
    }
    Ok(Exit::of(&record.outcome, &cancel))
}

async fn ended(socket: &ControlSocket, signalled: &CancellationToken) {
    tokio::select! {
        () = socket.end_is_wanted() => {}
        () = signalled.cancelled() => {}
    }
}
