//! The QEMU guest agent: one request at a time, in order, over a virtio-serial port.

use std::sync::atomic::{AtomicBool, Ordering};

use qapi::Command;
use tokio::net::UnixStream;
use tokio::sync::mpsc;

use crate::channels::qmp::typed;
use crate::channels::wire::{Wire, WireError};

/// The port's name in the guest, which the agent expects, and its id on the command line, which QMP's events carry.
pub(crate) const PORT_NAME: &str = "org.qemu.guest_agent.0";
pub(crate) const PORT_ID: &str = "agent";

/// The harness's end of the agent's channel.
pub(crate) struct Agent {
    wire: Wire,
    /// Both sides agree where a message begins. Lost whenever a request was given up.
    synced: AtomicBool,
    /// The guest had the port open and closed it: nobody will answer.
    gone: AtomicBool,
}

impl Agent {
    pub(crate) fn open(stream: UnixStream) -> Self {
        // It says nothing unasked: nobody listens.
        let wire = Wire::open(stream, mpsc::channel(1).0);
        Self {
            wire,
            synced: AtomicBool::new(false),
            gone: AtomicBool::new(false),
        }
    }

    /// QEMU tells whether the guest has the port open. An agent that closes it has forgotten every request.
    pub(crate) fn port_changed(&self, open: bool) {
        self.gone.store(!open, Ordering::SeqCst);
        if !open {
            self.synced.store(false, Ordering::SeqCst);
            self.wire.forget();
        }
    }

    /// How often it has answered. As long as this does not grow it is silent.
    pub(crate) fn answers(&self) -> u64 {
        self.wire.answers()
    }

    /// Asks the agent to begin anew and waits for its answer to this very request: whatever was under way is heard
    /// and forgotten. Sent before the guest has the port open, it is answered once it has.
    pub(crate) async fn sync(&self) -> Result<(), WireError> {
        self.wire.sync().await?;
        // The news that the port is open may come later, on the other channel.
        self.gone.store(false, Ordering::SeqCst);
        self.synced.store(true, Ordering::SeqCst);
        Ok(())
    }

    /// Sends a request and waits for its reply. Dropping the future makes the next request re-synchronise.
    pub(crate) async fn call<C: Command>(&self, command: C) -> Result<C::Ok, WireError> {
        if self.gone.load(Ordering::SeqCst) {
            return Err(WireError::Closed);
        }
        if !self.synced.load(Ordering::SeqCst) {
            self.sync().await?;
        }
        let mut given_up = GivenUp {
            synced: &self.synced,
            answered: false,
        };
        let reply = typed(&self.wire, &command).await;
        given_up.answered = true;
        reply
    }
}

struct GivenUp<'a> {
    synced: &'a AtomicBool,
    answered: bool,
}

impl Drop for GivenUp<'_> {
    fn drop(&mut self) {
        if !self.answered {
            self.synced.store(false, Ordering::SeqCst);
        }
    }
}
