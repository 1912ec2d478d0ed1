//! The control socket of a fleet that is up, in a folder of its own among those of running fleets: it takes requests and answers them.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use sanlab_fleet::{Node, Registry, RunDir};
use sanlab_image::Image;
use sanlab_lock::FileLock;
use sanlab_plan::{NodeName, Plan, Setting, did_you_mean};
use sanlab_run::HeldFleet;
use sanlab_vm::ProcessGroup;
use tokio::io::{AsyncReadExt as _, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::client::SOCKET;
use super::protocol::{Reply, Request, Status, receive, send};
use super::{capture, gdb, relay, step};
use crate::LabError;
use crate::lab::runs::since_1970;

/// What a fleet was made from.
#[derive(Debug, Clone)]
pub(crate) struct Origin {
    pub(crate) plan: Plan,
    /// What its nodes boot.
    pub(crate) images: BTreeMap<NodeName, Image>,
    /// What was given in place of what the file says.
    pub(crate) settings: Vec<Setting>,
    /// Where its logs are.
    pub(crate) logs: PathBuf,
    /// How long it may be up.
    pub(crate) limit: Duration,
}

/// The control socket of a fleet. It must be closed: a janitor does so when this process ends without having done it.
pub(crate) struct ControlSocket {
    listener: UnixListener,
    shared: Arc<Shared>,
    group: ProcessGroup,
    run_dir: RunDir,
    /// The kernel gives it up when this process ends.
    _lock: FileLock,
}

/// What connections see.
pub(crate) struct Shared {
    status: Status,
    pub(crate) origin: Origin,
    /// Set once it is up.
    up: OnceLock<Up>,
    /// For further sockets; it goes with the fleet.
    pub(crate) folder: PathBuf,
    /// Asks for its end.
    end: CancellationToken,
    /// Nothing of it is left.
    closed: CancellationToken,
}

/// A fleet that is up.
struct Up {
    /// In seconds since 1970.
    since: f64,
    over: Instant,
    fleet: HeldFleet,
}

impl ControlSocket {
    /// Opens it under that name, which no other fleet of the user may have.
    pub(crate) async fn open(name: &str, origin: Origin) -> Result<Self, LabError> {
        let (registry, _) = spawn_blocking(Registry::open)
            .await
            .map_err(io::Error::from)??;
        let lock = FileLock::try_take(&registry.path().join(format!("{name}.up")))?;
        let Some(lock) = lock else {
            let name = name.to_owned();
            return Err(LabError::FleetIsUp { name });
        };
        let run_dir = spawn_blocking(move || registry.create_run());
        let run_dir = run_dir.await.map_err(io::Error::from)??;
        let group = ProcessGroup::new(run_dir.path()).map_err(processes)?;
        let listener = UnixListener::bind(run_dir.socket(&format!("{name}.{SOCKET}"))?)?;
        let shared = Shared {
            status: Status {
                name: name.to_owned(),
                scenario: std::path::absolute(&origin.plan.source)?,
                pid: std::process::id(),
                nodes: Vec::new(),
                up: None,
                ends: None,
                logs: origin.logs.clone(),
            },
            origin,
            up: OnceLock::new(),
            folder: run_dir.path().to_owned(),
            end: CancellationToken::new(),
            closed: CancellationToken::new(),
        };
        Ok(Self {
            listener,
            shared: Arc::new(shared),
            group,
            run_dir,
            _lock: lock,
        })
    }

    /// Its fleet is up: from now on its nodes can be reached, and its time runs. Only the first call counts.
    pub(crate) fn is_up(&self, fleet: HeldFleet) {
        self.shared.up.get_or_init(|| Up {
            since: since_1970().as_secs_f64(),
            over: Instant::now() + self.shared.origin.limit,
            fleet,
        });
    }

    /// How the fleet is.
    pub(crate) fn status(&self) -> Status {
        self.shared.status()
    }

    /// Whether its fleet has been up.
    pub(crate) fn was_up(&self) -> bool {
        self.shared.up.get().is_some()
    }

    /// Answers all who ask, until it is dropped.
    pub(crate) async fn answer(&self) -> io::Result<Infallible> {
        loop {
            let (stream, _) = self.listener.accept().await?;
            let shared = Arc::clone(&self.shared);
            // That a client is gone is no trouble.
            tokio::spawn(async move { drop(serve(stream, &shared).await) });
        }
    }

    /// Somebody has asked for the fleet's end.
    pub(crate) async fn end_is_wanted(&self) {
        self.shared.end.cancelled().await;
    }

    /// The fleet has been up for its time.
    pub(crate) async fn time_is_over(&self) {
        match self.shared.up.get() {
            Some(up) => sleep_until(up.over).await,
            None => std::future::pending().await,
        }
    }

    /// Takes it away: its fleet is no more.
    pub(crate) async fn close(self) -> Result<(), LabError> {
        drop(self.listener);
        self.shared.closed.cancel();
        let closed = self.group.close().await;
        self.run_dir.remove().await?;
        closed.map_err(processes)
    }
}

fn processes(source: sanlab_vm::VmError) -> LabError {
    LabError::Janitor(Box::new(source))
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
            up: up.map(|up| up.since),
            ends: up.map(|up| up.since + self.origin.limit.as_secs_f64()),
            ..self.status.clone()
        }
    }

    fn nodes(&self) -> Vec<Arc<Node>> {
        self.up.get().map(|up| up.fleet.nodes()).unwrap_or_default()
    }

    /// The fleet, or that there is none yet.
    pub(crate) fn fleet(&self) -> Result<&HeldFleet, Reply> {
        let up = self.up.get().map(|up| &up.fleet);
        up.ok_or_else(|| Reply::Refused {
            reason: format!("the fleet {} is not up yet", self.status.name),
            mistaken: true,
        })
    }

    /// A node, or why there is none of that name.
    pub(crate) fn node(&self, name: &str) -> Result<Arc<Node>, Reply> {
        let refused = |reason| Reply::Refused {
            reason,
            mistaken: true,
        };
        let fleet = &self.status.name;
        let nodes = self.fleet()?.nodes();
        let found = nodes.iter().find(|node| node.name() == name);
        found.map(Arc::clone).ok_or_else(|| {
            let hint = did_you_mean(name, "nodes", nodes.iter().map(|node| node.name()));
            refused(format!("the fleet {fleet} has no node `{name}`: {hint}"))
        })
    }
}

/// Answers one connection.
async fn serve(stream: UnixStream, shared: &Arc<Shared>) -> io::Result<()> {
    let mut stream = BufReader::new(stream);
    match receive(&mut stream).await? {
        Request::Status => send(&mut stream, &Reply::Status(Box::new(shared.status()))).await,
        Request::Down => {
            send(&mut stream, &Reply::Ends).await?;
            shared.end.cancel();
            until_closed(stream, shared).await
        }
        Request::Console { node } => {
            let reply = match shared.node(&node) {
                Ok(node) => Reply::Console {
                    log: node.machine().console().log_path().to_owned(),
                },
                Err(refused) => refused,
            };
            send(&mut stream, &reply).await?;
            until_closed(stream, shared).await
        }
        Request::Gdb { node } => gdb::serve(stream, shared, &node).await,
        Request::Capture { node, network } => {
            capture::serve(stream, shared, &node, network.as_deref()).await
        }
        Request::Step { file, label } => step::serve(stream, shared, &file, &label).await,
        Request::Exec(exec) => match shared.node(&exec.node) {
            Ok(node) => relay::serve(stream, &node, exec).await,
            Err(refused) => send(&mut stream, &refused).await,
        },
    }
}

/// Keeps a connection until its client closes it, or the fleet is no more.
pub(crate) async fn until_closed(
    mut stream: BufReader<UnixStream>,
    shared: &Shared,
) -> io::Result<()> {
    let mut rest = [0; 64];
    loop {
        tokio::select! {
            read = stream.read(&mut rest) => if read? == 0 { return Ok(()) },
            () = shared.closed.cancelled() => return Ok(()),
        }
    }
}
