//! Shards as tables. Pure.

use std::time::Duration;

use sanlab_report::table::Table;

use super::division::Division;
use super::merge::{Merged, is_missing};
use super::share::Share;
use crate::terminal::quantity::{count, took};

/// Every scenario with its shard and what it is expected to take, then each shard, then all.
pub(crate) fn shards_table(division: &Division) -> String {
    let Division { suite, shards } = division;
    let of = shards.len();
    let mut scenarios = Table::new(&["shard", "scenario", ">seconds", "from"]);
    let mut sums = Table::new(&["shard", ">scenarios", ">seconds"]);
    for (number, shard) in (1..).zip(shards) {
        let share = Share { number, of }.to_string();
        for expected in shard.iter().filter_map(|id| division.expected(id)) {
            let from = if expected.known {
                "earlier runs"
            } else {
                "estimate"
            };
            let seconds = whole(expected.item.seconds);
            scenarios.row([&share, &expected.item.id, &seconds, from]);
        }
        let seconds = whole(division.seconds(shard));
        sums.row([share, shard.len().to_string(), seconds]);
    }
    let known = suite.iter().filter(|one| one.known).count();
    let total: Duration = suite.iter().map(|one| one.item.seconds).sum();
    format!(
        "{}\n{}\n{} in {}, {} on one host; {known} by earlier runs, {} by estimate\n",
        scenarios.render(0),
        sums.render(0),
        count(suite.len(), "scenario"),
        count(of, "shard"),
        took(total.as_secs_f64()),
        suite.len() - known
    )
}

/// Each shard with its runs, and how many records of it are there and are missing.
pub(crate) fn merged_table(merged: &Merged) -> String {
    let Merged { suite, runs, .. } = merged;
    let mut table = Table::new(&["shard", ">records", ">missing", "run folders"]);
    for number in 1..=suite.shards.len() {
        let of_shard = || runs.iter().filter(|run| run.shard == number);
        let missing = of_shard().filter(|run| is_missing(&run.record.outcome));
        let missing = missing.count();
        let names = suite.runs.iter().filter(|run| run.shard == number);
        let names: Vec<&str> = names.map(|run| run.run.as_str()).collect();
        table.row([
            suite.share(number).to_string(),
            (of_shard().count() - missing).to_string(),
            missing.to_string(),
            if names.is_empty() {
                "not there".to_owned()
            } else {
                names.join(", ")
            },
        ]);
    }
    table.render(0)
}

fn whole(time: Duration) -> String {
    format!("{:.0}", time.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shards::divide::Item;
    use crate::shards::durations::Expected;

    #[test]
    fn shards_have_their_scenarios_and_what_they_are_expected_to_take() {
        let one = |id: &str, seconds, known| Expected {
            item: Item {
                id: id.to_owned(),
                seconds: Duration::from_millis(seconds),
                checkpoints: Vec::new(),
            },
            known,
        };
        let division = Division {
            suite: vec![
                one("faults/paused", 17_400, true),
                one("nbd/mount[mtu=1500]", 41_000, false),
                one("nbd/mount[mtu=9000]", 41_000, false),
            ],
            shards: vec![
                vec!["nbd/mount[mtu=1500]".to_owned()],
                vec!["faults/paused".to_owned(), "nbd/mount[mtu=9000]".to_owned()],
                Vec::new(),
            ],
        };
        insta::assert_snapshot!(shards_table(&division));
    }
}
