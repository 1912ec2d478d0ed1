//! The command line and the terminal, and what the tests under `tests/` need of both.
//!
//! The last stage of the pipeline. It reads scenario files, makes sure that images exist, hands plans to the engine
//! (`sanlab-run`), shows the engine's events and keeps its records. Only `terminal` writes to the terminal.
//!
//! ```no_run
//! # async fn example() -> Result<(), sanlab::LabError> {
//! let lab = sanlab::Lab::find(std::path::Path::new("."))?;
//! let plan = sanlab::scenario::load(std::path::Path::new("scenarios/nbd-striped-ocfs2/mount.toml"))?;
//! let (events, _nobody_listens) = tokio::sync::mpsc::unbounded_channel();
//! let (record, path) = lab.run(&plan, sanlab::RunRequest::new(&lab.new_run()?), events).await?;
//! assert_eq!(record.scenario, "nbd_striped_ocfs2/mount");
//! assert!(path.ends_with("mount/record.json"));
//! # Ok(())
//! # }
//! ```

mod commands;
mod compare;
mod error;
mod exit;
mod explore;
mod kubernetes;
mod lab;
mod pack;
mod shards;
mod slurm;
mod terminal;
mod trials;
mod up;

pub use commands::cli::Cli;
pub use error::LabError;
pub use exit::Exit;
pub use kubernetes::KubernetesError;
pub use lab::runs::RunFolder;
pub use lab::{Lab, RunRequest, run_on, scenario};
pub use pack::error::PackError;
pub use shards::ShardError;
pub use terminal::summary::{scenario_table, summary_table};
pub use terminal::watch::run as watch;
pub use terminal::{Terminal, complain};
pub use trials::{test_main, trials};
