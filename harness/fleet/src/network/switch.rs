//! The handle of a running switch.

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::event::EventfdFlags;
use tokio::sync::mpsc::UnboundedSender;

use super::counters::{Activity, Counters, PortCounters};
use super::engine::{Engine, NewPort, Order};
use super::event::SwitchEvent;
use super::impairment::{Impairment, ImpairmentId};
use super::pcap::Capture;
use super::tap::{LiveCapture, tap};
use crate::error::FleetError;

/// For an order to be carried out, which takes a turn of the thread's loop.
const ORDER: Duration = Duration::from_secs(10);

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
    orders: Option<mpsc::Sender<Order>>,
    wake: Arc<OwnedFd>,
    thread: Option<JoinHandle<()>>,
    counters: Mutex<BTreeMap<String, Arc<Counters>>>,
    /// How often something was asked to be done to frames.
    impaired: AtomicU64,
}

impl Switch {
    /// The name of a port for a host of the lab's own.
    pub(crate) const STATION: &str = "the lab";

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
            impaired: AtomicU64::default(),
        })
    }

    /// Adds a port. When this returns, its socket takes connections.
    pub fn add_port(&self, spec: &PortSpec) -> Result<(), FleetError> {
        let counters = self.open(spec)?;
        self.counters
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(spec.name.clone(), counters);
        Ok(())
    }

    /// Adds a port for a host of the lab's own: nobody counts what it carries.
    pub(crate) fn add_station(&self, socket: &Path) -> Result<(), FleetError> {
        self.open(&PortSpec {
            name: Self::STATION.to_owned(),
            socket: socket.to_owned(),
            capture: None,
        })
        .map(drop)
    }

    fn open(&self, spec: &PortSpec) -> Result<Arc<Counters>, FleetError> {
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
        self.order(Order::Port(port));
        Ok(counters)
    }

    /// Shows what a port carries in either direction from now on, until it is dropped. It costs time in the switch's thread.
    pub fn watch(&self, port: &str) -> LiveCapture {
        let (tap, live) = tap();
        let port = port.to_owned();
        self.order(Order::Tap { port, tap });
        live
    }

    /// Has something done to frames on purpose until [`Switch::restore`]; it is done to all that are sent when this has
    /// returned. Where several impairments meet, all apply. A port that is not there, or not yet, is no error.
    ///
    /// What chance decides, `seed` decides: the same frames from one port to another see the same fate, whatever goes between
    /// others. Frames that are late wait in 64 MiB for the whole switch; those that find no room are lost, and counted as
    /// all that are lost on purpose.
    pub fn impair(
        &self,
        seed: u64,
        impairments: Vec<Impairment>,
    ) -> Result<ImpairmentId, FleetError> {
        let id = ImpairmentId(self.impaired.fetch_add(1, Ordering::Relaxed));
        self.carry_out(|done| Order::Impair {
            id,
            seed,
            impairments,
            done,
        })?;
        Ok(id)
    }

    /// Ends what [`Switch::impair`] began. Frames that are late by then still come when they are due; those that follow do
    /// not wait for them, unless something else is still done to them. A second call finds nothing to do.
    pub fn restore(&self, id: ImpairmentId) -> Result<(), FleetError> {
        self.carry_out(|done| Order::Restore { id, done })
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

    /// Gives the thread an order and waits until it has been carried out, which takes no longer than to forward what has come.
    fn carry_out(&self, order: impl FnOnce(mpsc::Sender<()>) -> Order) -> Result<(), FleetError> {
        let (done, carried_out) = mpsc::channel();
        self.order(order(done));
        carried_out
            .recv_timeout(ORDER)
            .map_err(|_| FleetError::SwitchSilent { after: ORDER })
    }

    fn order(&self, order: Order) {
        if let Some(orders) = &self.orders {
            // An ended thread has said so in an event.
            let _ = orders.send(order);
        }
        self.wake();
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

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::os::unix::net::UnixStream;
    use std::time::{Duration, Instant};

    use super::*;
    use crate::network::impairment::Effect;

    #[test]
    fn a_switch_is_not_quiet_while_frames_are_late() {
        let dir = tempfile::tempdir().unwrap();
        let (events, _) = tokio::sync::mpsc::unbounded_channel();
        let switch = Switch::start(events).unwrap();
        let mut streams = ["a", "b"].map(|name| {
            let spec = PortSpec {
                name: name.to_owned(),
                socket: dir.path().join(name),
                capture: None,
            };
            switch.add_port(&spec).unwrap();
            UnixStream::connect(&spec.socket).unwrap()
        });
        let impairment = Impairment {
            from: vec!["a".to_owned()],
            to: vec!["b".to_owned()],
            effect: Effect {
                delay: Duration::from_secs(3600),
                ..Effect::default()
            },
        };
        let id = switch.impair(1, vec![impairment]).unwrap();
        let frame = [[0, 0, 0, 60].to_vec(), vec![0xff; 60]].concat();
        // Nothing is flooded to b before the switch has taken its connection.
        let end = Instant::now() + Duration::from_secs(10);
        let mut last = Activity::default();
        while last.queued_bytes == 0 && Instant::now() < end {
            streams[0].write_all(&frame).unwrap();
            std::thread::park_timeout(Duration::from_millis(2));
            last = switch.activity();
        }
        assert!(last.queued_bytes > 0 && last.queued_bytes % 64 == 0);
        switch.restore(id).unwrap();
        assert!(switch.activity().queued_bytes >= last.queued_bytes);
    }
}
