//! `sanlab doctor`: what the host has and lacks, before anything fails for want of it.

use std::collections::BTreeMap;
use std::panic::resume_unwind;
use std::path::Path;

use sanlab_fleet::{Budget, FleetError, Registry, Swept};
use sanlab_image::Store;
use sanlab_plan::Arch;
use sanlab_vm::{AcceleratorWish, CounterPlugin, NotCounted};

use crate::lab::host;
use crate::terminal::print;
use crate::terminal::quantity::size;
use crate::{Exit, LabError};

/// A store with less than this is called short of space, bytes: two images and what their building needs meanwhile.
const ENOUGH_SPACE: u64 = 3 << 30;

/// Looks at everything; what is missing makes it end with [`Exit::Broken`].
pub(crate) async fn execute() -> Result<Exit, LabError> {
    let missing = host::missing();
    for tool in &missing {
        say(
            "missing",
            &format!("{} ({}), package {}", tool.program, tool.why, tool.package),
        )?;
    }
    if missing.is_empty() {
        say(
            "programs",
            "everything that images and guests need is installed",
        )?;
    }
    let mut way_out = None;
    if missing.is_empty() {
        let has_profile = Path::new(host::APPARMOR_PROFILE).exists();
        let namespace = sanlab_image::user_namespace()?;
        if let Some((line, remedy)) = host::about_namespace(&namespace, has_profile) {
            say("images", &line)?;
            way_out = remedy;
        }
    }
    for arch in Arch::ALL {
        // Each by itself: what does not work for one must not hide that it works for the other.
        let guests = BTreeMap::from([(arch, arch.into())]);
        let chosen = sanlab_fleet::accelerators(AcceleratorWish::Auto, None, &guests).await;
        let choice = match chosen.as_ref().map(|chosen| &chosen[&arch]) {
            Ok(choice) => choice,
            Err(error) => {
                say(arch.as_str(), &format!("failed to {error}"))?;
                continue;
            }
        };
        let program = sanlab_vm::qemu_binary(arch, choice.accelerator);
        let version = match sanlab_vm::qemu_version(&program).await {
            Ok(version) => version,
            Err(error) => {
                say(arch.as_str(), &format!("failed to {error}"))?;
                continue;
            }
        };
        say(arch.as_str(), &format!("QEMU {version} on {choice}"))?;
        let plugin = sanlab_vm::counter_plugin(choice.accelerator, &program, arch).await;
        say("", &counted(&plugin))?;
    }

    let look = || {
        let (registry, swept) = Registry::open()?;
        let capacity = Budget::new(&registry).capacity()?;
        Ok::<_, FleetError>((registry, swept, capacity))
    };
    let looked = tokio::task::spawn_blocking(look).await;
    let (registry, swept, capacity) =
        looked.unwrap_or_else(|error| resume_unwind(error.into_panic()))?;
    say("budget", &format!("{capacity} for all fleets together"))?;
    let memory = if registry.is_in_memory()? {
        ", and lies in memory: disks of guests count in the budget"
    } else {
        ""
    };
    say(
        "runtime",
        &format!("{} holds what runs{memory}", registry.path().display()),
    )?;
    for Swept { run, killed, left } in swept {
        let run = run.display();
        let text = match left {
            None => format!(
                "swept {run}: {} processes of a dead run ended",
                killed.len()
            ),
            Some(left) => format!("could not sweep the dead run {run}: {left}"),
        };
        say("", &text)?;
    }

    let store = Store::open_default()?;
    let free = store.free_bytes()?;
    let short = if free < ENOUGH_SPACE {
        ": too little to build images"
    } else {
        ""
    };
    say(
        "cache",
        &format!(
            "{}, kept below {}, {} free{short}",
            store.root().display(),
            size(Store::limit()?),
            size(free)
        ),
    )?;

    if let Some(remedy) = way_out {
        print(&format!("\n{remedy}\n"))?;
        return Ok(Exit::Broken);
    }
    if missing.is_empty() {
        return Ok(Exit::Success);
    }
    print(&format!(
        "\ninstall what is missing with\n\n    {}\n\n",
        host::install_command(&missing)
    ))?;
    Ok(Exit::Broken)
}

/// Whether guests' instructions are counted.
fn counted(plugin: &Result<CounterPlugin, NotCounted>) -> String {
    match plugin {
        Ok(plugin) if plugin.api.counts_several() => "instructions are counted".to_owned(),
        Ok(_) => "instructions of guests with one CPU are counted".to_owned(),
        Err(reason) => format!("instructions are not counted: {reason}"),
    }
}

fn say(word: &str, text: &str) -> Result<(), LabError> {
    Ok(print(&format!("{word:<9} {text}\n"))?)
}
