//! Everything that could change what a fleet becomes: the part of a checkpoint's key that is not the plan's.

use std::fmt::Write as _;

use crate::checkpoints::start_mode::StartMode;
use crate::error::FleetError;
use crate::nodes::boot;
use crate::nodes::emulator;
use crate::nodes::identity;
use crate::spec::{FleetSpec, NetworkSpec, NodeSpec};

/// What the fleet does with guests that neither a command line nor a script tells: a digest of this crate's sources and those of
/// `vm`, made by this crate's build script.
pub(crate) const SOURCES: &str = env!("SOURCE_DIGEST");

/// All that could change what a fleet of this spec becomes, as text of many lines: the lab's sources, QEMU's version and which
/// program it is, accelerators, the
/// digests of images, networks, every member's command line, number, name, identity script (with its addresses), and what templates run
/// before they are saved. How members come to life (boot or clone) is in it too; that instructions are
/// counted is not, since no guest sees it.
pub async fn fingerprint(spec: &FleetSpec) -> Result<String, FleetError> {
    let emulators = emulator::find(spec).await?;
    let mut text = format!("sources {SOURCES}\n");
    for network in &spec.networks {
        let NetworkSpec {
            name,
            subnet,
            mtu,
            without,
            capture: _,
        } = network;
        let without = without.join(" ");
        add(
            &mut text,
            "network",
            format_args!("{name} {subnet} {mtu} without {without}"),
        );
    }
    let start_mode = match spec.start_mode {
        StartMode::Boot => "boot",
        StartMode::Clone(_) => "clone",
    };
    add(&mut text, "start mode", start_mode);
    add(&mut text, "warm", &spec.warm);
    for (arch, emulator) in &emulators {
        add(&mut text, "arch", arch);
        add(&mut text, "qemu", &emulator.identity);
        add(&mut text, "accelerator", emulator.accelerator.accelerator);
    }
    for member in &spec.members {
        let NodeSpec { name, number, .. } = member;
        add(&mut text, "member", format_args!("{name} {number}"));
        add(&mut text, "image", &spec.image(member)?.digest);
        add(&mut text, "disk", member.disk_bytes);
        for disk in spec.shared_disks_of(name) {
            add(&mut text, "shared disk", disk.bytes);
        }
        let machine = boot::base_spec(member, spec, &emulators)?;
        add(&mut text, "machine", sanlab_vm::fingerprint(&machine));
        add(&mut text, "identity", identity::script(member, spec, None));
    }
    Ok(text)
}

fn add(text: &mut String, name: &str, value: impl std::fmt::Display) {
    // A String takes everything.
    let _ = writeln!(text, "{name}: {value}");
}
