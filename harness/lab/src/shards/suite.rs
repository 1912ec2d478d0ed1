//! What a shard's run folder says of the whole: `suite.json`, from which `sanlab merge` knows what must be there. It is written before the
//! first guest starts. Pure, but for the file.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path};

use fs_err as fs;
use sanlab_report::durable;
use serde::{Deserialize, Serialize};

use super::division::Division;
use super::share::Share;
use crate::lab::runs::attempt_name;

/// The file's name.
pub(crate) const FILE: &str = "suite.json";

/// Version of the file's shape.
const FORMAT: u32 = 1;

/// As `run --repeat` has it.
const MOST_ATTEMPTS: u32 = 9999;

/// A divided suite, and the runs of shards whose records a folder has: one in a shard's own, several in a merged one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Suite {
    format: u32,
    /// How many times each scenario is run.
    pub(crate) attempts: u32,
    /// The identifiers of each shard's scenarios, in order.
    pub(crate) shards: Vec<Vec<String>>,
    /// Sorted.
    pub(crate) runs: Vec<ShardRun>,
}

/// A run of a shard. There may be several of one, where it was started again.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ShardRun {
    /// Which shard, from 1.
    pub(crate) shard: usize,
    /// The name of its run folder.
    pub(crate) run: String,
    /// When it began, seconds since 1970.
    pub(crate) started: f64,
}

/// One run that a suite asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Wanted<'a> {
    /// The scenario's identifier.
    pub(crate) id: &'a str,
    /// From 1.
    pub(crate) attempt: u32,
    /// Which shard runs it, from 1.
    pub(crate) shard: usize,
}

impl Wanted<'_> {
    /// Its folder below the run's.
    pub(crate) fn folder(&self) -> String {
        attempt_name(self.id, self.attempt)
    }
}

impl Suite {
    /// A division, of which one run of one shard is known.
    pub(crate) fn of_shard(division: &Division, attempts: u32, run: ShardRun) -> Self {
        Self {
            format: FORMAT,
            attempts,
            shards: division.shards.clone(),
            runs: vec![run],
        }
    }

    /// Reads a folder's; else why not.
    pub(crate) fn read(folder: &Path) -> Result<Self, String> {
        let path = folder.join(FILE);
        let text = fs::read_to_string(&path).map_err(|error| error.to_string())?;
        let wrong = |why: String| format!("{}: {why}", path.display());
        let suite: Self = serde_json::from_str(&text).map_err(|error| wrong(error.to_string()))?;
        if suite.format != FORMAT {
            let found = suite.format;
            return Err(wrong(format!(
                "it is of format {found}: this sanlab reads format {FORMAT}"
            )));
        }
        if !(1..=MOST_ATTEMPTS).contains(&suite.attempts) {
            let attempts = suite.attempts;
            return Err(wrong(format!(
                "{attempts} attempts are none that `run --repeat` makes"
            )));
        }
        // What another host wrote must not lead out of a run folder.
        let leads_out = |id: &&String| {
            let mut parts = Path::new(id).components();
            id.is_empty() || !parts.all(|part| matches!(part, Component::Normal(_)))
        };
        if let Some(id) = suite.shards.iter().flatten().find(leads_out) {
            return Err(wrong(format!("`{id}` is no scenario's identifier")));
        }
        if let Some(twice) = suite.twice() {
            return Err(wrong(format!("`{twice}` is in two shards")));
        }
        Ok(suite)
    }

    fn twice(&self) -> Option<&String> {
        let mut seen = BTreeSet::new();
        self.shards.iter().flatten().find(|id| !seen.insert(*id))
    }

    /// Writes the file, unless it says the same already.
    pub(crate) fn write(&self, folder: &Path) -> std::io::Result<()> {
        // Names and numbers: nothing in it can fail to serialise.
        let text = serde_json::to_string_pretty(self).expect("a suite is plain data") + "\n";
        let path = folder.join(FILE);
        if path.exists() && fs::read_to_string(&path)? == text {
            return Ok(());
        }
        durable::write(&path, &text)
    }

    /// Every run that must be there, by scenario and attempt.
    pub(crate) fn wanted(&self) -> Vec<Wanted<'_>> {
        let mut wanted = Vec::new();
        for (shard, ids) in (1..).zip(&self.shards) {
            for id in ids {
                let attempts = 1..=self.attempts;
                wanted.extend(attempts.map(|attempt| Wanted { id, attempt, shard }));
            }
        }
        wanted.sort_unstable();
        wanted
    }

    /// Shard I of those that there are.
    pub(crate) fn share(&self, number: usize) -> Share {
        Share {
            number,
            of: self.shards.len(),
        }
    }

    /// Takes in the runs that a folder of the same suite knows.
    pub(crate) fn add(&mut self, other: &Self) {
        self.runs.extend(other.runs.iter().cloned());
        self.runs.sort_by(|one, other| {
            let key = |run: &ShardRun| (run.shard, run.run.clone());
            key(one)
                .cmp(&key(other))
                .then(one.started.total_cmp(&other.started))
        });
        self.runs.dedup();
    }

    /// How another suite differs from this one: `None` if it is the same, divided alike.
    pub(crate) fn difference(&self, other: &Self) -> Option<String> {
        if self.attempts != other.attempts {
            let (one, other) = (self.attempts, other.attempts);
            return Some(format!(
                "--repeat {one} in the first, --repeat {other} in the second"
            ));
        }
        if self.shards.len() != other.shards.len() {
            let (one, other) = (self.shards.len(), other.shards.len());
            return Some(format!("{one} shards in the first, {other} in the second"));
        }
        let (mine, theirs) = (self.places(), other.places());
        let ids: BTreeSet<&&str> = mine.keys().chain(theirs.keys()).collect();
        let place = |shard: Option<&usize>| match shard {
            Some(shard) => format!("in shard {}", self.share(*shard)),
            None => "in no shard".to_owned(),
        };
        ids.into_iter().find_map(|id| {
            let (mine, theirs) = (mine.get(*id), theirs.get(*id));
            let (first, second) = (place(mine), place(theirs));
            (mine != theirs).then(|| format!("the first has {id} {first}, the second {second}"))
        })
    }

    /// The shard of each scenario.
    fn places(&self) -> BTreeMap<&str, usize> {
        let shards = (1..).zip(&self.shards);
        let places = shards.flat_map(|(shard, ids)| ids.iter().map(move |id| (id.as_str(), shard)));
        places.collect()
    }
}
