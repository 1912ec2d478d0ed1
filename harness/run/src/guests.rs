//! The real guests: what the engine asks, done by a fleet.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use sanlab_fleet::{
    AcceleratorWish, Command, DEFAULT_MTU, ExecError, Fleet, FleetError, FleetEvent, FleetSpec,
    Image, Node, NodeSpec,
};
use sanlab_plan::{Arch, Layer, NodeName, Plan};
use sanlab_record::{AcceleratorUse, ImageUse, NodeUse, PortUse};
use tokio::sync::OnceCell;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

use crate::Fault;
use crate::site::{Ended, Notice, Pending, Site, Status, Teardown};

/// The guests of one run.
pub(crate) struct Guests {
    spec: FleetSpec,
    at_start: Vec<String>,
    fleet: OnceCell<Fleet>,
    booted: Arc<Mutex<BTreeSet<String>>>,
    notices: UnboundedSender<Notice>,
}

impl Guests {
    /// Boots nothing yet.
    pub(crate) fn new(
        plan: &Plan,
        images: &BTreeMap<Arch, Image>,
        accelerator: AcceleratorWish,
        logs: PathBuf,
        notices: UnboundedSender<Notice>,
    ) -> Self {
        let wanted = |arch: &Arch| plan.nodes.iter().any(|node| node.arch == *arch);
        let images = images
            .iter()
            .filter(|(arch, _)| wanted(arch))
            .map(|(arch, image)| (*arch, image.clone()));
        let spec = FleetSpec {
            images: images.collect(),
            mtu: plan.network.mtu.unwrap_or(DEFAULT_MTU),
            accelerator,
            logs,
            capture: plan
                .network
                .capture
                .iter()
                .map(ToString::to_string)
                .collect(),
            members: plan.nodes.iter().map(|node| member(plan, node)).collect(),
        };
        let at_start = plan.at_start().map(|node| node.name.to_string()).collect();
        Self {
            spec,
            at_start,
            fleet: OnceCell::new(),
            booted: Arc::default(),
            notices,
        }
    }

    /// What executes the guests' instructions; empty before the start.
    pub(crate) fn accelerators(&self) -> BTreeMap<String, AcceleratorUse> {
        let chosen = self.fleet.get().into_iter().flat_map(Fleet::accelerators);
        chosen
            .map(|(arch, choice)| {
                let used = AcceleratorUse {
                    name: choice.accelerator.to_string(),
                    reason: choice.reason.clone(),
                };
                (arch.to_string(), used)
            })
            .collect()
    }

    /// As QEMU prints it; empty before the start.
    pub(crate) fn qemu_version(&self) -> String {
        self.fleet
            .get()
            .map(Fleet::qemu_version)
            .unwrap_or_default()
            .to_owned()
    }

    /// What is booted.
    pub(crate) fn images(&self, plan: &Plan) -> BTreeMap<String, ImageUse> {
        let used = |image: &Image| ImageUse {
            name: plan.image.to_string(),
            digest: image.digest.clone(),
            kernel_release: image.kernel_release.clone(),
        };
        self.spec
            .images
            .iter()
            .map(|(arch, image)| (arch.to_string(), used(image)))
            .collect()
    }

    /// Bytes of the network's largest IP packet.
    pub(crate) fn mtu(&self) -> u32 {
        self.spec.mtu
    }

    fn running(&self) -> Result<&Fleet, Fault> {
        self.fleet
            .get()
            .ok_or_else(|| Fault::Lab("the fleet was not started".to_owned()))
    }

    /// Passes on what the node's console says from now on.
    fn follow(&self, node: &Node) {
        let name = node.name().to_owned();
        let mut lines = node.machine().console().lines();
        let notices = self.notices.clone();
        tokio::spawn(async move {
            loop {
                match lines.recv().await {
                    Ok(line) => {
                        let notice = Notice::Console {
                            node: name.clone(),
                            line: line.text,
                        };
                        if notices.send(notice).is_err() {
                            return;
                        }
                    }
                    // What is missed here is found in the log at the end.
                    Err(RecvError::Lagged(_)) => {}
                    Err(RecvError::Closed) => return,
                }
            }
        });
    }

    fn use_of(&self, name: &str, usage: &sanlab_fleet::Usage, port: PortUse) -> Option<NodeUse> {
        let member = self
            .spec
            .members
            .iter()
            .find(|member| member.name == name)?;
        Some(NodeUse {
            arch: member.arch.to_string(),
            memory_mib: member.memory_mib,
            host_cpu_seconds: usage.host_cpu_seconds,
            peak_rss_bytes: usage.peak_rss_bytes,
            pss_bytes: usage.pss_bytes,
            port,
        })
    }
}

/// A plan's node as the fleet wants it. All have a data disk: who exports one is the storage layer's affair.
fn member(plan: &Plan, node: &sanlab_plan::Node) -> NodeSpec {
    let disk = plan.layers.iter().find_map(|layer| match layer {
        Layer::Nbd(nbd) => Some(nbd.disk.bytes()),
        _ => None,
    });
    NodeSpec {
        name: node.name.to_string(),
        number: node.number,
        arch: node.arch,
        nic: node.nic,
        memory_mib: u32::try_from(node.memory.mib()).unwrap_or(u32::MAX),
        cpus: node.cpus,
        disk_bytes: disk.unwrap_or(0),
    }
}

impl Site for Guests {
    fn start(&self) -> Pending<'_, Result<(), Fault>> {
        Box::pin(async {
            let (events, mut fleet_events) = unbounded_channel();
            let (notices, booted) = (self.notices.clone(), Arc::clone(&self.booted));
            tokio::spawn(async move {
                while let Some(event) = fleet_events.recv().await {
                    if let FleetEvent::Booting { node } = &event {
                        booted
                            .lock()
                            .unwrap_or_else(PoisonError::into_inner)
                            .insert(node.clone());
                    }
                    let _ = notices.send(notice(event));
                }
            });
            let start = || Fleet::start(self.spec.clone(), &self.at_start, events);
            let fleet = self
                .fleet
                .get_or_try_init(start)
                .await
                .map_err(|error| lab(&error))?;
            fleet.nodes().iter().for_each(|node| self.follow(node));
            Ok(())
        })
    }

    fn join<'a>(&'a self, node: &'a NodeName) -> Pending<'a, Result<(), Fault>> {
        Box::pin(async move {
            let fleet = self.running()?;
            fleet
                .join(node.as_str())
                .await
                .map_err(|error| lab(&error))?;
            fleet
                .node(node.as_str())
                .iter()
                .for_each(|node| self.follow(node));
            Ok(())
        })
    }

    fn exec<'a>(
        &'a self,
        node: &'a NodeName,
        script: &'a str,
        deadline: Duration,
    ) -> Pending<'a, Result<Ended, Fault>> {
        Box::pin(async move {
            let node = self.running()?.node(node.as_str());
            let node = node.ok_or_else(|| Fault::Lab("the node was not started".to_owned()))?;
            let output = node
                .exec(Command::script(script), deadline)
                .await
                .map_err(|error| fault(&error))?;
            Ok(Ended {
                status: match output.status {
                    sanlab_fleet::Status::Exited(code) => Status::Exited(code),
                    sanlab_fleet::Status::Signalled(signal) => Status::Signalled(signal),
                },
                stdout: output.text(),
                stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
            })
        })
    }

    fn consoles(&self) -> Vec<(NodeName, String)> {
        let booted = self
            .booted
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        let log = |name: &String| {
            // QEMU may have ended before it made the file.
            let bytes = fs_err::read(console_log(&self.spec.logs, name)).ok()?;
            Some((
                NodeName::parse(name).ok()?,
                String::from_utf8_lossy(&bytes).into_owned(),
            ))
        };
        booted.iter().filter_map(log).collect()
    }

    fn end(&self) -> Pending<'_, Teardown> {
        Box::pin(async {
            let Some(fleet) = self.fleet.get() else {
                return Teardown::default();
            };
            let left = fleet.shutdown().await;
            let nodes = left.usage.iter().filter_map(|(name, usage)| {
                let port = left.ports.get(name).map(|port| PortUse {
                    sent_frames: port.sent_frames,
                    sent_bytes: port.sent_bytes,
                    received_frames: port.received_frames,
                    received_bytes: port.received_bytes,
                    dropped_frames: port.dropped_frames,
                });
                Some((
                    name.clone(),
                    self.use_of(name, usage, port.unwrap_or_default())?,
                ))
            });
            Teardown {
                errors: left.errors.iter().map(ToString::to_string).collect(),
                nodes: nodes.collect(),
            }
        })
    }
}

fn console_log(logs: &Path, node: &str) -> PathBuf {
    logs.join(format!("{node}.console.log"))
}

fn notice(event: FleetEvent) -> Notice {
    let text = event.to_string();
    match event {
        FleetEvent::Waiting(what) => Notice::Waiting {
            what: what.to_string(),
        },
        FleetEvent::Answered { node, seconds } => Notice::Answered { node, seconds },
        FleetEvent::Panicked { node, .. } => Notice::Panicked { node },
        FleetEvent::Exited { .. } => Notice::Lost { fault: lost(text) },
        FleetEvent::DiskFailed { .. } => Notice::Lost {
            fault: Fault::Lab(text),
        },
        FleetEvent::Booting { node }
        | FleetEvent::Ready { node, .. }
        | FleetEvent::AgentLost { node }
        | FleetEvent::Stopped { node } => Notice::Progress {
            node: Some(node),
            text,
        },
        FleetEvent::Swept(_) | FleetEvent::LittleSpace { .. } | FleetEvent::Network(_) => {
            Notice::Progress { node: None, text }
        }
    }
}

/// What a command that gave no answer tells: the command's own trouble is the stack's.
fn fault(error: &ExecError) -> Fault {
    let message = error.to_string();
    match error {
        ExecError::CommandFailed { .. }
        | ExecError::TimedOut { .. }
        | ExecError::GuestPanicked { .. } => Fault::Stack(message),
        ExecError::QemuDead { .. } => lost(message),
        ExecError::AgentDead { .. } => Fault::Lab(message),
    }
}

/// A QEMU that is gone is the lab's fault, unless its guest reset itself or shut itself down, as one that fences itself
/// does. QEMU's own words for that are in the message.
fn lost(message: String) -> Fault {
    if ["guest-reset", "guest-shutdown"]
        .iter()
        .any(|cause| message.contains(cause))
    {
        Fault::Stack(message)
    } else {
        Fault::Lab(message)
    }
}

/// A fleet that does not come up is the lab's fault, unless a kernel panicked meanwhile: the consoles tell that.
fn lab(error: &FleetError) -> Fault {
    Fault::Lab(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guest_that_fences_itself_is_not_the_labs_fault() {
        let exited = |how: &str| {
            notice(FleetEvent::Exited {
                node: "vix1".to_owned(),
                how: how.to_owned(),
            })
        };
        let fenced = exited("exited with 0 (guest-reset)");
        assert!(
            matches!(
                fenced,
                Notice::Lost {
                    fault: Fault::Stack(_)
                }
            ),
            "{fenced:?}"
        );
        let killed = exited("was ended by signal 9");
        assert!(
            matches!(
                killed,
                Notice::Lost {
                    fault: Fault::Lab(_)
                }
            ),
            "{killed:?}"
        );
    }
}
