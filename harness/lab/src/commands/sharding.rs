//! `run --shard I/N`: which of the scenarios a run takes, and what its folder says of the whole suite.

use std::path::PathBuf;

use sanlab_plan::Plan;

use crate::lab::runs::{RunFolder, shown, since_1970};
use crate::shards::division::Division;
use crate::shards::share::Share;
use crate::shards::suite::{ShardRun, Suite};
use crate::terminal::print;
use crate::terminal::quantity::{count, took};
use crate::{Exit, LabError};

/// What the command line says of it.
#[derive(Debug, Clone, Default, clap::Args)]
pub(crate) struct Sharding {
    /// Run only share I of N of the scenarios, as `plan --shards N` shows it; `merge` makes one run folder of those of all shards
    #[arg(long, value_name = "I/N")]
    shard: Option<Share>,
    /// How long scenarios took, from `history durations`: the same file for every shard. Those that are not in it are estimated
    #[arg(long, value_name = "FILE", requires = "shard")]
    durations: Option<PathBuf>,
}

/// A run's share of a suite.
#[derive(Debug)]
pub(crate) struct Shard {
    share: Share,
    attempts: u32,
    division: Division,
}

impl Sharding {
    /// The shard that is asked for, of all that is to be run.
    pub(crate) fn of<'a>(
        &self,
        plans: impl IntoIterator<Item = &'a Plan>,
        attempts: u32,
    ) -> Result<Option<Shard>, LabError> {
        let Some(share) = self.shard else {
            return Ok(None);
        };
        Ok(Some(Shard {
            share,
            attempts,
            division: Division::of(plans, self.durations.as_deref(), share.of)?,
        }))
    }
}

impl Shard {
    fn ids(&self) -> &[String] {
        &self.division.shards[self.share.number - 1]
    }

    /// Whether it runs that scenario.
    pub(crate) fn has(&self, plan: &Plan) -> bool {
        self.ids().contains(&plan.id)
    }

    /// Writes into the run's folder what it is a share of. Returns what is told of it.
    pub(crate) fn begin(&self, run: &RunFolder) -> Result<String, LabError> {
        let own = ShardRun {
            shard: self.share.number,
            run: run.id(),
            started: since_1970().as_secs_f64(),
        };
        Suite::of_shard(&self.division, self.attempts, own).write(run.path())?;
        let seconds = |shard: &[String]| {
            let seconds = self.division.seconds(shard).as_secs_f64();
            took(seconds * f64::from(self.attempts))
        };
        Ok(format!(
            "shard {}: {} of {}, about {} of {}",
            self.share,
            self.ids().len(),
            count(self.division.suite.len(), "scenario"),
            seconds(self.ids()),
            seconds(&self.division.shards.concat())
        ))
    }

    /// A shard without scenarios leaves a folder too: it is there, and nothing of it is missing.
    pub(crate) fn run_nothing(&self, run: &RunFolder) -> Result<Exit, LabError> {
        self.begin(run)?;
        print(&format!(
            "shard {}: nothing to run: {} in {}; run folder: {}\n",
            self.share,
            count(self.division.suite.len(), "scenario"),
            count(self.share.of, "shard"),
            shown(run.path()).display()
        ))?;
        Ok(Exit::Success)
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use fs_err as fs;

    use super::*;
    use crate::shards::tests::plan;

    fn shard(text: &str, plans: &[Plan], durations: Option<&Path>) -> Shard {
        let sharding = Sharding {
            shard: Some(text.parse().unwrap()),
            durations: durations.map(Path::to_owned),
        };
        sharding.of(plans, 2).unwrap().unwrap()
    }

    #[test]
    fn each_host_takes_its_own_and_its_folder_says_of_what() {
        let plans = ["nbd/mount", "nbd/linear", "nbd/slow"].map(plan);
        let folder = tempfile::tempdir().unwrap();
        let durations = folder.path().join("durations.json");
        let text = r#"{"format": 1, "seconds": {"nbd/mount": 10.0, "nbd/linear": 10.0, "nbd/slow": 40.0}}"#;
        fs::write(&durations, text).unwrap();
        let taken = ["1/2", "2/2"].map(|text| {
            let shard = shard(text, &plans, Some(&durations));
            let taken = plans.iter().filter(|plan| shard.has(plan));
            taken.map(|plan| plan.id.as_str()).collect::<Vec<_>>()
        });
        assert_eq!(taken, [&["nbd/slow"][..], &["nbd/mount", "nbd/linear"]]);
        let run = RunFolder::create_in(folder.path()).unwrap();
        let second = shard("2/2", &plans, Some(&durations));
        assert_eq!(
            second.begin(&run).unwrap(),
            "shard 2/2: 2 of 3 scenarios, about 40.0 s of 2 min 00 s"
        );
        let suite = Suite::read(run.path()).unwrap();
        assert_eq!(suite.attempts, 2);
        assert_eq!(
            suite.shards,
            [&["nbd/slow"][..], &["nbd/linear", "nbd/mount"]]
        );
        assert_eq!(suite.runs[0].shard, 2);
        assert_eq!(suite.runs[0].run, run.id());
        assert!(Sharding::default().of(&plans, 1).unwrap().is_none());
    }
}
