//! How long scenarios are expected to take: what they took before, from a file that all shards are given; of those that it does not know,
//! an estimate.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use fs_err as fs;
use sanlab_plan::Plan;
use sanlab_report::statistics::median;
use sanlab_run::layer_checkpoints;
use serde::{Deserialize, Serialize};

use super::ShardError;
use super::divide::Item;
use super::estimate::estimate;

/// Version of the file's shape.
const FORMAT: u32 = 1;

/// A file of durations.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Durations {
    format: u32,
    /// By scenario.
    seconds: BTreeMap<String, f64>,
}

/// A scenario with what it is expected to take.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Expected {
    pub(crate) item: Item,
    /// It took so long before.
    pub(crate) known: bool,
}

impl Durations {
    /// Those that a history knows.
    pub(crate) const fn of(seconds: BTreeMap<String, f64>) -> Self {
        Self {
            format: FORMAT,
            seconds,
        }
    }

    /// How many scenarios it knows.
    pub(crate) fn len(&self) -> usize {
        self.seconds.len()
    }

    /// The text of the file: a line for each scenario, to be committed.
    pub(crate) fn text(&self) -> String {
        let tenths = |seconds: &f64| (seconds * 10.0).round() / 10.0;
        let rounded = self.seconds.iter();
        let rounded = rounded.map(|(id, seconds)| (id.clone(), tenths(seconds)));
        // A map of numbers: nothing in it can fail to serialise.
        let text = serde_json::to_string_pretty(&Self::of(rounded.collect()));
        text.expect("names and numbers are plain data") + "\n"
    }

    /// Reads a file.
    pub(crate) fn read(path: &Path) -> Result<Self, ShardError> {
        let wrong = |why: String| ShardError::Durations {
            path: path.to_owned(),
            why,
        };
        let text = fs::read_to_string(path).map_err(|error| wrong(error.to_string()))?;
        let read: Self = serde_json::from_str(&text).map_err(|error| wrong(error.to_string()))?;
        if read.format != FORMAT {
            let found = read.format;
            return Err(wrong(format!(
                "it is of format {found}: this sanlab reads format {FORMAT}"
            )));
        }
        let is_time = |seconds: &f64| Duration::try_from_secs_f64(*seconds).is_ok();
        if let Some((id, seconds)) = read.seconds.iter().find(|(_, time)| !is_time(time)) {
            return Err(wrong(format!("{id}: {seconds} is no number of seconds")));
        }
        Ok(read)
    }
}

/// What scenarios are expected to take, sorted by their identifiers. Estimates are stretched to fit: by the median of what the known
/// scenarios took by their own estimates.
pub(crate) fn expected<'a>(
    plans: impl IntoIterator<Item = &'a Plan>,
    durations: Option<&Durations>,
) -> Vec<Expected> {
    let mut plans: Vec<&Plan> = plans.into_iter().collect();
    plans.sort_by(|one, other| one.id.cmp(&other.id));
    let known = |plan: &Plan| durations.and_then(|all| all.seconds.get(&plan.id).copied());
    let ratios: Vec<f64> = plans
        .iter()
        .filter_map(|plan| Some(known(plan)? / estimate(plan)))
        .collect();
    let stretch = median(&ratios).unwrap_or(1.0);
    let one = |plan: &Plan| {
        let known = known(plan);
        let seconds = known.unwrap_or_else(|| estimate(plan) * stretch);
        Expected {
            item: Item {
                id: plan.id.clone(),
                // Whole milliseconds: sums must not depend on their order.
                seconds: Duration::try_from_secs_f64((seconds * 1e3).round() / 1e3)
                    .unwrap_or_default(),
                checkpoints: layer_checkpoints(plan),
            },
            known: known.is_some(),
        }
    };
    plans.into_iter().map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shards::tests::plan;

    #[test]
    fn what_is_known_counts_and_stretches_the_estimates_of_the_rest() {
        let plans = [plan("c"), plan("a"), plan("b")];
        let durations = Durations::of(BTreeMap::from([("a".to_owned(), 70.04)]));
        let all = expected(&plans, Some(&durations));
        let shown = all.iter().map(|one| {
            let Expected { item, known } = one;
            format!("{} {:.2} {known}", item.id, item.seconds.as_secs_f64())
        });
        assert_eq!(
            shown.collect::<Vec<_>>(),
            ["a 70.04 true", "b 70.04 false", "c 70.04 false"]
        );
        assert_eq!(all[0].item.checkpoints, all[1].item.checkpoints);
        assert!(!expected(&plans, None)[0].known);
    }

    #[test]
    fn a_file_comes_back_and_one_that_is_none_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("durations.json");
        let durations = Durations::of(BTreeMap::from([("nbd/mount".to_owned(), 12.345)]));
        fs::write(&path, durations.text()).unwrap();
        insta::assert_snapshot!(durations.text());
        let read = Durations::read(&path).unwrap();
        assert_eq!(read.text(), durations.text());
        let refused = [
            "",
            "{\"format\": 2, \"seconds\": {}}",
            "{\"format\": 1, \"seconds\": {\"a\": -1.0}}",
            "nbd/mount 12",
        ]
        .map(|text| {
            fs::write(&path, text).unwrap();
            Durations::read(&path).unwrap_err().to_string()
        });
        let here = folder.path().display().to_string();
        insta::assert_snapshot!(refused.join("\n").replace(&here, "DIR"));
    }
}
