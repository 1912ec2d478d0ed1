//! What a record tells of the store.

use sanlab_record::{EventKind, Origin, PhaseName, RunRecord};

/// Something in the store that was thrown away.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Discarded {
    pub(crate) kind: String,
    pub(crate) key: String,
    pub(crate) reason: String,
}

/// The key under which the fleet with its layers was kept.
pub(crate) fn kept(record: &RunRecord) -> Option<String> {
    record.events.iter().find_map(|event| match &event.kind {
        EventKind::Kept {
            checkpoint, key, ..
        } if checkpoint == "layers" => Some(key.clone()),
        _ => None,
    })
}

/// The key of what the run was forked from.
pub(crate) fn forked_from(record: &RunRecord) -> Option<&str> {
    record.events.iter().find_map(|event| match &event.kind {
        EventKind::Forked { key, .. } => Some(key.as_str()),
        _ => None,
    })
}

pub(crate) fn discarded(record: &RunRecord) -> Vec<Discarded> {
    let told = record.events.iter().filter_map(|event| match &event.kind {
        EventKind::Discarded { kind, key, reason } => Some(Discarded {
            kind: kind.clone(),
            key: key.clone(),
            reason: reason.clone(),
        }),
        _ => None,
    });
    told.collect()
}

/// Whether boot and all layers are the checkpoint's, and nothing was kept or thrown away; if not, why.
pub(crate) fn is_forked(record: &RunRecord, key: &str) -> Result<(), String> {
    if forked_from(record) != Some(key) {
        return Err(format!(
            "was forked from {:?} and not from {key}",
            forked_from(record)
        ));
    }
    let is_groundwork = |name: &PhaseName| matches!(name, PhaseName::Boot | PhaseName::Layer(_));
    let groundwork = record
        .phases
        .iter()
        .filter(|phase| is_groundwork(&phase.name));
    let mut names = 0;
    for phase in groundwork {
        match &phase.origin {
            Origin::Forked { key: from, .. } if from == key => names += 1,
            other => return Err(format!("has a phase `{}` of origin {other:?}", phase.name)),
        }
    }
    if names < 2 {
        return Err("has no phases that were forked".to_owned());
    }
    let odd = record.events.iter().find(|event| {
        matches!(
            event.kind,
            EventKind::Kept { .. } | EventKind::NotKept { .. } | EventKind::Discarded { .. }
        )
    });
    odd.map_or(Ok(()), |event| {
        Err(format!(
            "had more to do with the store than to fork: {event:?}"
        ))
    })
}

/// How long it took.
pub(crate) fn seconds(record: &RunRecord) -> f64 {
    let ends = record.phases.iter().map(|phase| phase.at + phase.seconds);
    ends.fold(0.0, f64::max)
}
