//! The command line.

use std::path::PathBuf;

use clap::{Parser, Subcommand, ValueEnum};
use sanlab_plan::{Arch, ByteSize};
use sanlab_vm::AcceleratorWish;

use crate::commands::history::{self, HistoryCommand};
use crate::commands::{compare, report, run};
use crate::{Exit, LabError, commands};

/// Integration tests of shared-storage stacks on QEMU guests.
///
/// A scenario file describes guests, the storage layers between them and the steps to take; `sanlab run` boots the
/// guests, builds the layers, takes the steps and says what happened.
#[derive(Debug, Parser)]
#[command(name = "sanlab", version, after_help = EXIT_CODES)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

const EXIT_CODES: &str = "\
Exit codes: 0 everything passed and nothing that was compared got worse, 1 a scenario failed or a comparison regressed, \
2 wrong input or usage, 3 the lab could not do its part, 4 interrupted, 5 a comparison is undecided.

Environment: SANLAB_CACHE is the store of images, the programs in them, templates and checkpoints (default ~/.cache/sanlab), \
SANLAB_CACHE_LIMIT the size that it is kept below, SANLAB_RUNTIME the folder of running fleets \
(default $TMPDIR/sanlab-UID), SANLAB_RUNS where runs are kept (default target/sanlab/runs), SANLAB_HISTORY the file of all \
runs' figures (default target/sanlab/history.sqlite), SANLAB_SEED what random moments are drawn from, SANLAB_LOG a tracing filter such as `sanlab_vm=debug`.";

#[derive(Debug, Subcommand)]
enum Command {
    /// Say what this host has, what it lacks and what installs that
    Doctor,
    /// Guest images
    #[command(subcommand)]
    Image(ImageCommand),
    /// The store of images, the programs in them, templates and checkpoints
    #[command(subcommand)]
    Cache(CacheCommand),
    /// Check scenario files without starting a guest
    Check {
        /// Scenario files
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
    },
    /// Show what a scenario would do: nodes, memory, layers, steps, accelerator
    Plan {
        /// Scenario file
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// What shall execute the guests' instructions
        #[arg(long, value_enum, default_value_t)]
        accel: Accel,
    },
    /// Run scenarios one after another, and keep a record of each
    Run(run::Arguments),
    /// Run two sides of a scenario in turns until it is clear what they differ by
    ///
    /// A and B are the scenario with settings in place of what its file says: keys of the file by their way through it
    /// (`mtu`, `layer.striped.chunk`, `step.LABEL.bs`), `kernel` or `kernel.x86` (a vmlinux or bzImage of yours), `qemu` (a
    /// folder with its programs). Each pair is run as AB or BA in turn; the first is run whole, checked, and discarded. It
    /// ends when nothing is undecided, or a regression stands after twice the fewest pairs. Exit codes: 0 no change or
    /// improved, 1 regressed, 5 undecided.
    ///
    /// With `--aa N` the scenario is compared with itself instead, to measure this host's noise floor: later comparisons on
    /// this class of host report no smaller difference than that. Exit code: 0.
    Compare(compare::Arguments),
    /// Verdicts, trends and pages from records that are there
    ///
    /// Exit codes: 1 a comparison, or the runs against the baseline, regressed; 5 undecided; else 0. Trends are for people to
    /// look at and never change the exit code.
    Report(report::Arguments),
    /// All runs ever, in one file
    History {
        /// The file; without it the environment's, else target/sanlab/history.sqlite
        #[arg(long, global = true, value_name = "FILE")]
        history: Option<PathBuf>,
        #[command(subcommand)]
        command: HistoryCommand,
    },
}

#[derive(Debug, Subcommand)]
enum ImageCommand {
    /// Build what the store does not have yet
    Build {
        /// Only this architecture
        #[arg(long, value_parser = parse_arch)]
        arch: Option<Arch>,
        /// Take the packages that the mirror offers now, and write them to the lock file
        #[arg(long)]
        update_lock: bool,
    },
}

#[derive(Debug, Subcommand)]
enum CacheCommand {
    /// List everything: kind, key, apparent size and size on disk, age, last use
    Ls,
    /// Remove what was not used for longest, until the rest fits; what is in use stays
    Gc {
        /// The most that may be left on disk, such as `10GiB`; without it that of the environment, else 16GiB
        #[arg(long, value_name = "SIZE", value_parser = ByteSize::parse)]
        max_size: Option<ByteSize>,
    },
}

/// What shall execute the guests' instructions.
#[derive(Debug, Clone, Copy, Default, ValueEnum)]
pub(crate) enum Accel {
    /// KVM where a probe guest really runs on it, else TCG
    #[default]
    Auto,
    /// The host's processor; an error where it does not work
    Kvm,
    /// QEMU's translator
    Tcg,
}

impl From<Accel> for AcceleratorWish {
    fn from(accel: Accel) -> Self {
        match accel {
            Accel::Auto => Self::Auto,
            Accel::Kvm => Self::Kvm,
            Accel::Tcg => Self::Tcg,
        }
    }
}

impl Cli {
    /// Does what the command line says; call within a tokio runtime.
    pub async fn execute(self) -> Result<Exit, LabError> {
        match self.command {
            Command::Doctor => commands::doctor::execute().await,
            Command::Image(ImageCommand::Build { arch, update_lock }) => {
                commands::image::build(arch, update_lock).await
            }
            Command::Cache(CacheCommand::Ls) => commands::cache::list(),
            Command::Cache(CacheCommand::Gc { max_size }) => commands::cache::collect(max_size),
            Command::Check { files } => commands::check::execute(&files),
            Command::Plan { file, accel } => commands::plan::execute(&file, accel.into()).await,
            Command::Run(arguments) => run::execute(arguments).await,
            Command::Compare(arguments) => compare::execute(arguments).await,
            Command::Report(arguments) => report::execute(&arguments),
            Command::History {
                history: file,
                command,
            } => history::execute(command, file),
        }
    }
}

fn parse_arch(text: &str) -> Result<Arch, String> {
    Arch::ALL
        .into_iter()
        .find(|arch| arch.as_str() == text)
        .ok_or_else(|| {
            let known: Vec<&str> = Arch::ALL.iter().map(|arch| arch.as_str()).collect();
            format!("known are {}", known.join(", "))
        })
}

#[cfg(test)]
mod tests {
    use super::Cli;
    use clap::{CommandFactory, Parser};

    #[test]
    fn the_definition_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn an_unknown_architecture_is_a_usage_error_that_names_the_known_ones() {
        let error =
            Cli::try_parse_from(["sanlab", "image", "build", "--arch", "arm64"]).unwrap_err();
        assert_eq!(error.exit_code(), 2);
        assert!(
            error.to_string().contains("known are x86, x86_64"),
            "{error}"
        );
    }

    #[test]
    fn a_size_and_a_number_of_repetitions_are_checked_before_anything_runs() {
        let refused = |arguments: &[&str]| {
            let all = ["sanlab"].iter().chain(arguments);
            let error = Cli::try_parse_from(all).unwrap_err();
            assert_eq!(error.exit_code(), 2);
            error.to_string()
        };
        let error = refused(&["cache", "gc", "--max-size", "10GB"]);
        assert!(error.contains("such as `1GiB`"), "{error}");
        let error = refused(&["run", "--repeat", "0", "mount.toml"]);
        assert!(error.contains("1..=9999"), "{error}");
    }
}
