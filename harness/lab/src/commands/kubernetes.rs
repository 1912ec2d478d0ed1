//! `sanlab kubernetes`: scenarios as a Job, each index of which runs a shard.

use std::path::{Path, PathBuf};

use crate::commands::changes::Changes;
use crate::commands::run;
use crate::kubernetes::files::{self, Files};
use crate::kubernetes::job::{Job, Source};
use crate::kubernetes::size::Size;
use crate::kubernetes::{names, yaml};
use crate::shards::division::Division;
use crate::shards::share::MOST;
use crate::terminal::quantity::count;
use crate::terminal::{Terminal, print};
use crate::{Exit, Lab, LabError};

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
    /// Run each scenario N times
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=9999))]
    repeat: Option<u32>,
    /// How long scenarios took, from `history durations`; those that are not in it are estimated
    #[arg(long, value_name = "FILE")]
    durations: Option<PathBuf>,
    /// Run every combination of some values, as in `run`; repeatable
    #[arg(long, value_name = "KEY=VALUE,VALUE...")]
    matrix: Vec<String>,
    /// Use this value in place of the file's, as in `run`; repeatable
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
}

/// Prints the objects.
pub(crate) fn execute(arguments: &Arguments) -> Result<Exit, LabError> {
    let changes = Changes::of_settings(&arguments.set);
    let axes = run::axes(&arguments.matrix)?;
    let Some(loaded) = run::load(&arguments.files, &changes, &axes, &mut Terminal::new())? else {
        return Ok(Exit::BadInput);
    };
    let plans: Vec<_> = loaded.into_iter().map(|(plan, _)| plan).collect();
    let durations = arguments.durations.as_deref();
    // Refuses what the pods would refuse.
    let division = Division::of(&plans, durations, usize::from(arguments.shards))?;
    let lab = Lab::find(&std::env::current_dir()?)?;
    let project = lab.project();
    let mut size = Size::of(&plans);
    size.cpus = arguments.cpus.unwrap_or(size.cpus);
    let given = given(arguments, project)?;
    let source = if let Some(claim) = &arguments.checkout {
        Source::Checkout(claim.clone())
    } else {
        for plan in &plans {
            files::refuse_artefacts(plan)?;
        }
        let mut carried = Files::default();
        let settings = changes.given()?.settings;
        for file in &arguments.files {
            carried.add_scenario(project, file, &settings)?;
        }
        if let Some(file) = durations {
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
    let scenarios = count(division.suite.len(), "scenario");
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

/// What `sanlab run` is given in each pod, in the project's folder.
fn given(arguments: &Arguments, project: &Path) -> Result<Vec<String>, LabError> {
    let mut given = Vec::new();
    let mut option = |name: &str, value: &str| given.extend([name.to_owned(), value.to_owned()]);
    if let Some(repeat) = arguments.repeat {
        option("--repeat", &repeat.to_string());
    }
    if let Some(file) = &arguments.durations {
        option("--durations", &files::below(project, file)?);
    }
    for axis in &arguments.matrix {
        option("--matrix", axis);
    }
    for setting in &arguments.set {
        option("--set", setting);
    }
    given.push("--".to_owned());
    for file in &arguments.files {
        given.push(files::below(project, file)?);
    }
    Ok(given)
}
