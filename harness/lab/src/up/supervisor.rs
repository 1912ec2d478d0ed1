//! The process that has a fleet: it brings it up, answers on its socket, and ends the fleet when it is asked to, at a signal, or
//! when the fleet's time is over.

use std::io;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use sanlab_fleet::{Node, Registry, Store};
use sanlab_image::Image;
use sanlab_lock::FileLock;
use sanlab_plan::{NodeName, Plan, did_you_mean};
use sanlab_run::{HeldFleet, Hold};
use sanlab_vm::ProcessGroup;
use tokio::io::{AsyncReadExt as _, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::mpsc::unbounded_channel;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::client::SOCKET;
use super::protocol::{Reply, Request, Status, receive, send};
use super::relay;
use crate::commands::run::exit_of;
use crate::lab::runs::since_1970;
use crate::terminal::summary::scenario_table;
use crate::terminal::{Terminal, print, watch};
use crate::{Exit, LabError, Order, run_on};

/// What is to be up.
pub(crate) struct Wanted {
    pub(crate) name: String,
    /// The scenario's file.
    pub(crate) file: PathBuf,
    pub(crate) plan: Plan,
    pub(crate) images: std::collections::BTreeMap<NodeName, Image>,
    pub(crate) order: Order,
    /// How many of the plan's steps are taken before.
    pub(crate) steps: usize,
    /// How long it may be up.
    pub(crate) limit: Duration,
}

/// What connections see.
struct Shared {
    status: Status,
    limit: Duration,
    /// Set once it is up: since when, and the fleet.
    up: OnceLock<(f64, HeldFleet)>,
    /// Asks for its end.
    end: CancellationToken,
}

/// Brings a fleet up and keeps it until its end. Once it is up, its status goes to standard output, a line of JSON.
pub(crate) async fn supervise(
    wanted: Wanted,
    signalled: CancellationToken,
) -> Result<Exit, LabError> {
    let Wanted {
        name,
        file,
        plan,
        images,
        order,
        steps,
        limit,
    } = wanted;
    let (registry, _) = spawn_blocking(Registry::open)
        .await
        .map_err(io::Error::from)??;
    // The kernel gives it up when this process ends.
    let lock = FileLock::try_take(&registry.path().join(format!("{name}.up")))?;
    let Some(_lock) = lock else {
        return Err(LabError::FleetIsUp { name });
    };
    let run_dir = spawn_blocking(move || registry.create_run());
    let run_dir = run_dir.await.map_err(io::Error::from)??;
    let processes = |source| LabError::Janitor(Box::new(source));
    let group = ProcessGroup::new(run_dir.path()).map_err(processes)?;
    let listener = UnixListener::bind(run_dir.socket(&format!("{name}.{SOCKET}"))?)?;

    let (ready, mut is_up) = unbounded_channel();
    let (release, cancel) = (CancellationToken::new(), order.cancel.clone());
    let shared = Arc::new(Shared {
        status: Status {
            name: name.clone(),
            scenario: std::path::absolute(file)?,
            pid: std::process::id(),
            nodes: Vec::new(),
            up: None,
            ends: None,
            logs: order.run.path().to_owned(),
        },
        limit,
        up: OnceLock::new(),
        end: CancellationToken::new(),
    });
    let order = Order {
        hold: Some(Hold {
            steps,
            ready,
            release: release.clone(),
        }),
        ..order
    };
    let (sender, events) = unbounded_channel();
    let store = Store::open_default()?;
    let mut terminal = Terminal::plain();
    let work = run_on(store, images, &plan, order, sender);
    let work = watch::run(&mut terminal, &name, events, work);
    tokio::pin!(work);
    let mut over = None;
    let done = loop {
        tokio::select! {
            done = &mut work => break done,
            Some(fleet) = is_up.recv() => {
                let _ = shared.up.set((since_1970().as_secs_f64(), fleet));
                over = Some(Instant::now() + limit);
                let mut line = serde_json::to_string(&shared.status()).map_err(LabError::Record)?;
                line.push('\n');
                // Whoever waited for it may be gone.
                let _ = print(&line);
            }
            accepted = listener.accept() => {
                let (stream, _) = accepted?;
                let shared = Arc::clone(&shared);
                // That a client is gone is no trouble.
                tokio::spawn(async move { drop(serve(stream, &shared).await) });
            }
            () = time_is_over(over), if !release.is_cancelled() => release.cancel(),
            () = ended(&shared.end, &signalled), if !release.is_cancelled() => {
                release.cancel();
                if shared.up.get().is_none() {
                    cancel.cancel();
                }
            }
        }
    };
    drop(listener);
    let closed = group.close().await;
    run_dir.remove().await?;
    closed.map_err(processes)?;
    let (record, path) = done?;
    if shared.up.get().is_none() {
        Terminal::plain().line(scenario_table(&record, &path).trim_end());
    }
    Ok(exit_of(&record.outcome, &cancel))
}

async fn time_is_over(over: Option<Instant>) {
    match over {
        Some(over) => sleep_until(over).await,
        None => std::future::pending().await,
    }
}

async fn ended(asked: &CancellationToken, signalled: &CancellationToken) {
    tokio::select! {
        () = asked.cancelled() => {}
        () = signalled.cancelled() => {}
    }
}

impl Shared {
    fn status(&self) -> Status {
        let up = self.up.get();
        Status {
            nodes: self
                .nodes()
                .iter()
                .map(|node| node.name().to_owned())
                .collect(),
            up: up.map(|(since, _)| *since),
            ends: up.map(|(since, _)| since + self.limit.as_secs_f64()),
            ..self.status.clone()
        }
    }

    fn nodes(&self) -> Vec<Arc<Node>> {
        self.up
            .get()
            .map(|(_, fleet)| fleet.nodes())
            .unwrap_or_default()
    }

    /// A node, or why there is none of that name.
    fn node(&self, name: &str) -> Result<Arc<Node>, Reply> {
        let refused = |reason| Reply::Refused {
            reason,
            mistaken: true,
        };
        let fleet = &self.status.name;
        if self.up.get().is_none() {
            return Err(refused(format!("the fleet {fleet} is not up yet")));
        }
        let nodes = self.nodes();
        let found = nodes.iter().find(|node| node.name() == name);
        found.map(Arc::clone).ok_or_else(|| {
            let hint = did_you_mean(name, "nodes", nodes.iter().map(|node| node.name()));
            refused(format!("the fleet {fleet} has no node `{name}`: {hint}"))
        })
    }
}

/// Answers one connection.
async fn serve(stream: UnixStream, shared: &Shared) -> io::Result<()> {
    let mut stream = BufReader::new(stream);
    match receive(&mut stream).await? {
        Request::Status => send(&mut stream, &Reply::Status(Box::new(shared.status()))).await,
        Request::Down => {
            send(&mut stream, &Reply::Ends).await?;
            shared.end.cancel();
            until_closed(stream).await
        }
        Request::Console { node } => {
            let reply = match shared.node(&node) {
                Ok(node) => Reply::Console {
                    log: node.machine().console().log_path().to_owned(),
                },
                Err(refused) => refused,
            };
            send(&mut stream, &reply).await?;
            until_closed(stream).await
        }
        Request::Exec(exec) => match shared.node(&exec.node) {
            Ok(node) => relay::serve(stream, &node, exec).await,
            Err(refused) => send(&mut stream, &refused).await,
        },
    }
}

/// Keeps a connection until its client closes it, or this process ends.
async fn until_closed(mut stream: BufReader<UnixStream>) -> io::Result<()> {
    let mut rest = [0; 64];
    while stream.read(&mut rest).await? > 0 {}
    Ok(())
}
