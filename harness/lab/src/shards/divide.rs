//! Divides scenarios into shards. Pure: the same scenarios, times and number of shards give the same division, in whatever order
//! the scenarios come and on whatever host.
//!
//! Scenarios with a checkpoint of layers in common are kept together as a group, since one shard then builds those layers once. A
//! group that is longer than total / N is divided into groups that have more layers in common, in the end into single scenarios, and what
//! comes of that is packed up to the limit again. Groups are given out longest first, each to the shard that has least to do until then.
//! While the longest shard is longer than the best possible by more than a tenth, its longest group is halved in the same way and all
//! is given out anew. Of all divisions that were tried the one counts whose longest shard is shortest.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::time::Duration;

/// By which part a shard may be longer than it must for the sake of groups.
const TOLERATED: u32 = 10;

/// A scenario as it is divided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Item {
    /// The scenario's identifier: no other has it.
    pub(crate) id: String,
    /// What it is expected to take.
    pub(crate) seconds: Duration,
    /// The checkpoints of layers that it passes, lowest first. Only whether they are equal counts.
    pub(crate) checkpoints: Vec<String>,
}

/// Scenarios that stay in one shard.
type Group<'a> = Vec<&'a Item>;

/// The identifiers of each shard's scenarios, in order; each scenario is in one. There may be empty shards.
pub(crate) fn divide(items: &[Item], count: usize) -> Vec<Vec<String>> {
    let count = count.max(1);
    let mut sorted: Group<'_> = items.iter().collect();
    sorted.sort_by(|one, other| one.id.cmp(&other.id));
    let mean = length(&sorted) / u32::try_from(count).unwrap_or(u32::MAX);
    let longest = sorted.iter().map(|item| item.seconds).max();
    let ideal = mean.max(longest.unwrap_or_default());
    let tolerated = ideal + ideal / TOLERATED;
    let mut groups = groups_within(mean, &sorted, 0);
    let mut best: Option<(Duration, Vec<Vec<Group<'_>>>)> = None;
    loop {
        let shards = give_out(&groups, count);
        let Some(longest) = shards.iter().max_by_key(|shard| sum(shard)) else {
            break;
        };
        let seconds = sum(longest);
        let divisible = longest.iter().filter(|group| group.len() > 1);
        let halved = divisible.max_by_key(|group| (length(group), Reverse(&group[0].id)));
        let halved = halved.filter(|group| seconds > tolerated && !length(group).is_zero());
        let halved = halved.cloned();
        if best.as_ref().is_none_or(|(least, _)| seconds < *least) {
            best = Some((seconds, shards));
        }
        let Some(halved) = halved else {
            break;
        };
        groups.retain(|group| *group != halved);
        groups.extend(groups_within(length(&halved) / 2, &halved, 1));
    }
    let shards = best.map(|(_, shards)| shards).unwrap_or_default();
    let ids = |shard: Vec<Group<'_>>| {
        let items = shard.into_iter().flatten();
        let mut ids: Vec<String> = items.map(|item| item.id.clone()).collect();
        ids.sort_unstable();
        ids
    };
    shards.into_iter().map(ids).collect()
}

fn length(group: &[&Item]) -> Duration {
    group.iter().map(|item| item.seconds).sum()
}

fn sum(groups: &[Group<'_>]) -> Duration {
    groups.iter().map(|group| length(group)).sum()
}

/// Divides scenarios that have their `depth` lowest checkpoints in common, and are in order, into groups no longer than the limit.
fn groups_within<'a>(limit: Duration, items: &[&'a Item], depth: usize) -> Vec<Group<'a>> {
    if items.len() < 2 || (depth > 0 && length(items) <= limit) {
        return items.first().map(|_| items.to_vec()).into_iter().collect();
    }
    // What has no further checkpoint has nothing more in common with anything.
    let mut parts: Vec<Group<'a>> = Vec::new();
    let mut places: BTreeMap<&str, usize> = BTreeMap::new();
    for &item in items {
        let place = match item.checkpoints.get(depth) {
            Some(checkpoint) => *places.entry(checkpoint).or_insert(parts.len()),
            None => parts.len(),
        };
        if place == parts.len() {
            parts.push(Vec::new());
        }
        parts[place].push(item);
    }
    let parts = parts
        .iter()
        .flat_map(|part| groups_within(limit, part, depth + 1));
    if depth == 0 {
        return parts.collect();
    }
    let mut packed: Vec<Group<'a>> = Vec::new();
    for part in parts {
        match packed.last_mut() {
            Some(last) if length(last) + length(&part) <= limit => last.extend(part),
            _ => packed.push(part),
        }
    }
    packed
}

/// The longest group first, each to the shard that has least to do.
fn give_out<'a>(groups: &[Group<'a>], count: usize) -> Vec<Vec<Group<'a>>> {
    let mut groups = groups.to_vec();
    groups.sort_by_key(|group| (Reverse(length(group)), group.first().map(|item| &item.id)));
    let mut shards: Vec<Vec<Group<'a>>> = vec![Vec::new(); count];
    for group in groups {
        let least = shards
            .iter_mut()
            .min_by_key(|shard| (sum(shard), shard.len()));
        if let Some(shard) = least {
            shard.push(group);
        }
    }
    shards
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn item(id: &str, seconds: u64, checkpoints: &[&str]) -> Item {
        Item {
            id: id.to_owned(),
            seconds: Duration::from_secs(seconds),
            checkpoints: checkpoints.iter().map(ToString::to_string).collect(),
        }
    }

    fn shown(items: &[Item], count: usize) -> Vec<String> {
        let shards = divide(items, count).into_iter();
        shards.map(|shard| shard.join(" ")).collect()
    }

    #[test]
    fn what_shares_a_checkpoint_stays_together() {
        let items = [
            item("a", 30, &["x"]),
            item("b", 30, &["y"]),
            item("c", 30, &["x"]),
            item("d", 30, &["y"]),
        ];
        assert_eq!(shown(&items, 2), ["a c", "b d"]);
    }

    #[test]
    fn a_group_that_is_too_long_is_divided_where_its_layers_part() {
        let items = [
            item("a", 30, &["x", "xa"]),
            item("b", 30, &["x", "xb"]),
            item("c", 30, &["x", "xa"]),
            item("d", 30, &["x", "xb"]),
        ];
        assert_eq!(shown(&items, 2), ["a c", "b d"]);
        // All alike: as they come.
        let alike = ["a", "b", "c", "d"].map(|id| item(id, 30, &["x"]));
        assert_eq!(shown(&alike, 2), ["a b", "c d"]);
    }

    #[test]
    fn groups_give_way_to_balance() {
        // Three groups of the same length in two shards would be 2 to 1.
        let items: Vec<Item> = ["a", "b", "c"]
            .iter()
            .flat_map(|group| (0..4).map(move |n| item(&format!("{group}{n}"), 10, &[group])))
            .collect();
        assert_eq!(shown(&items, 2), ["a0 a1 b0 b1 b2 b3", "a2 a3 c0 c1 c2 c3"]);
    }

    #[test]
    fn fresh_scenarios_have_nothing_in_common_and_shards_may_be_empty() {
        let items = [item("a", 10, &[]), item("b", 40, &[])];
        assert_eq!(shown(&items, 3), ["b", "a", ""]);
        assert_eq!(shown(&[], 2), ["", ""]);
        let nothing = ["a", "b", "c", "d"].map(|id| item(id, 0, &[]));
        assert_eq!(shown(&nothing, 2), ["a c", "b d"]);
    }

    fn suites() -> impl Strategy<Value = Vec<Item>> {
        let one = (0_u64..300, prop::collection::vec(0_u8..3, 0..4));
        let name = |(number, (seconds, path)): (usize, (u64, Vec<u8>))| {
            // As in a plan, a checkpoint says all that led to it.
            let path = (1..=path.len()).map(|end| format!("{:?}", &path[..end]));
            Item {
                id: format!("s{number}"),
                seconds: Duration::from_secs(seconds),
                checkpoints: path.collect(),
            }
        };
        prop::collection::vec(one, 0..60)
            .prop_map(move |all| all.into_iter().enumerate().map(name).collect())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(512))]

        #[test]
        fn each_scenario_is_in_one_shard_in_whatever_order_they_come(
            (items, shuffled) in suites().prop_flat_map(|items| (Just(items.clone()), Just(items).prop_shuffle())),
            count in 1_usize..9,
        ) {
            let shards = divide(&items, count);
            prop_assert_eq!(shards.len(), count);
            prop_assert_eq!(&divide(&shuffled, count), &shards);
            let mut all: Vec<&String> = shards.iter().flatten().collect();
            all.sort();
            let mut ids: Vec<&String> = items.iter().map(|item| &item.id).collect();
            ids.sort();
            prop_assert_eq!(all, ids);
        }

        #[test]
        fn no_shard_is_much_longer_than_it_must_be(items in suites(), count in 1_usize..9) {
            let seconds: BTreeMap<&str, Duration> =
                items.iter().map(|item| (item.id.as_str(), item.seconds)).collect();
            let shards = divide(&items, count);
            let longest = shards.iter().map(|shard| shard.iter().map(|id| seconds[id.as_str()]).sum::<Duration>());
            let mean = seconds.values().sum::<Duration>() / u32::try_from(count).unwrap();
            let least = mean.max(seconds.values().max().copied().unwrap_or_default());
            // The longest first are at most a third above the best, which is at most the mean and one more.
            prop_assert!(longest.max().unwrap_or_default() <= least * 2);
        }
    }
}
