//! Errors of the command line.

use std::io;
use std::path::PathBuf;

use sanlab_fleet::FleetError;
use sanlab_image::ImageError;
use sanlab_report::comparison::CompareError;

use crate::Exit;
use crate::kubernetes::KubernetesError;
use crate::pack::error::PackError;
use crate::shards::ShardError;

/// Why the lab could not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum LabError {
    /// A scenario with mistakes.
    #[error(transparent)]
    Rejected(#[from] sanlab_plan::Diagnostics),
    /// A scenario file that cannot be read.
    #[error(transparent)]
    Unreadable(io::Error),
    /// `compare` has sides and nothing to compare.
    #[error("compare which scenario? write `sanlab compare FILE --a KEY=VALUE --b KEY=VALUE`")]
    NoScenario,
    /// A run that was to narrow a failure, and that the lab could not do: nothing follows from it.
    #[error("narrow a failure: run {number} is broken: {why}; record: {}", .path.display())]
    NarrowingBroken {
        /// Its number in the exploration.
        number: u32,
        /// In which phase, and what happened.
        why: String,
        /// Its record.
        path: PathBuf,
    },
    /// `init` writes over nothing.
    #[error("make a new folder at {}: it is there and not empty; name another", .0.display())]
    NotEmpty(PathBuf),
    /// A scenario names an image that has no manifest.
    #[error(
        "scenario {scenario} asks for image `{image}`: neither does {} exist, nor has sanlab such an image itself, but {}; the path \
         of a kernel has a `/`, such as `./{image}`",
        .path.display(),
        .known.join(", ")
    )]
    NoManifest {
        /// The scenario's identifier.
        scenario: String,
        /// The image's name.
        image: String,
        /// Where the manifest was looked for.
        path: PathBuf,
        /// The names of those that the program has.
        known: Vec<String>,
    },
    /// A kernel is taken from an image that has none for these nodes.
    #[error(
        "scenario {scenario}: the image `{image}` has no kernel for any of the nodes that are to boot it; see the sections `[arch.*]` of its manifest"
    )]
    KernelForNobody {
        /// The scenario's identifier.
        scenario: String,
        /// The image.
        image: String,
    },
    /// Programs that the host lacks.
    #[error("this host lacks {}; install with: {command}", .missing.join(", "))]
    HostLacks {
        /// The programs.
        missing: Vec<String>,
        /// The one command that installs them.
        command: String,
    },
    /// The folder of a run could not be made.
    #[error("failed to create a run folder in {}: {source}; set SANLAB_RUNS to a folder that can be written", .path.display())]
    RunFolder {
        /// Where.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A seed that is no number.
    #[error("SANLAB_SEED is `{text}`, which is no whole number")]
    Seed {
        /// What stands there.
        text: String,
    },
    /// Its fleet would be saved with another text than it was made from.
    #[error(
        "{} or one of its bases was changed after it had been read: run it again",
        .0.display()
    )]
    ScenarioChanged(PathBuf),
    /// A `KEY=VALUE` of the command line, or of a saved fleet.
    #[error("`{text}` cannot be set: {why}")]
    Setting {
        /// What was given.
        text: String,
        /// What is wrong with it, and the way out.
        why: String,
    },
    /// A file of artefacts with a mistake.
    #[error("{}:{line}:{column}: {why}", .path.display())]
    ArtefactFile {
        /// The file.
        path: PathBuf,
        /// From 1.
        line: usize,
        /// From 1, in characters.
        column: usize,
        /// What is wrong with it.
        why: String,
    },
    /// A matrix of the command line.
    #[error("the matrix `{text}` cannot be run: {why}")]
    Matrix {
        /// What was given.
        text: String,
        /// What is wrong with it, and the way out.
        why: String,
    },
    /// A scenario whose runs have no figures.
    #[error(
        "scenario {scenario} measures nothing that could be compared; give it a `throughput` step, or a `dd` or `write` step that does not run in the background (a `write` without `interval`)"
    )]
    MeasuresNothing {
        /// The scenario's identifier.
        scenario: String,
    },
    /// A history that is not there.
    #[error("there is no history {}; `sanlab history import DIR` makes one", .path.display())]
    NoHistory {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// A history without a run that went through.
    #[error(
        "the history {} does not know how long any scenario took; `sanlab history import DIR` takes runs in, and adds it to those that are there",
        .path.display()
    )]
    NoDurations {
        /// The history.
        path: PathBuf,
    },
    /// There is nothing to look into.
    #[error("no fleet is up; `sanlab up FILE` starts one")]
    NoFleet,
    /// It does not say which.
    #[error("several fleets are up: {}; say which with `--fleet NAME`", .names.join(", "))]
    WhichFleet {
        /// Their names.
        names: Vec<String>,
    },
    /// None of that name.
    #[error("no fleet `{name}` is up: {hint}")]
    UnknownFleet {
        /// What was written.
        name: String,
        /// What may have been meant.
        hint: String,
    },
    /// One of that name is there.
    #[error(
        "the fleet {name} is up already; `sanlab down {name}` ends it, and `sanlab up --name NAME` starts another beside it"
    )]
    FleetIsUp {
        /// Its name.
        name: String,
    },
    /// No debugger.
    #[error("run gdb: {0}; install it, or connect another one: `sanlab gdb --wait NODE`")]
    NoGdb(#[source] std::io::Error),
    /// A step that the scenario does not have.
    #[error("the scenario has no step `{label}`: {hint}")]
    UnknownStep {
        /// What was written.
        label: String,
        /// What may have been meant.
        hint: String,
    },
    /// A checkpoint that the scenario does not make.
    #[error("the scenario makes no checkpoint `{name}`: {hint}")]
    UnknownCheckpoint {
        /// What was written.
        name: String,
        /// What may have been meant.
        hint: String,
    },
    /// A fleet's supervisor does not say what it should.
    #[error("the fleet {name} does not answer: {why}")]
    FleetSilent {
        /// The fleet.
        name: String,
        /// What was seen.
        why: String,
    },
    /// A fleet could not do what was asked.
    #[error("{reason}")]
    FleetRefused {
        /// Why.
        reason: String,
        /// What was asked for is not there.
        mistaken: bool,
    },
    /// One terminal for several nodes.
    #[error("--tty is for one node: run `sanlab exec --tty NODE` for each")]
    OneTerminal,
    /// A file that could not be copied.
    #[error("failed to copy: {why}")]
    Copy {
        /// Why, and the way out.
        why: String,
    },
    /// What a supervisor needs to be cleaned up after.
    #[error("failed to {0}")]
    Janitor(Box<sanlab_vm::VmError>),
    /// Records, comparisons, history, reports.
    #[error("failed to {0}")]
    Report(#[from] sanlab_report::ReportError),
    /// Scenarios that cannot be divided into shards, or run folders that cannot be merged.
    #[error("failed to {0}")]
    Shard(#[from] ShardError),
    /// Scenarios that cannot be made a Job of Kubernetes.
    #[error("failed to {0}")]
    Kubernetes(#[from] KubernetesError),
    /// Slurm does not do what is asked of it.
    #[error("failed to {0}")]
    Slurm(String),
    /// A saved fleet that cannot be packed, or brought up.
    #[error(transparent)]
    Pack(#[from] PackError),
    /// Figures of two sides that cannot be compared.
    #[error("failed to {0}")]
    Compare(#[from] CompareError),
    /// Noise floors are kept by class of host, and the runs name none.
    #[error("failed to keep the noise floors: the records do not say on which processor they ran")]
    UnknownHost,
    /// A record could not be written as JSON.
    #[error("failed to write the record: {0}")]
    Record(serde_json::Error),
    /// Reading or writing; the message names the path.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// Images.
    #[error("failed to {0}")]
    Image(#[from] ImageError),
    /// Fleets.
    #[error("failed to {0}")]
    Fleet(Box<FleetError>),
    /// A signal came.
    #[error("interrupted")]
    Interrupted,
}

impl From<FleetError> for LabError {
    fn from(error: FleetError) -> Self {
        Self::Fleet(Box::new(error))
    }
}

impl LabError {
    /// How the program ends on it.
    pub fn exit(&self) -> Exit {
        match self {
            Self::Rejected(_)
            | Self::Unreadable(_)
            | Self::NotEmpty(_)
            | Self::NoScenario
            | Self::NoManifest { .. }
            | Self::KernelForNobody { .. }
            | Self::Seed { .. }
            | Self::ScenarioChanged(_)
            | Self::Setting { .. }
            | Self::Matrix { .. }
            | Self::ArtefactFile { .. }
            | Self::MeasuresNothing { .. }
            | Self::NoHistory { .. }
            | Self::NoDurations { .. }
            | Self::NoFleet
            | Self::WhichFleet { .. }
            | Self::UnknownFleet { .. }
            | Self::FleetIsUp { .. }
            | Self::UnknownStep { .. }
            | Self::UnknownCheckpoint { .. }
            | Self::FleetRefused { mistaken: true, .. }
            | Self::OneTerminal
            | Self::Copy { .. }
            | Self::Compare(_)
            | Self::Shard(_)
            | Self::Kubernetes(_)
            | Self::Image(
                ImageError::Manifest { .. }
                | ImageError::Artefact { .. }
                | ImageError::FolderExists(_)
                | ImageError::Headers { .. }
                | ImageError::Symbols { .. }
                | ImageError::Kernel { .. }
                | ImageError::LockText { .. }
                | ImageError::Limit { .. },
            ) => Exit::BadInput,
            Self::Pack(error) if !error.is_the_hosts() => Exit::BadInput,
            Self::Report(error) if !error.is_the_hosts() => Exit::BadInput,
            Self::Interrupted => Exit::Interrupted,
            _ => Exit::Broken,
        }
    }

    /// As a person reads it: mistakes of a scenario with the text they are in, everything else with its causes.
    pub fn show(&self, coloured: bool) -> String {
        if let Self::Rejected(diagnostics) = self {
            return diagnostics.render(coloured);
        }
        let mut text = format!("error: {self}");
        let mut cause = std::error::Error::source(self);
        while let Some(error) = cause {
            let words = error.to_string();
            // Many errors already carry their cause's words.
            if !text.contains(&words) {
                text.push_str("\n  because: ");
                text.push_str(&words);
            }
            cause = error.source();
        }
        text
    }
}
