//! The kernel's distributed lock manager, and `dlm_controld`, which tells it who is a member.

use std::time::Duration;

use super::{Building, LayerKind, LayerTable, Planned, Property, show};
use crate::diagnostic::{Diagnostic, Mistakes, Span};
use crate::document::table::table;
use crate::document::value::show_duration;
use crate::values::names::{ClusterName, NodeName};

/// With a longer silence those who wait for a lost node's locks may wait for the two minutes after which a kernel takes a task for
/// hung: 2.2 times that until the node is declared dead, up to 30 s until the power switch has answered, then recovery.
const LONGEST_SILENCE: Duration = Duration::from_secs(36);

table! {
    /// The kernel's distributed lock manager (DLM) with `dlm_controld`: a lost member's locks are given to others once it is fenced.
    Written, "`dlm`", "{}" {
        /// Whether the power of a lost member is cut first. `false`: its locks are given away at once, whatever it still writes.
        fencing: bool, default true;
    }
}

/// The DLM on all nodes that the layers below give devices.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dlm {
    /// The cluster of `membership` whose members have it.
    pub cluster: ClusterName,
    /// After so long without a word from it corosync declares a member dead.
    pub dead_after: Duration,
    /// Whether a lost member's power is cut before its locks are given away.
    pub fencing: bool,
}

/// What layers above must know of it.
#[derive(Debug)]
pub(crate) struct Locks {
    cluster: ClusterName,
    on: Vec<NodeName>,
    span: Span,
}

impl Planned for Dlm {
    fn fences(&self) -> bool {
        self.fencing
    }

    fn parameters(&self) -> Vec<(&'static str, String)> {
        vec![("fencing", show(&self.fencing))]
    }
}

impl LayerTable for Written {
    type Planned = Dlm;
    const PROPERTIES: &'static [Property] = &[
        Property::NeedsDevice,
        Property::Needs(&[LayerKind::Membership]),
    ];

    fn lower(
        &self,
        span: &Span,
        building: &mut Building<'_>,
        mistakes: &mut Mistakes,
    ) -> Option<(Vec<NodeName>, Dlm)> {
        let device_map = &building.device_map;
        let on = device_map.holders();
        let Some(cluster) = building.clusters.with_all(&on) else {
            if device_map.sure && !on.is_empty() {
                let title = building.clusters.lone(&on).map_or_else(
                    || "nodes of `dlm` are in different clusters".to_owned(),
                    |node| format!("`{node}` is in no cluster"),
                );
                mistakes.note(
                    Diagnostic::at(span, title)
                        .label("all nodes that have the devices below share their locks")
                        .help("put a `membership` layer below that has them all"),
                );
            }
            return None;
        };
        let (name, silence) = (cluster.name.value.clone(), cluster.silence());
        if silence > LONGEST_SILENCE {
            mistakes.note(
                Diagnostic::at(
                    &cluster.name.span,
                    format!(
                        "corosync waits too long for `dlm`: {}",
                        show_duration(&silence)
                    ),
                )
                .label("locks of a lost member would be waited for until tasks count as hung")
                .also(span, "so long its members wait, and more than twice that")
                .help(shorter(silence.saturating_sub(cluster.token))),
            );
        }
        building.locks = Some(Locks {
            cluster: name.clone(),
            on: on.clone(),
            span: span.clone(),
        });
        let dlm = Dlm {
            cluster: name,
            dead_after: silence * 11 / 5,
            fencing: self.fencing.as_ref()?.value,
        };
        Some((on, dlm))
    }
}

/// How corosync comes to wait no longer than [`LONGEST_SILENCE`], of which so much is for members beyond the second.
fn shorter(for_further: Duration) -> String {
    match LONGEST_SILENCE.checked_sub(for_further) {
        Some(token) if token >= Duration::from_secs(1) => {
            format!("give a `token` of at most {}", show_duration(&token))
        }
        _ => {
            "give the cluster fewer members: for each beyond the second corosync waits 650ms longer"
                .to_owned()
        }
    }
}

impl Building<'_> {
    /// The cluster whose DLM guards what a layer has on these nodes. `None` after a noted mistake.
    pub(crate) fn locks_for(
        &self,
        kind: LayerKind,
        span: &Span,
        on: &[NodeName],
        mistakes: &mut Mistakes,
    ) -> Option<ClusterName> {
        let locks = self.locks.as_ref()?;
        let without = on.iter().find(|node| !locks.on.contains(node));
        if let Some(node) = without.filter(|_| self.device_map.sure) {
            mistakes.note(
                Diagnostic::at(span, format!("`{kind}` without locks on `{node}`"))
                    .label("has the device below, and no `dlm`")
                    .also(&locks.span, "is not there")
                    .help(format!("move the `dlm` layer right below `{kind}`")),
            );
        }
        Some(locks.cluster.clone())
    }
}
