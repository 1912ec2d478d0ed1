//! A suite as it is divided: which scenarios each shard has, and what they are expected to take.

use std::path::Path;
use std::time::Duration;

use sanlab_plan::Plan;

use super::ShardError;
use super::divide::{Item, divide};
use super::durations::{Durations, Expected, expected};

/// The shards of a suite.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Division {
    /// Every scenario, sorted by its identifier.
    pub(crate) suite: Vec<Expected>,
    /// The identifiers of each shard's scenarios, in order.
    pub(crate) shards: Vec<Vec<String>>,
}

impl Division {
    /// Divides plans into so many shards, by a file of durations if there is one: by nothing else, so that all hosts divide alike.
    pub(crate) fn of<'a>(
        plans: impl IntoIterator<Item = &'a Plan>,
        durations: Option<&Path>,
        count: usize,
    ) -> Result<Self, ShardError> {
        let durations = durations.map(Durations::read).transpose()?;
        let suite = expected(plans, durations.as_ref());
        let items: Vec<Item> = suite.iter().map(|one| one.item.clone()).collect();
        let shards = divide(&items, count);
        Ok(Self { suite, shards })
    }

    /// What is expected of a scenario of the suite.
    pub(crate) fn expected(&self, id: &str) -> Option<&Expected> {
        let place = self
            .suite
            .binary_search_by(|one| one.item.id.as_str().cmp(id));
        place.ok().map(|place| &self.suite[place])
    }

    /// What a shard is expected to take.
    pub(crate) fn seconds(&self, shard: &[String]) -> Duration {
        let expected = shard.iter().filter_map(|id| self.expected(id));
        expected.map(|one| one.item.seconds).sum()
    }
}
