//! Which runs are shown in detail: a folder may hold hundreds.

use std::collections::{BTreeMap, BTreeSet};

use sanlab_record::Outcome;

use crate::load::LoadedRun;

/// Places in the list: every run that failed, was broken or skipped, and the latest of the others, which passed or failed as is
/// known, of each scenario with its settings; of more than `most` the latest, and the former before the latter.
pub(super) fn in_detail(runs: &[LoadedRun], most: usize) -> BTreeSet<usize> {
    let mut latest = BTreeMap::new();
    let mut grave = Vec::new();
    for (number, run) in runs.iter().enumerate() {
        match run.record.outcome {
            Outcome::Passed | Outcome::KnownFailure { .. } => {
                latest.insert((&run.record.scenario, &run.record.settings), number);
            }
            Outcome::Failed(_) | Outcome::Broken(_) | Outcome::Skipped { .. } => grave.push(number),
        }
    }
    let mut latest: Vec<usize> = latest.into_values().collect();
    latest.sort_unstable();
    let latest_first = grave.into_iter().rev().chain(latest.into_iter().rev());
    latest_first.take(most).collect()
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use sanlab_record::{Failure, FailureKind, KnownBy, Outcome, RunRecord};

    use super::in_detail;
    use crate::load::LoadedRun;

    fn run(scenario: &str, outcome: Outcome) -> LoadedRun {
        let text = include_str!("../../../../../fixtures/records/format-1.json");
        let mut record = RunRecord::from_json(text).unwrap();
        record.scenario = scenario.to_owned();
        record.outcome = outcome;
        LoadedRun {
            path: PathBuf::new(),
            record,
        }
    }

    #[test]
    fn a_known_failure_is_no_graver_than_a_pass() {
        let known = Outcome::KnownFailure {
            failure: Failure::new("step", FailureKind::Differences, "a differs from b"),
            known: KnownBy {
                because: String::new(),
                source: String::new(),
            },
        };
        let runs = [
            run("a", known.clone()),
            run("b", known.clone()),
            run("a", known),
            run("c", Outcome::Passed),
        ];
        assert_eq!(Vec::from_iter(in_detail(&runs, 9)), [1, 2, 3]);
        assert_eq!(Vec::from_iter(in_detail(&runs, 2)), [2, 3]);
    }

    #[test]
    fn what_did_not_pass_and_the_latest_of_each() {
        let skipped = Outcome::Skipped {
            reason: String::new(),
        };
        let runs = [
            run("a", Outcome::Passed),
            run("b", skipped),
            run("a", Outcome::Passed),
            run("c", Outcome::Passed),
        ];
        assert_eq!(Vec::from_iter(in_detail(&runs, 9)), [1, 2, 3]);
        assert_eq!(Vec::from_iter(in_detail(&runs, 2)), [1, 3]);
    }
}
