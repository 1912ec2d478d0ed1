//! The handle of a running switch.

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread::JoinHandle;

use rustix::event::EventfdFlags;
use tokio::sync::mpsc::UnboundedSender;

use super::counters::{Activity, Counters, PortCounters};
use super::engine::{Engine, NewPort};
use super::event::SwitchEvent;
use super::pcap::Capture;
use crate::error::FleetError;

/// A port to be added.
#[derive(Debug, Clone)]
pub struct PortSpec {
    /// Name in counters and events; unique in the switch.
    pub name: String,
    /// Where the switch listens; must not exist yet.
    pub socket: PathBuf,
    /// A pcap file for all that the port carries in either direction. Writing it costs time in the switch's thread.
    pub capture: Option<PathBuf>,
}

/// A running switch; dropping it ends its thread and closes all ports.
#[derive(Debug)]
pub struct Switch {
    orders: Option<mpsc::Sender<NewPort>>,
    wake: Arc<OwnedFd>,
    thread: Option<JoinHandle<()>>,
    counters: Mutex<BTreeMap<String, Arc<Counters>>>,
}

impl Switch {
    /// Starts a switch without ports.
    pub fn start(events: UnboundedSender<SwitchEvent>) -> Result<Self, FleetError> {
        let io = |source| FleetError::Switch { source };
        let flags = EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK;
        let wake = Arc::new(rustix::event::eventfd(0, flags).map_err(|errno| io(errno.into()))?);
        let (orders, receiver) = mpsc::channel();
        let engine = Engine::new(receiver, Arc::clone(&wake), events);
        let thread = std::thread::Builder::new()
            .name("switch".to_owned())
            .spawn(|| engine.run())
            .map_err(io)?;
        Ok(Self {
            orders: Some(orders),
            wake,
            thread: Some(thread),
            counters: Mutex::default(),
        })
    }

    /// Adds a port. When this returns, its socket takes connections.
    pub fn add_port(&self, spec: &PortSpec) -> Result<(), FleetError> {
        let at = |path: &Path| {
            let (port, path) = (spec.name.clone(), path.to_owned());
            move |source| FleetError::Port { port, path, source }
        };
        let listener = UnixListener::bind(&spec.socket)
            .and_then(|listener| listener.set_nonblocking(true).map(|()| listener))
            .map_err(at(&spec.socket))?;
        let capture = match &spec.capture {
            Some(path) => Some(Capture::create(path).map_err(at(path))?),
            None => None,
        };
        let counters = Arc::new(Counters::default());
        let port = NewPort {
            name: spec.name.clone(),
            listener,
            capture,
            counters: Arc::clone(&counters),
        };
        self.counters
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(spec.name.clone(), counters);
        if let Some(orders) = &self.orders {
            // An ended thread has said so in an event.
            let _ = orders.send(port);
        }
        self.wake();
        Ok(())
    }

    /// What every port carried up to now.
    pub fn counters(&self) -> BTreeMap<String, PortCounters> {
        let counters = self.counters.lock().unwrap_or_else(PoisonError::into_inner);
        counters
            .iter()
            .map(|(name, counters)| (name.clone(), counters.read()))
            .collect()
    }

    /// What goes through it now.
    pub(crate) fn activity(&self) -> Activity {
        let counters = self.counters.lock().unwrap_or_else(PoisonError::into_inner);
        let mut activity = Activity::default();
        for port in counters.values() {
            activity.sent_frames += port.read().sent_frames;
            activity.queued_bytes += port.queued_bytes();
        }
        activity
    }

    fn wake(&self) {
        // It fails only when the thread has 2^64 - 1 wake-ups before it.
        let _ = rustix::io::write(&*self.wake, &1_u64.to_ne_bytes());
    }
}

impl Drop for Switch {
    fn drop(&mut self) {
        self.orders = None;
        self.wake();
        if let Some(thread) = self.thread.take() {
            // A panic of the thread was printed when it happened.
            let _ = thread.join();
        }
    }
}
