//! `sanlab kubernetes`: scenarios as a Job, each index of which runs a shard.

use std::path::PathBuf;

use crate::commands::cli::Cli;
use crate::kubernetes::files::{self, Files};
use crate::kubernetes::job::{Job, Source};
use crate::kubernetes::size::Size;
use crate::kubernetes::{names, yaml};
use crate::shards::share::MOST;
use crate::terminal::print;
use crate::terminal::quantity::count;
use crate::{Exit, KubernetesError, Lab, LabError};

/// The image that `ci/oci` makes.
const IMAGE: &str = concat!("sanlab:", env!("CARGO_PKG_VERSION"));

/// What the command line says of it.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Scenario files
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// How many shards: pods, side by side
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=MOST))]
    shards: u16,
    /// Name of the Job and of the `ConfigMap`
    #[arg(long, default_value = "sanlab", value_parser = names::job)]
    name: String,
    /// Container image with the lab, such as `ci/oci` makes
    #[arg(long, default_value = IMAGE, value_parser = names::image)]
    image: String,
    /// Resource of a device plugin that brings /dev/kvm, such as `devices.kubevirt.io/kvm`; without it guests run on TCG, without any privilege
    #[arg(long, value_name = "RESOURCE", value_parser = names::resource)]
    kvm_resource: Option<String>,
    /// `PersistentVolumeClaim` with a store that has the guests' images (`SANLAB_CACHE`) [default: those in the container image]
    #[arg(long, value_name = "CLAIM", value_parser = names::claim)]
    store_claim: Option<String>,
    /// `PersistentVolumeClaim` that all pods can write, for their run folders (`SANLAB_RUNS`)
    #[arg(long, value_name = "CLAIM", default_value = "sanlab-runs", value_parser = names::claim)]
    runs_claim: String,
    /// `PersistentVolumeClaim` with the whole project, in place of a `ConfigMap` with the scenario files
    #[arg(long, value_name = "CLAIM", value_parser = names::claim)]
    checkout: Option<String>,
    /// CPUs of each pod [default: as many as the guests of the largest fleet have, from 2 to 4]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=1024))]
    cpus: Option<u64>,
    /// Arguments of `sanlab run` for all shards, behind `--`
    #[arg(last = true, value_name = "ARGUMENT OF RUN")]
    run: Vec<String>,
}

/// Prints the objects.
pub(crate) fn execute(arguments: &Arguments) -> Result<Exit, LabError> {
    let mut run = match arguments.kvm_resource {
        Some(_) => Vec::new(),
        None => ["--accel", "tcg"].map(str::to_owned).to_vec(),
    };
    run.extend_from_slice(&arguments.run);
    let files = arguments.files.iter();
    let files = files.map(|file| file.display().to_string());
    let words: Vec<String> = run
        .iter()
        .cloned()
        .chain(["--".to_owned()])
        .chain(files)
        .collect();
    // Refuses what the pods would refuse.
    let checked = Cli::run_of_shards(arguments.shards, &words).unwrap_or_else(|error| error.exit());
    let mut all = checked.files().iter();
    if let Some(file) = all.find(|file| !arguments.files.contains(file)) {
        return Err(KubernetesError::Behind(file.clone()).into());
    }
    let Some(loaded) = checked.load_divided()? else {
        return Ok(Exit::BadInput);
    };
    let lab = Lab::find(&std::env::current_dir()?)?;
    let project = lab.project();
    let mut size = Size::of(loaded.iter().map(|(plan, _)| plan));
    size.cpus = arguments.cpus.unwrap_or(size.cpus);
    let (mut given, named) = files::in_pods(project, &run)?;
    given.push("--".to_owned());
    for file in &arguments.files {
        given.push(files::below(project, file)?);
    }
    let source = if let Some(claim) = &arguments.checkout {
        Source::Checkout(claim.clone())
    } else {
        for (plan, given) in &loaded {
            files::refuse_others(plan, given)?;
        }
        let mut carried = Files::default();
        let settings = checked.changes().given()?.settings;
        for file in &arguments.files {
            carried.add_scenario(project, file, &settings)?;
        }
        for file in &named {
            carried.add(project, file)?;
        }
        Source::Files(carried)
    };
    let job = Job {
        name: arguments.name.clone(),
        shards: arguments.shards,
        image: arguments.image.clone(),
        kvm_resource: arguments.kvm_resource.clone(),
        store_claim: arguments.store_claim.clone(),
        runs_claim: arguments.runs_claim.clone(),
        source,
        arguments: given,
        size,
    };
    let objects = job.objects()?;
    let scenarios = count(loaded.len(), "scenario");
    let shards = count(usize::from(arguments.shards), "shard");
    let name = &arguments.name;
    print(&format!(
        "# {scenarios} in {shards}; records: /{name}/UID of the Job/INDEX on the volume of {}, for `sanlab merge`\n",
        arguments.runs_claim
    ))?;
    for object in objects {
        print("---\n")?;
        print(&yaml::document(&object))?;
    }
    Ok(Exit::Success)
}
