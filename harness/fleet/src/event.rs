//! What a fleet tells while it lives. Nothing here prints.

use std::fmt;
use std::sync::Arc;

use sanlab_record::EventKind;
use sanlab_vm::ConsoleLine;
use tokio::sync::mpsc::UnboundedSender;

/// Something that happened to a fleet, in the record's words: an [`Event`](sanlab_record::Event) that has no time and no
/// phase yet.
#[derive(Debug, Clone, PartialEq)]
pub struct FleetEvent {
    /// The node it concerns.
    pub node: Option<String>,
    /// What happened.
    pub kind: EventKind,
}

impl FleetEvent {
    /// About a node.
    pub fn of(node: &str, kind: EventKind) -> Self {
        Self {
            node: Some(node.to_owned()),
            kind,
        }
    }
}

/// About no node.
impl From<EventKind> for FleetEvent {
    fn from(kind: EventKind) -> Self {
        Self { node: None, kind }
    }
}

impl fmt::Display for FleetEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.kind.about(self.node.as_deref()))
    }
}

/// Who hears of a fleet. Nobody need listen. Events are few: each tells of a step in a machine's life, or of its failure.
#[derive(Clone)]
pub struct Listener {
    pub(crate) events: UnboundedSender<FleetEvent>,
    pub(crate) consoles: Consoles,
}

/// Takes a line of a node's console; it must not wait. While lines are kept that take all of a console's
/// [`room`](ConsoleLine::room), it is not read.
type Consoles = Arc<dyn Fn(&str, ConsoleLine) + Send + Sync>;

impl Listener {
    /// One who also hears every line of every member's console, with the member's name: from its machine's first byte to its
    /// end, in order. Lines of a machine that has ended have all been handed over.
    pub fn new(
        events: UnboundedSender<FleetEvent>,
        consoles: impl Fn(&str, ConsoleLine) + Send + Sync + 'static,
    ) -> Self {
        Self {
            events,
            consoles: Arc::new(consoles),
        }
    }
}

/// One who hears no console.
impl From<UnboundedSender<FleetEvent>> for Listener {
    fn from(events: UnboundedSender<FleetEvent>) -> Self {
        Self::new(events, |_, _| ())
    }
}
