//! QEMU's own channel.

use qapi::Command;
use serde_json::{Value, json};
use tokio::net::UnixStream;
use tokio::sync::mpsc;

use crate::channels::wire::{Wire, WireError};

/// An event as QEMU reports it; those that this program does not know are as good as the others.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct QmpEvent {
    pub(crate) name: String,
    pub(crate) data: Value,
}

/// How many events may wait for the listener. While it is full nothing more is read, and QEMU waits.
const EVENTS: usize = 256;

/// The harness's end of QMP.
pub(crate) struct Qmp {
    wire: Wire,
}

/// What QEMU says unasked.
pub(crate) struct QmpEvents(mpsc::Receiver<Value>);

impl Qmp {
    /// Takes over the socket; [`negotiate`](Self::negotiate) must follow before anything is asked. Then the events must be
    /// taken.
    pub(crate) fn open(stream: UnixStream) -> (Self, QmpEvents) {
        let (sender, events) = mpsc::channel(EVENTS);
        let wire = Wire::open(stream, sender);
        (Self { wire }, QmpEvents(events))
    }

    /// Waits for QEMU's greeting and leaves the negotiation mode.
    pub(crate) async fn negotiate(&self, events: &mut QmpEvents) -> Result<(), WireError> {
        // It comes first.
        while events
            .0
            .recv()
            .await
            .ok_or(WireError::Closed)?
            .get("QMP")
            .is_none()
        {}
        self.call("qmp_capabilities", &json!({})).await.map(drop)
    }

    /// Runs a command.
    pub(crate) async fn call(&self, name: &str, arguments: &Value) -> Result<Value, WireError> {
        self.wire.call(name, arguments).await
    }

    /// Whether QEMU has closed the channel.
    pub(crate) fn has_ended(&self) -> bool {
        self.wire.has_ended()
    }

    /// Returns when QEMU has closed the channel.
    pub(crate) async fn ended(&self) {
        self.wire.ended().await;
    }
}

impl QmpEvents {
    /// The next one; `None` at the end of the channel.
    pub(crate) async fn next(&mut self) -> Option<QmpEvent> {
        loop {
            let mut message = self.0.recv().await?;
            if let Some(name) = message["event"].as_str() {
                return Some(QmpEvent {
                    name: name.to_owned(),
                    data: message["data"].take(),
                });
            }
        }
    }
}

/// A request and its reply through the types of the agent's own schema.
pub(crate) async fn typed<C: Command>(wire: &Wire, command: &C) -> Result<C::Ok, WireError> {
    let garbled = |error: serde_json::Error| WireError::Garbled(format!("{}: {error}", C::NAME));
    let arguments = serde_json::to_value(command).map_err(garbled)?;
    let answer = wire.call(C::NAME, &arguments).await?;
    serde_json::from_value(answer).map_err(garbled)
}
