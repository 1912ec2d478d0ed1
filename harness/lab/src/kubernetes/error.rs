//! Errors of making a Job. All of them are of the input.

use std::path::PathBuf;

/// Why scenarios cannot be made a Job.
#[derive(Debug, thiserror::Error)]
pub enum KubernetesError {
    /// A file that has no place below the folder in which the pods run.
    #[error(
        "give {} to the pods: {why}\n  help: pods see the scenarios below one folder, the project's; call sanlab in a folder above all of them",
        .path.display()
    )]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// A scenario file among the arguments of `sanlab run`, which pods are given as they are.
    #[error(
        "give {} to the pods: it stands behind `--`\n  help: name scenario files before `--`, and options of `sanlab run` behind it",
        .0.display()
    )]
    Behind(PathBuf),
    /// Code under test, which is on this host alone.
    #[error(
        "give {artefact} of scenario {scenario} to the pods: a ConfigMap takes the scenario files only\n  help: have a volume with the whole project, and name its claim: --checkout CLAIM"
    )]
    Artefact {
        /// The scenario's identifier.
        scenario: String,
        /// What it is.
        artefact: String,
    },
    /// QEMU's programs of this host.
    #[error(
        "give the QEMU in {} to the pods: a ConfigMap takes the scenario files only\n  help: have a volume with the whole project and that folder, at the same path, and name its claim: --checkout CLAIM",
        .0.display()
    )]
    Qemu(PathBuf),
    /// More than Kubernetes takes.
    #[error(
        "put {files} into a ConfigMap: they have {bytes} bytes, and it takes {most}\n  help: give fewer scenarios to each Job, or have a volume with the whole project, and name its claim: --checkout CLAIM"
    )]
    TooLarge {
        /// How many, in words.
        files: String,
        /// What they take.
        bytes: usize,
        /// What a `ConfigMap` takes.
        most: usize,
    },
}
