//! The command line.

use std::path::PathBuf;

use clap::error::ErrorKind;
use clap::{Parser, Subcommand, ValueEnum};
use sanlab_plan::{Arch, ByteSize};
use sanlab_vm::AcceleratorWish;

use crate::commands::history::{self, HistoryCommand};
use crate::commands::{
    capture, compare, console, cp, exec, explore, fleets, gdb, init, kubernetes, merge, pack, plan,
    report, run, slurm, step, up,
};
use crate::lab::bundle;
use crate::{Exit, LabError, commands};

/// Integration tests of shared-storage stacks on QEMU guests.
///
/// A scenario file describes guests, the storage layers between them and the steps to take; `sanlab run` boots the
/// guests, builds the layers, takes the steps and reports what happened.
#[derive(Debug, Parser)]
#[command(name = "sanlab", version, after_help = EXIT_CODES)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

const EXIT_CODES: &str = "\
Exit codes: 0 everything passed or failed as is known, and nothing regressed, 1 a scenario failed or a comparison regressed, \
2 wrong input or usage, 3 the lab could not do its part, 4 interrupted, 5 a comparison is undecided, 6 a side of a comparison failed.

Environment: SANLAB_CACHE store of images, checkpoints and what else is kept (default ~/.cache/sanlab), \
SANLAB_CACHE_LIMIT its maximum size (default 16GiB), SANLAB_RUNTIME folder of running fleets \
(default $TMPDIR/sanlab-UID, without TMPDIR in /tmp, or in /var/tmp where /tmp lies in memory), SANLAB_RUNS folder of records (default target/sanlab/runs), SANLAB_HISTORY history file \
(default .sanlab/history.sqlite), SANLAB_SEED seed of random moments, SANLAB_REQUIRE_KVM=1 an error where guests would not run on KVM, SANLAB_LOG tracing filter such as `sanlab_vm=debug`.";

#[derive(Debug, Subcommand)]
enum Command {
    /// Show what this host has, what it lacks and what installs that
    Doctor,
    /// Make a folder to start from: a scenario that runs, and a crate with tests if wanted
    Init(init::Arguments),
    /// Print the JSON Schema of scenario files, for editors
    Schema,
    /// Build guest images
    #[command(subcommand)]
    Image(ImageCommand),
    /// List or shrink the store of images, checkpoints and what else is kept
    #[command(subcommand)]
    Cache(CacheCommand),
    /// Check scenario files without starting a guest
    Check {
        /// Scenario files
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
    },
    /// Show what a run would do: nodes, memory, layers, steps, accelerator; or into which shards scenarios are divided
    Plan(plan::Arguments),
    /// Run scenarios one after another and keep a record of each
    Run(run::Arguments),
    /// Make one run folder of those of the shards of `run --shard`
    ///
    /// A scenario of which no record is there, or none that can be read, is `broken` in it, and in every report of it. Of several records of the
    /// same run, as of a shard that was started again, the one counts that came to its end last. Exit codes: as of one run of
    /// everything; 3 where something is missing.
    Merge(merge::Arguments),
    /// Print a Job that runs scenarios on Kubernetes in shards, for `kubectl apply --server-side -f -`
    ///
    /// An Indexed Job, each index of which runs one shard, and a `ConfigMap` with the scenario files and their bases. Arguments of `sanlab run` stand behind
    /// `--`. Nothing is started. A pod in which a scenario
    /// failed is not started again; one in which the lab could not do its part is, once; one that lost its node is, always.
    Kubernetes(kubernetes::Arguments),
    /// Run scenarios as a job array of Slurm, a task for each shard, and merge what the tasks leave
    ///
    /// The program, the scenarios and the folder of --shared must be at the same place on all nodes. Arguments of `sanlab run` stand behind
    /// `--`. Tasks of nodes that are lost are queued again by Slurm. Ctrl-C cancels the job. Exit codes: as of `sanlab merge`; 4 after Ctrl-C, 3 where the job had to be cancelled.
    Slurm(slurm::Arguments),
    /// Bring a scenario's fleet up and leave it up, to look inside; or one that was saved when its run had failed
    ///
    /// The layers are brought up, or forked from a checkpoint; steps are taken only as far as --until says. The fleet ends with `sanlab down`, when its time is over,
    /// or with the host; never with this terminal.
    Up(up::Arguments),
    /// Make one file of a fleet that `run --save-on-failure` has saved, to be brought up elsewhere
    ///
    /// The guests' memory, devices and disks are in it, the images that they run from, the scenario and the record: whoever gets the file needs the same
    /// version of QEMU and no image. It takes what was in the guests' memory along, whatever that is.
    Pack(pack::Arguments),
    /// Open a shell in a guest of a fleet that is up
    Shell(exec::ShellArguments),
    /// Run a command in guests of a fleet that is up; its exit code is the command's
    Exec(exec::Arguments),
    /// Copy a file into a guest of a fleet that is up, or out of it
    Cp(cp::Arguments),
    /// Follow the serial console of a guest of a fleet that is up
    Console(console::Arguments),
    /// Capture what a network card of a fleet that is up sends and receives, in pcap's format
    Capture(capture::Arguments),
    /// Debug the kernel of a guest of a fleet that is up
    ///
    /// The guest stands still while gdb has it, and goes on with gdb's `continue`, or when gdb has quit. Steps and commands that wait for it may run into their
    /// deadlines meanwhile. The exit code is gdb's.
    Gdb(gdb::Arguments),
    /// Take a step of a scenario now, on a fleet that is up
    ///
    /// The file may be the fleet's own scenario, edited meanwhile, or another one with the same nodes and layers. What fails then ends nothing. Exit codes: 0 done,
    /// 1 failed.
    Step(step::Arguments),
    /// List the fleets that are up
    Ls,
    /// End fleets that are up
    Down(fleets::DownArguments),
    /// Compare two variants of a scenario, run in turns until the verdict is clear
    ///
    /// Sides A and B are the scenario with other values for some keys: keys of the file (`mtu`, `layer.striped.chunk`,
    /// `step.LABEL.bs`), code under test (`file./usr/bin/nbdkit=FILE`, `deb=FILE`, `module=FILE`, `kernel=FILE`; for some nodes
    /// only `module.x86_64=FILE`, `file.vix0:/usr/bin/nbdkit=FILE`), `qemu` (folder with QEMU's programs). Pairs
    /// run as AB and BA in turn; the first pair is checked in full, unless a run has passed these checks before. The comparison ends when
    /// nothing is undecided, or when a regression is certain. Exit codes: 0 no change or improved, 1 regressed, 5 undecided, 6 a side failed.
    ///
    /// With `--aa N` the scenario is compared with itself, to measure this host's noise floor: later comparisons on
    /// this class of host report no smaller difference. Exit code: 0.
    Compare(compare::Arguments),
    /// Search moments and values at which a scenario fails
    ///
    /// Forks the scenario many times, side by side. What varies: keys with a range in its `[vary]` or in --vary, the moment of each
    /// crash that has `within`, and the seed. Ends at the first failure, and looks for the least that still fails: without the
    /// faults that it does not need, between the values beyond which it passes; then prints the command that repeats it. Exit
    /// codes: 0 nothing failed but in a known way, 1 something failed.
    Explore(explore::Arguments),
    /// Make verdicts, trends and pages from records
    ///
    /// Exit codes: 1 a comparison, or the runs against the baseline, regressed; 5 undecided; else 0. Trends never change the
    /// exit code.
    Report(report::Arguments),
    /// Import, export or list the figures of all runs
    History {
        /// History file [default: `$SANLAB_HISTORY`, else .sanlab/history.sqlite]
        #[arg(long, global = true, value_name = "FILE")]
        history: Option<PathBuf>,
        #[command(subcommand)]
        command: HistoryCommand,
    },
}

#[derive(Debug, Subcommand)]
enum ImageCommand {
    /// Build the images that the store lacks
    Build {
        /// Manifests under `images/` or of sanlab's own, without `.toml` [default: all]
        #[arg(value_name = "NAME")]
        names: Vec<String>,
        /// Build for this architecture only
        #[arg(long, value_parser = parse_arch)]
        arch: Option<Arch>,
        /// Use the package versions that the mirror offers now, and write them to the lock file
        #[arg(long)]
        update_lock: bool,
    },
    /// Unpack the headers of an image's kernel, to compile modules for its guests
    ///
    /// `make -C DIR/x86_64 M=$PWD modules` compiles the module in the current folder; add `CC=gcc` where the host has another
    /// compiler than the kernel's.
    Headers {
        /// Manifest under `images/` or of sanlab's own, without `.toml`, such as `debian-bookworm`
        #[arg(value_name = "NAME")]
        name: String,
        /// A folder that does not exist yet; it gets a folder for each architecture
        #[arg(value_name = "DIR")]
        folder: PathBuf,
        /// Of the kernel for this architecture only
        #[arg(long, value_parser = parse_arch)]
        arch: Option<Arch>,
    },
    /// Fetch the debug symbols of an image's kernel into the store
    ///
    /// Call traces of runs that fail then have file and line, and `sanlab gdb` takes them. The distribution's package is large: some 850 MB
    /// for each architecture, of which the kernel and the modules that guests have are kept.
    Symbols {
        /// Manifest under `images/` or of sanlab's own, without `.toml`, such as `debian-bookworm`
        #[arg(value_name = "NAME")]
        name: String,
        /// Of the kernel for this architecture only
        #[arg(long, value_parser = parse_arch)]
        arch: Option<Arch>,
    },
}

#[derive(Debug, Subcommand)]
enum CacheCommand {
    /// List all entries: kind, key, apparent size and size on disk, age, last use
    Ls,
    /// Remove the least recently used entries until the rest fits; entries in use stay
    Gc {
        /// Size that may remain on disk, such as `10GiB` [default: `$SANLAB_CACHE_LIMIT`, else 16GiB]
        #[arg(long, value_name = "SIZE", value_parser = ByteSize::parse)]
        max_size: Option<ByteSize>,
    },
}

/// Accelerator.
#[derive(Debug, Clone, Copy, Default, ValueEnum)]
pub(crate) enum Accel {
    /// KVM if a probe guest runs on it, else TCG
    #[default]
    Auto,
    /// Hardware virtualisation; an error where it does not work
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
    /// The arguments of the `sanlab run` of each of so many shards, to which another command hands `words` on.
    pub(crate) fn run_of_shards(
        shards: u16,
        words: &[String],
    ) -> Result<run::Arguments, clap::Error> {
        let shard = format!("1/{shards}");
        let begin = ["sanlab", "run", "--keep-going", "--shard", &shard].map(str::to_owned);
        match Self::try_parse_from(begin.iter().chain(words))?.command {
            Command::Run(arguments) => Ok(arguments),
            _ => Err(clap::Error::new(ErrorKind::InvalidSubcommand)),
        }
    }

    /// Does what the command line says; call within a tokio runtime.
    pub async fn execute(self) -> Result<Exit, LabError> {
        bundle::offer_counter();
        match self.command {
            Command::Doctor => commands::doctor::execute().await,
            Command::Init(arguments) => init::execute(&arguments),
            Command::Schema => commands::schema::execute(),
            Command::Image(ImageCommand::Build {
                names,
                arch,
                update_lock,
            }) => commands::image::build(&names, arch, update_lock).await,
            Command::Image(ImageCommand::Headers { name, folder, arch }) => {
                commands::image::headers(&name, arch, folder).await
            }
            Command::Image(ImageCommand::Symbols { name, arch }) => {
                commands::image::symbols(&name, arch).await
            }
            Command::Cache(CacheCommand::Ls) => commands::cache::list(),
            Command::Cache(CacheCommand::Gc { max_size }) => commands::cache::collect(max_size),
            Command::Check { files } => commands::check::execute(&files),
            Command::Plan(arguments) => plan::execute(&arguments).await,
            Command::Run(arguments) => Box::pin(run::execute(arguments)).await,
            Command::Merge(arguments) => merge::execute(&arguments),
            Command::Kubernetes(arguments) => kubernetes::execute(&arguments),
            Command::Slurm(arguments) => slurm::execute(&arguments).await,
            Command::Up(arguments) => Box::pin(up::execute(arguments)).await,
            Command::Pack(arguments) => commands::pack::execute(arguments).await,
            Command::Shell(arguments) => exec::shell(arguments).await,
            Command::Exec(arguments) => exec::execute(arguments).await,
            Command::Cp(arguments) => cp::execute(arguments).await,
            Command::Capture(arguments) => capture::execute(arguments).await,
            Command::Gdb(arguments) => gdb::execute(arguments).await,
            Command::Step(arguments) => step::execute(arguments).await,
            Command::Console(arguments) => console::execute(arguments).await,
            Command::Ls => fleets::list().await,
            Command::Down(arguments) => fleets::down(arguments).await,
            Command::Compare(arguments) => compare::execute(arguments).await,
            Command::Explore(arguments) => explore::execute(arguments).await,
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
