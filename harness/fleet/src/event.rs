//! What a fleet tells while it lives. Nothing here prints.

use std::fmt;

use sanlab_record::EventKind;

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
