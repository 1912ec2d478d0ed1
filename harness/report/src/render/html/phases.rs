//! A run's phases as bars.

use sanlab_record::{Origin, PhaseName, RunRecord};

use crate::render::chart::phases::Bar;
use crate::render::number::seconds;

/// One a phase, in their order.
pub(super) fn bars(record: &RunRecord) -> Vec<Bar> {
    let failed = record.outcome.failure().map(|failure| &failure.phase);
    let bar = |phase| bar(phase, failed);
    record.phases.iter().map(bar).collect()
}

fn bar(phase: &sanlab_record::Phase, failed: Option<&PhaseName>) -> Bar {
    let note = match &phase.origin {
        Origin::Built => String::new(),
        Origin::Cloned { .. } => format!("{}, cloned", seconds(phase.seconds)),
        Origin::Forked { built_seconds, .. } => {
            format!("forked; built in {}", seconds(*built_seconds))
        }
    };
    let forked = matches!(phase.origin, Origin::Forked { .. });
    let class = match &phase.name {
        name if Some(name) == failed => "wrong",
        _ if forked => "forked",
        PhaseName::Layer(_) => "layer",
        PhaseName::Step(_) => "step",
        PhaseName::Keep(_) => "kept",
        _ => "other",
    };
    Bar {
        name: phase.name.to_string(),
        class,
        from: phase.at,
        seconds: phase.seconds,
        note,
    }
}

#[cfg(test)]
mod tests {
    use sanlab_record::RunRecord;

    use super::bars;

    #[test]
    fn a_bar_says_where_its_phase_came_from() {
        let text = include_str!("../../../../../fixtures/records/format-1.json");
        let record = RunRecord::from_json(text).unwrap();
        let told: Vec<_> = bars(&record)
            .into_iter()
            .map(|bar| format!("{} {} {}", bar.name, bar.class, bar.note))
            .collect();
        assert_eq!(
            told,
            [
                "boot other 9.5 s, cloned",
                "fork other ",
                "layer nbd forked forked; built in 4.2 s",
                "step load wrong ",
            ]
        );
    }
}
