//! `sanlab plan`: what scenarios would do, before anything runs, or into which shards they are divided.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};

use sanlab_fleet::DEFAULT_MTU;
use sanlab_plan::{Arch, Joins, NicModel, NodeName, Plan, Tier, names};
use sanlab_record::EventKind;
use sanlab_report::table::Table;
use sanlab_vm::{Accelerator, AcceleratorWish, ProbeGuest};

use crate::commands::cli::Accel;
use crate::lab::changes::Changes;
use crate::lab::{scenario, suite};
use crate::shards::division::Division;
use crate::shards::share::MOST;
use crate::shards::tables::shards_table;
use crate::terminal::{Terminal, print};
use crate::{Exit, LabError};

/// What the command line says of it.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Scenario files
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Accelerator
    #[arg(long, value_enum, default_value_t)]
    accel: Accel,
    /// Instead, divide the scenarios into N shards, as `run --shard I/N` does with the same files and options
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=MOST))]
    shards: Option<u16>,
    /// How long scenarios took, from `history durations`; those that are not in it are estimated
    #[arg(long, value_name = "FILE", requires = "shards")]
    durations: Option<PathBuf>,
    /// Divide every combination of some values, as in `run`; repeatable
    #[arg(long, value_name = "KEY=VALUE,VALUE...", requires = "shards")]
    matrix: Vec<String>,
    #[command(flatten)]
    changes: Changes,
}

/// Shows what is asked for.
pub(crate) async fn execute(arguments: &Arguments) -> Result<Exit, LabError> {
    let changes = &arguments.changes;
    if let Some(count) = arguments.shards {
        let durations = arguments.durations.as_deref();
        return divided(
            &arguments.files,
            changes,
            &arguments.matrix,
            count,
            durations,
        );
    }
    for file in &arguments.files {
        plan(file, arguments.accel.into(), changes).await?;
    }
    Ok(Exit::Success)
}

/// Shows the shards: which scenarios, how long they are expected to take, and whence that is known.
fn divided(
    files: &[PathBuf],
    changes: &Changes,
    matrix: &[String],
    count: u16,
    durations: Option<&Path>,
) -> Result<Exit, LabError> {
    let Some(loaded) = suite::load(files, changes, &suite::axes(matrix)?, &mut Terminal::new())?
    else {
        return Ok(Exit::BadInput);
    };
    let plans = loaded.iter().map(|(plan, _)| plan);
    let division = Division::of(plans, durations, usize::from(count))?;
    print(&shards_table(&division))?;
    Ok(Exit::Success)
}

/// Shows nodes, memory, layers, steps and the accelerator that this host would use.
async fn plan(
    file: &Path,
    accelerator: AcceleratorWish,
    changes: &Changes,
) -> Result<(), LabError> {
    let given = changes.given()?;
    let plan = scenario::load_with(file, &given.settings)?;
    print(&describe(&plan))?;
    let guests = kernels(&plan);
    let mut accelerators = Vec::new();
    match sanlab_fleet::accelerators(accelerator, given.qemu.as_deref(), &guests).await {
        Ok(chosen) => {
            for (arch, choice) in chosen {
                accelerators.push((arch, choice.accelerator));
                print(&format!("  {arch} guests on {choice}\n"))?;
            }
        }
        Err(error) => print(&format!("  guests: failed to {error}\n"))?,
    }
    if sanlab_run::counts_instructions(&plan) {
        for line in not_counted(&plan, &accelerators).await {
            print(&format!("  {line}\n"))?;
        }
    }
    Ok(())
}

/// Whose instructions are not counted, and why, a line for each reason.
async fn not_counted(plan: &Plan, accelerators: &[(Arch, Accelerator)]) -> Vec<String> {
    let mut reasons: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (arch, accelerator) in accelerators {
        let program = sanlab_vm::qemu_binary(*arch, *accelerator);
        let plugin = sanlab_vm::counter_plugin(*accelerator, &program, *arch).await;
        for node in plan.booted().filter(|node| node.hardware.arch == *arch) {
            let counter = plugin.clone();
            let counter = counter.and_then(|plugin| plugin.for_cpus(node.hardware.cpus));
            if let Err(reason) = counter {
                let names = reasons.entry(reason.to_string()).or_default();
                names.push(node.name.to_string());
            }
        }
    }
    let told = reasons
        .into_iter()
        .map(|(reason, nodes)| EventKind::NotCounted { nodes, reason }.to_string());
    told.collect()
}

/// The usual kernels of a plan's guests: nothing has been built that would tell which they are.
fn kernels(plan: &Plan) -> BTreeMap<Arch, ProbeGuest> {
    let archs = plan.nodes.iter().map(|node| node.hardware.arch);
    archs.map(|arch| (arch, arch.into())).collect()
}

fn describe(plan: &Plan) -> String {
    let mut text = format!("{} ({})\n\n", plan.name, plan.source.display());
    let mut facts = |word: &str, fact: &str| {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "  {word:<8} {fact}");
    };
    let others = plan.nodes.iter().filter(|node| node.image.is_some());
    let others = others.map(|node| format!("; {} of {}", plan.image_of(node), node.name));
    let others: String = others.collect();
    facts("image", &format!("{}{others}", plan.image));
    let several = plan.networks.len() > 1;
    for network in &plan.networks {
        let mtu = network.mtu.map_or_else(
            || format!("MTU {DEFAULT_MTU}, the lab's default"),
            |mtu| format!("MTU {mtu}"),
        );
        let which = if several {
            format!("{}, {}: ", network.name, network.subnet)
        } else {
            String::new()
        };
        let joined = if network.on.len() == plan.nodes.len() {
            String::new()
        } else {
            format!("; joins {}", names(&network.on))
        };
        facts("network", &format!("{which}{mtu}{joined}"));
        if !network.capture.is_empty() {
            facts("capture", &names(&network.capture));
        }
    }
    let memory = |late: bool| -> u64 {
        let counted = plan
            .booted()
            .filter(|node| late || node.joins == Joins::AtStart);
        counted.map(|node| node.hardware.memory.mib()).sum()
    };
    let cpus: u32 = plan
        .booted()
        .map(|node| u32::from(node.hardware.cpus))
        .sum();
    let late = if memory(false) == memory(true) {
        String::new()
    } else {
        format!(", {} MiB of it at the start", memory(false))
    };
    facts(
        "guests",
        &format!(
            "{} with {} MiB{late}, {cpus} CPUs",
            plan.booted().count(),
            memory(true)
        ),
    );
    let origin = if plan.fresh {
        "fresh: built from nothing in every run, and not kept"
    } else {
        "forked from the longest part of it that an earlier run has kept; else built, and kept"
    };
    facts("origin", origin);
    match plan.tier {
        Tier::Test => facts("tier", "test"),
        Tier::Nightly => facts("tier", "nightly"),
    }
    if let Some(known) = &plan.known {
        facts(
            "known",
            &format!(
                "fails with `{}`: {} ({})",
                known.pattern, known.because, known.source
            ),
        );
    }

    for (key, values) in &plan.matrix {
        facts("matrix", &format!("{key}: {}", values.join(", ")));
    }
    for artefact in &plan.artefacts {
        let who = everybody(plan, &artefact.on);
        facts("test", &format!("{artefact} on {who}"));
    }

    let mut nodes = Table::new(&[">no", "node", "arch", "NIC", ">RAM", ">CPUs", "joins"]);
    for node in &plan.nodes {
        let nic = match node.nic {
            NicModel::VirtioNet => "virtio-net",
            NicModel::E1000 => "e1000",
        };
        let joins = match node.joins {
            Joins::AtStart => "at the start",
            Joins::Later => "later",
        };
        nodes.row([
            node.number.to_string(),
            node.name.to_string(),
            node.hardware.arch.to_string(),
            nic.to_owned(),
            node.hardware.memory.to_string(),
            node.hardware.cpus.to_string(),
            joins.to_owned(),
        ]);
    }
    let mut layers = Table::new(&[">no", "layer", "what", "on"]);
    for (number, (placed, title)) in plan.layers.iter().zip(titles(plan)).enumerate() {
        layers.row([
            (number + 1).to_string(),
            placed.layer.kind().to_string(),
            title,
            everybody(plan, &placed.on),
        ]);
    }
    let mut steps = Table::new(&[">no", "step", ">deadline", "checkpoint", "what"]);
    for (number, step) in plan.steps.iter().enumerate() {
        let deadline = format!("{} s", step.deadline.as_secs());
        steps.row([
            (number + 1).to_string(),
            step.label.to_string(),
            deadline,
            step.checkpoint
                .as_ref()
                .map_or_else(|| "-".to_owned(), ToString::to_string),
            step.describe(),
        ]);
    }
    for table in [nodes, layers, steps]
        .iter()
        .filter(|table| !table.is_empty())
    {
        text.push('\n');
        text.push_str(&table.render(2));
    }
    text.push('\n');
    for warning in &plan.warnings {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "  wrong on purpose: {warning}");
    }
    text
}

fn titles(plan: &Plan) -> Vec<String> {
    let stack = sanlab_stack::compose(plan);
    stack.layers().iter().map(|layer| layer.title()).collect()
}

/// Nodes by name, unless they are all.
fn everybody(plan: &Plan, on: &[NodeName]) -> String {
    if on.len() == plan.nodes.len() {
        return "all".to_owned();
    }
    names(on)
}
