//! What all threads of a server share.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustix::io::Errno;

use super::backing::open_backing;
use super::exports::Exports;
use super::fences::Fences;
use super::link::Link;
use super::{Limits, ServerOptions};
use crate::log::Log;
use crate::protocol::local::{ExportDescription, SessionDescription};
use crate::protocol::{DeviceName, NodeName};

#[derive(Debug)]
pub(super) struct Shared {
    pub(super) node: NodeName,
    pub(super) cluster: bool,
    pub(super) limits: Limits,
    pub(super) log: Log,
    state: Mutex<State>,
    /// A connection has ended, or the server is to.
    changed: Condvar,
    extra_workers: AtomicUsize,
    pub(super) answering: AtomicUsize,
}

#[derive(Debug)]
pub(super) struct State {
    pub(super) exports: Exports,
    pub(super) fences: Fences,
    /// Newest last.
    links: Vec<Arc<Link>>,
    stopping: bool,
    shut_down: bool,
}

/// How often a thread that waits looks whether it still has a reason to.
const GLANCE: Duration = Duration::from_secs(1);

impl Shared {
    pub(super) fn new(options: ServerOptions) -> Self {
        Self {
            node: options.node,
            cluster: options.cluster,
            limits: options.limits,
            log: options.log,
            state: Mutex::new(State {
                exports: Exports::new(options.limits.exports),
                fences: Fences::new(options.limits.nodes),
                links: Vec::new(),
                stopping: false,
                shut_down: false,
            }),
            changed: Condvar::new(),
            extra_workers: AtomicUsize::new(0),
            answering: AtomicUsize::new(0),
        }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The size is looked up with the flags that clients' connections will use, so that what they would stumble over
    /// is told to whoever exports.
    pub(super) fn create(&self, mut export: ExportDescription) -> Result<(), Errno> {
        if export.uncached && !self.cluster {
            return Err(Errno::OPNOTSUPP);
        }
        if self.lock().exports.find(&export.name).is_some() {
            return Err(Errno::BUSY);
        }
        let backing = open_backing(&export.path, export.read_only, export.uncached)?;
        export.sectors = backing.sectors;
        export.invalid = false;
        let mut state = self.lock();
        if state.stopping {
            return Err(Errno::SHUTDOWN);
        }
        state.exports.add(export)
    }

    pub(super) fn remove(&self, device: &DeviceName) -> Result<(), Errno> {
        let mut state = self.lock();
        if state.exports.find(device).is_none() {
            return Err(Errno::NODEV);
        }
        if state.links.iter().any(|link| link.device == *device) {
            return Err(Errno::BUSY);
        }
        state.exports.remove(device);
        Ok(())
    }

    pub(super) fn invalidate(&self, device: &DeviceName) -> Result<(), Errno> {
        self.lock().exports.invalidate(device)?;
        let ended = self.end_sessions(|link| link.device == *device, || true);
        ended.then_some(()).ok_or(Errno::INTR)
    }

    pub(super) fn exports(&self) -> Vec<ExportDescription> {
        self.lock().exports.all().to_vec()
    }

    pub(super) fn sessions(&self) -> Vec<SessionDescription> {
        let state = self.lock();
        let links = state.links.iter().rev();
        links.map(|link| link.description()).collect()
    }

    pub(super) fn validate(&self) {
        let links = self.lock().links.clone();
        for link in links {
            link.keep_alive();
        }
    }

    /// Ends connections and returns when they have ended: nothing of theirs is written any more. Or returns `false`
    /// when `is_awaited` says that nobody waits for that; the connections end all the same.
    #[must_use]
    pub(super) fn end_sessions(
        &self,
        which: impl Fn(&Link) -> bool,
        is_awaited: impl Fn() -> bool,
    ) -> bool {
        let mut state = self.lock();
        loop {
            let mut left = false;
            for link in state.links.iter().filter(|link| which(link)) {
                link.end();
                left = true;
            }
            if !left {
                return true;
            }
            if !is_awaited() {
                return false;
            }
            let waited = self.changed.wait_timeout(state, GLANCE);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// For the end of the server: no connection begins any more.
    pub(super) fn end_all_sessions(&self) {
        self.lock().stopping = true;
        let _ = self.end_sessions(|_| true, || true);
    }

    /// Lets no connection begin any more, if there are no exports.
    pub(super) fn close_for_shutdown(&self) -> Result<(), Errno> {
        let mut state = self.lock();
        if !state.exports.all().is_empty() {
            return Err(Errno::BUSY);
        }
        state.stopping = true;
        Ok(())
    }

    /// Whoever waits for the shutdown goes on.
    pub(super) fn shut_down(&self) {
        self.lock().shut_down = true;
        self.changed.notify_all();
    }

    pub(super) fn wait_for_shutdown(&self) {
        let mut state = self.lock();
        while !state.shut_down {
            let waited = self.changed.wait(state);
            state = waited.unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Takes one of the threads that connections share, if one is left.
    pub(super) fn hire(self: &Arc<Self>) -> Option<Hired> {
        let limit = self.limits.extra_workers;
        let hire = |hired| (hired < limit).then_some(hired + 1);
        let hired = self
            .extra_workers
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, hire);
        hired.is_ok().then(|| Hired(Arc::clone(self)))
    }
}

impl State {
    /// Whether another connection may begin.
    pub(super) fn has_room(&self, limits: &Limits) -> bool {
        !self.stopping && self.links.len() < limits.sessions
    }

    /// Enters a connection in the list; it leaves when the seat is dropped.
    pub(super) fn seat(&mut self, shared: &Arc<Shared>, link: &Arc<Link>) -> Seat {
        self.links.push(Arc::clone(link));
        Seat {
            shared: Arc::clone(shared),
            link: Arc::clone(link),
        }
    }
}

/// A connection's place in the list. Dropped last of all that belongs to it, when nothing of it can write any more.
#[derive(Debug)]
pub(super) struct Seat {
    shared: Arc<Shared>,
    link: Arc<Link>,
}

impl Drop for Seat {
    fn drop(&mut self) {
        // Whoever holds the link still must not keep the client waiting.
        self.link.end();
        let mut state = self.shared.lock();
        state.links.retain(|link| !Arc::ptr_eq(link, &self.link));
        self.shared.changed.notify_all();
    }
}

/// The right to one more thread.
#[derive(Debug)]
pub(super) struct Hired(Arc<Shared>);

impl Drop for Hired {
    fn drop(&mut self) {
        self.0.extra_workers.fetch_sub(1, Ordering::SeqCst);
    }
}
