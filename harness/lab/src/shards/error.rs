//! Errors of dividing and merging. All of them are of the input.

use std::path::PathBuf;

/// Why scenarios cannot be divided, or run folders not merged.
#[derive(Debug, thiserror::Error)]
pub enum ShardError {
    /// A file of durations that is none.
    #[error(
        "read the durations {}: {why}\n  help: `sanlab history durations FILE` writes one; without --durations they are estimated",
        .path.display()
    )]
    Durations {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// No folder is one of a shard.
    #[error(
        "find the run folder of a shard{}\n  help: `sanlab run --shard I/N` makes them; records of runs that are no shards are put together by `sanlab report DIR...`",
        .told.iter().flat_map(|line| ["\n  ", line]).collect::<String>()
    )]
    NothingToMerge {
        /// What was looked at instead.
        told: Vec<String>,
    },
    /// Two folders are not of the same suite, or do not divide it alike.
    #[error(
        "merge {} and {}: {difference}\n  help: give all shards the same scenario files, the same --set, --matrix and --repeat, and the same --durations file or none; `sanlab report DIR...` puts the records together as they are",
        .first.display(),
        .second.display()
    )]
    OtherDivision {
        /// One.
        first: PathBuf,
        /// The other.
        second: PathBuf,
        /// The first difference.
        difference: String,
    },
    /// What is merged is mixed with nothing else.
    #[error(
        "make the run folder {}: it is there and not empty\n  help: name another, or, to complete a merged one, name it among those to be merged too",
        .path.display()
    )]
    NotEmpty {
        /// The folder.
        path: PathBuf,
    },
}
