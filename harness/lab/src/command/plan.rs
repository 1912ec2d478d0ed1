//! `sanlab plan`: what a scenario would do, before anything runs.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::Path;

use sanlab_fleet::DEFAULT_MTU;
use sanlab_plan::{
    Action, Arch, Awaited, CrashKind, Joins, NicModel, NodeName, Plan, Step, Sync, Target,
    Throughput, Tier,
};
use sanlab_vm::AcceleratorWish;

use crate::table::Table;
use crate::terminal::print;
use crate::{Exit, LabError, host, scenario};

/// Shows nodes, memory, layers, steps and the accelerator that this host would use.
pub(crate) async fn execute(file: &Path, accelerator: AcceleratorWish) -> Result<Exit, LabError> {
    let plan = scenario::load(file)?;
    print(&describe(&plan)?)?;
    let archs: BTreeSet<Arch> = plan.nodes.iter().map(|node| node.arch).collect();
    for arch in archs {
        let arch_of_vm = host::vm_arch(arch);
        let program = sanlab_vm::qemu_binary(arch_of_vm);
        let line = match sanlab_vm::choose_accelerator(accelerator, arch_of_vm, &program).await {
            Ok(choice) => format!("  {arch} guests on {choice}\n"),
            Err(error) => format!("  {arch} guests: failed to {error}\n"),
        };
        print(&line)?;
    }
    Ok(Exit::Success)
}

fn describe(plan: &Plan) -> Result<String, LabError> {
    let mut text = format!("{} ({})\n\n", plan.name, plan.source.display());
    let mut facts = |word: &str, fact: &str| {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "  {word:<8} {fact}");
    };
    facts("image", plan.image.as_str());
    facts(
        "network",
        &plan.network.mtu.map_or_else(
            || format!("MTU {DEFAULT_MTU}, the lab's default"),
            |mtu| format!("MTU {mtu}"),
        ),
    );
    if !plan.network.capture.is_empty() {
        facts("capture", &names(&plan.network.capture));
    }
    let memory = |late: bool| -> u64 {
        let counted = plan
            .booted()
            .filter(|node| late || node.joins == Joins::AtStart);
        counted.map(|node| node.memory.mib()).sum()
    };
    let cpus: u32 = plan.booted().map(|node| u32::from(node.cpus)).sum();
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
    match &plan.tier {
        Tier::Default => facts("tier", "default"),
        Tier::Long { reason } => facts("tier", &format!("long: {reason}")),
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
            node.arch.to_string(),
            nic.to_owned(),
            node.memory.to_string(),
            node.cpus.to_string(),
            joins.to_owned(),
        ]);
    }
    let mut layers = Table::new(&[">no", "layer", "what", "on"]);
    for (number, (storey, title)) in plan.layers.iter().zip(titles(plan)?).enumerate() {
        layers.row([
            (number + 1).to_string(),
            storey.layer.kind().to_string(),
            title,
            everybody(plan, &storey.on),
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
            action(step),
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
    Ok(text)
}

fn titles(plan: &Plan) -> Result<Vec<String>, LabError> {
    let stack = sanlab_stack::compose(plan)?;
    Ok(stack.layers().iter().map(|layer| layer.title()).collect())
}

/// Nodes by name, unless they are all.
fn everybody(plan: &Plan, on: &[NodeName]) -> String {
    if on.len() == plan.nodes.len() {
        return "all".to_owned();
    }
    names(on)
}

/// A step in a few words.
fn action(step: &Step) -> String {
    match &step.action {
        Action::Mount(mount) => match &mount.fails {
            Some(pattern) => format!("mount on {} must fail with `{pattern}`", names(&mount.on)),
            None => format!("mount on {}", names(&mount.on)),
        },
        Action::Unmount(unmount) => format!("unmount on {}", names(&unmount.on)),
        Action::Dd(dd) => {
            let background = if dd.background {
                ", in the background"
            } else {
                ""
            };
            format!(
                "dd {} x {} to {} on {}{background}",
                dd.count,
                dd.bs,
                dd.of,
                names(&dd.on)
            )
        }
        Action::Wait(wait) => format!("wait for `{}`", wait.step),
        Action::AddNode(add) if add.mount => {
            format!("boot {}, bring it into the cluster, mount", add.node)
        }
        Action::AddNode(add) => format!("boot {}, bring it into the cluster", add.node),
        Action::Check(check) => {
            let tree = check
                .same_tree
                .as_ref()
                .map(|path| format!("the same files below {path}"));
            let log = check
                .kernel_log
                .then(|| "no trouble in the kernel logs".to_owned());
            let what: Vec<String> = tree.into_iter().chain(log).collect();
            format!("check on {}: {}", names(&check.on), what.join(", "))
        }
        Action::Run(run) => format!("run `{}` on {}", run.command, names(&run.on)),
        Action::Write(write) => {
            let background = if write.background {
                ", in the background"
            } else {
                ""
            };
            format!(
                "write {} x {} with a journal to {} on {}{background}",
                write.count,
                write.bs,
                write.of,
                names(&write.on)
            )
        }
        Action::Crash(crash) => {
            let how = match crash.how {
                CrashKind::Power => "cut the power of",
                CrashKind::Panic => "let the kernel panic of",
            };
            let moment = if crash.within.is_zero() {
                String::new()
            } else {
                format!(
                    ", at a random moment within {} s",
                    crash.within.as_secs_f32()
                )
            };
            format!("{how} {}{moment}", crash.node)
        }
        Action::Restart(restart) => format!("boot {} again, with its disk", restart.node),
        Action::StopProcess(signal) => format!(
            "send {} to every {} on {}",
            signal.signal,
            signal.process,
            names(&signal.on)
        ),
        Action::Start(start) => format!("start {} again on {}", start.layer, names(&start.on)),
        Action::WaitFor(wait) => {
            format!(
                "wait for {}, seen by {}",
                state(&wait.state),
                names(&wait.on)
            )
        }
        Action::Verify(verify) => {
            let legs = if verify.legs {
                ", and from every copy below"
            } else {
                ""
            };
            format!(
                "read every acknowledged block back on {}{legs}",
                names(&verify.on)
            )
        }
        Action::Throughput(throughput) => measure(throughput),
        Action::Dip(dip) => {
            let newcomers = dip.newcomers.as_ref();
            let added = newcomers.map_or_else(String::new, |step| {
                format!(", and what `{step}` adds to them")
            });
            let limits = [
                dip.depth_percent
                    .map(|depth| format!("at most {depth} % deep")),
                dip.length
                    .map(|length| format!("at most {} s long", length.as_secs_f32())),
                dip.adds_percent
                    .map(|adds| format!("at least {adds} % more in the end")),
            ];
            let limits: Vec<String> = limits.into_iter().flatten().collect();
            let must = if limits.is_empty() {
                String::new()
            } else {
                format!(": {}", limits.join(", "))
            };
            format!(
                "what `{}` did to the writers of `{}`{added}{must}",
                dip.around, dip.of
            )
        }
    }
}

/// A throughput step in a few words.
fn measure(throughput: &Throughput) -> String {
    let tool = throughput.tool.as_str();
    let pattern = throughput.pattern.as_str();
    let target = match &throughput.target {
        Target::File(of) => of.as_str(),
        Target::Device => "the topmost device",
    };
    let amount = match throughput.runtime {
        Some(runtime) => format!(
            "{} s of {pattern} among {} of",
            runtime.as_secs_f32(),
            throughput.size
        ),
        None => format!("{pattern} {} of", throughput.size),
    };
    let cache = if throughput.direct {
        "direct"
    } else {
        "buffered"
    };
    let depth = match throughput.queue_depth {
        1 => String::new(),
        deep => format!(", {deep} at a time"),
    };
    let sync = match throughput.sync {
        Sync::Never => "",
        Sync::End => ", fsync at the end",
        Sync::Each => ", each forced out",
    };
    format!(
        "measure {tool}: {amount} {target} on {} by {}, {cache}{depth}{sync}; {} + {} times",
        names(&throughput.on),
        throughput.bs,
        throughput.warm_up,
        throughput.repetitions
    )
}

/// What is waited for, in a few words.
fn state(state: &Awaited) -> String {
    match state {
        Awaited::Paths { active, failed } => format!("{active} active and {failed} failed paths"),
        Awaited::Drbd {
            resource,
            connection,
            disk,
        } => {
            let words: Vec<&str> = connection.iter().chain(disk).map(String::as_str).collect();
            format!("{resource} {}", words.join(" "))
        }
        Awaited::Members { cluster, members } => {
            format!("the members {} of {cluster}", names(members))
        }
    }
}

fn names(nodes: &[NodeName]) -> String {
    nodes
        .iter()
        .map(NodeName::as_str)
        .collect::<Vec<_>>()
        .join(", ")
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::action;

    #[test]
    fn measuring_steps_are_told_in_a_line() {
        let text = include_str!("../../../../fixtures/accepted/throughput.toml");
        let plan = sanlab_plan::parse(Path::new("throughput.toml"), text).unwrap();
        let lines: Vec<String> = plan.steps.iter().map(action).collect();
        let at = |number: usize| lines[number].as_str();
        assert_eq!(
            at(0),
            "measure dd: write 64MiB of {node}.throughput on a0, a1 by 1MiB, direct; 1 + 5 times"
        );
        assert_eq!(
            at(1),
            "measure fio: 10 s of randrw among 100MiB of deep/{node}.fio on a0 by 8KiB, direct, 16 at a time, \
             each forced out; 0 + 1 times"
        );
        assert_eq!(
            at(2),
            "measure dd: write 1MiB of {node}.throughput on a1 by 512B, buffered, fsync at the end; 1 + 5 times"
        );
        assert_eq!(
            at(9),
            "what `add_node` did to the writers of `load`, and what `more` adds to them: at most 90 % deep, \
             at most 5 s long, at least -10 % more in the end"
        );
        assert_eq!(at(10), "what `more` did to the writers of `load`");
    }
}
