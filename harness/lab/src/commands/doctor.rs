//! `sanlab doctor`: what the host has and lacks, before anything fails for want of it.

use std::collections::BTreeMap;

use sanlab_fleet::{Budget, Registry};
use sanlab_image::Store;
use sanlab_plan::Arch;
use sanlab_vm::AcceleratorWish;

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
        let line = match sanlab_vm::qemu_version(&program).await {
            Ok(version) => format!("QEMU {version} on {choice}"),
            Err(error) => format!("failed to {error}"),
        };
        say(arch.as_str(), &line)?;
    }

    let (registry, swept) = Registry::open()?;
    let capacity = Budget::new(&registry).capacity()?;
    say("budget", &format!("{capacity} for all fleets together"))?;
    say(
        "runtime",
        &format!("{} holds what runs", registry.path().display()),
    )?;
    for dead in swept {
        say(
            "",
            &format!(
                "swept {}: {} processes of a dead run ended",
                dead.run.display(),
                dead.killed.len()
            ),
        )?;
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

    if missing.is_empty() {
        return Ok(Exit::Success);
    }
    print(&format!(
        "\ninstall what is missing with\n\n    {}\n\n",
        host::install_command(&missing)
    ))?;
    Ok(Exit::Broken)
}

fn say(word: &str, text: &str) -> Result<(), LabError> {
    Ok(print(&format!("{word:<9} {text}\n"))?)
}
