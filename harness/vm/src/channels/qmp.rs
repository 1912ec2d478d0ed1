//! QEMU's own channel.

use qapi::Command;
use serde_json::{Value, json};
use tokio::net::UnixStream;
use tokio::sync::{mpsc, watch};

use crate::channels::wire::{Wire, WireError};

/// An event as QEMU reports it; those that this program does not know are as good as the others.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct QmpEvent {
    pub(crate) name: String,
    pub(crate) data: Value,
}

/// The harness's end of QMP.
pub(crate) struct Qmp {
    wire: Wire,
    greeted: watch::Receiver<bool>,
}

impl Qmp {
    /// Takes over the socket; [`negotiate`](Self::negotiate) must follow before anything is asked.
    pub(crate) fn open(stream: UnixStream) -> (Self, mpsc::UnboundedReceiver<QmpEvent>) {
        let (events, receiver) = mpsc::unbounded_channel();
        let (greeting, greeted) = watch::channel(false);
        let wire = Wire::open(stream, move |message| {
            if message.get("QMP").is_some() {
                greeting.send_replace(true);
            } else if let Some(name) = message.get("event").and_then(Value::as_str) {
                let data = message.get("data").cloned().unwrap_or_default();
                // The listener may have gone with its machine.
                let _ = events.send(QmpEvent {
                    name: name.to_owned(),
                    data,
                });
            }
        });
        (Self { wire, greeted }, receiver)
    }

    /// Waits for QEMU's greeting and leaves the negotiation mode.
    pub(crate) async fn negotiate(&self) -> Result<(), WireError> {
        self.greeted
            .clone()
            .wait_for(|greeted| *greeted)
            .await
            .map_err(|_| WireError::Closed)?;
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

/// A request and its reply through the types of the agent's own schema.
pub(crate) async fn typed<C: Command>(wire: &Wire, command: &C) -> Result<C::Ok, WireError> {
    let garbled = |error: serde_json::Error| WireError::Garbled(format!("{}: {error}", C::NAME));
    let arguments = serde_json::to_value(command).map_err(garbled)?;
    let answer = wire.call(C::NAME, &arguments).await?;
    serde_json::from_value(answer).map_err(garbled)
}
