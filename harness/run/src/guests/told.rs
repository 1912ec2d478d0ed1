//! What a fleet tells, in the engine's words, and whose fault it is.

use sanlab_fleet::{ExecError, FleetError, FleetEvent, Kind};

use crate::Fault;
use crate::site::Notice;

/// The node whose QEMU is about to be started.
pub(super) fn begun(event: &FleetEvent) -> Option<&str> {
    match event {
        FleetEvent::Booting { node }
        | FleetEvent::Cloning { node }
        | FleetEvent::Forking { node } => Some(node),
        _ => None,
    }
}

pub(super) fn notice(event: FleetEvent) -> Notice {
    let text = event.to_string();
    match event {
        FleetEvent::Waiting(what) => Notice::Waiting {
            what: what.to_string(),
        },
        FleetEvent::Resumed { seconds } => Notice::Resumed { seconds },
        FleetEvent::Answered { node, seconds } => Notice::Answered { node, seconds },
        FleetEvent::Panicked { node, .. } => Notice::Panicked { node },
        FleetEvent::Exited { .. } => Notice::Lost { fault: lost(text) },
        FleetEvent::DiskFailed { .. } => Notice::Lost {
            fault: Fault::Lab(text),
        },
        FleetEvent::TemplateAwaited { .. } => Notice::Waiting { what: text },
        FleetEvent::TemplateDiscarded { key, reason } => Notice::Discarded {
            kind: Kind::Template.to_string(),
            key,
            reason,
        },
        FleetEvent::Booting { node }
        | FleetEvent::Cloning { node }
        | FleetEvent::Forking { node }
        | FleetEvent::Ready { node, .. }
        | FleetEvent::AgentLost { node }
        | FleetEvent::Crashed { node, .. }
        | FleetEvent::Stopped { node } => Notice::Progress {
            node: Some(node),
            text,
        },
        FleetEvent::Swept(_)
        | FleetEvent::LittleSpace { .. }
        | FleetEvent::NotCounted { .. }
        | FleetEvent::Network(_)
        | FleetEvent::TemplateMaking { .. }
        | FleetEvent::TemplateMade { .. } => Notice::Progress { node: None, text },
    }
}

/// What a command that gave no answer tells: the command's own trouble is the stack's.
pub(super) fn fault(error: &ExecError) -> Fault {
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
pub(super) fn lab(error: &FleetError) -> Fault {
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
