//! A plan's nodes as the fleet wants them.

use sanlab_fleet::{
    Attachment, DEFAULT_MTU, FleetSpec, NetworkSpec, NodeSpec, SharedDisk, StartMode,
};
use sanlab_plan::{Action, ByteSize, CacheFate, DiskBus, Figures, Layer, Network, Plan};

use crate::checkpoint::saved::Saved;
use crate::{Environment, Hold};

/// What a plan's fleet is made of.
pub(crate) fn fleet_spec(plan: &Plan, environment: &Environment) -> FleetSpec {
    let Environment {
        images,
        out_dir,
        store,
        options,
    } = environment;
    let images = images
        .iter()
        .map(|(node, image)| (node.to_string(), image.clone()));
    FleetSpec {
        images: images.collect(),
        networks: plan.networks.iter().map(|it| network(plan, it)).collect(),
        accelerator: options.accelerator,
        qemu: options.qemu.clone(),
        count_instructions: options
            .count_instructions
            .unwrap_or_else(|| counts_instructions(plan)),
        shares_cpus: options.exploration.is_some()
            || options.hold.as_ref().is_some_and(Hold::replaces_steps),
        logs: out_dir.clone(),
        // Nobody joins a fleet that was saved.
        start_mode: if plan.fresh || options.saved.is_some() {
            StartMode::Boot
        } else {
            StartMode::Clone(store.clone())
        },
        disks_survive: crashes(plan),
        saveable: options.save_failed.is_some(),
        volatile_caches: volatile_caches(plan),
        shared_disks: shared_disks(plan),
        warm: sanlab_stack::warm(),
        members: plan.nodes.iter().map(|node| member(plan, node)).collect(),
        absent: absent(plan, options.saved.as_ref()),
    }
}

/// A plan's network as the fleet wants it.
fn network(plan: &Plan, network: &Network) -> NetworkSpec {
    let names = plan.nodes.iter().map(|node| &node.name);
    NetworkSpec {
        name: network.name.to_string(),
        subnet: network.subnet,
        mtu: network.mtu.unwrap_or(DEFAULT_MTU),
        without: names
            .filter(|name| !network.on.contains(name))
            .map(ToString::to_string)
            .collect(),
        capture: network.capture.iter().map(ToString::to_string).collect(),
    }
}

/// A plan's node as the fleet wants it. All have a data disk: who exports one is the storage layer's affair.
fn member(plan: &Plan, node: &sanlab_plan::Node) -> NodeSpec {
    NodeSpec {
        name: node.name.to_string(),
        number: node.number,
        hardware: node.hardware,
        nic: node.nic,
        nice: node.nice,
        disk_bytes: plan.disk().map_or(0, ByteSize::bytes),
    }
}

/// The disks that nodes share, whoever of them ever boots.
fn shared_disks(plan: &Plan) -> Vec<SharedDisk> {
    let mut disks = Vec::new();
    for placed in &plan.layers {
        let Layer::SharedDisk(layer) = &placed.layer else {
            continue;
        };
        disks.extend((0..layer.count).map(|number| SharedDisk {
            serial: sanlab_plan::SharedDisk::serial(number),
            bytes: layer.size.bytes(),
            attachments: attachments(layer, number),
            members: placed.on.iter().map(ToString::to_string).collect(),
        }));
    }
    disks
}

/// How a node reaches the shared disk of that number.
fn attachments(layer: &sanlab_plan::SharedDisk, number: u8) -> Vec<Attachment> {
    let attachment = |path| match layer.bus {
        DiskBus::VirtioBlk => Attachment::VirtioBlk,
        DiskBus::VirtioScsi => Attachment::VirtioScsi {
            controller: path,
            lun: number,
            wwn: sanlab_plan::SharedDisk::wwn(number),
        },
    };
    (0..layer.paths).map(attachment).collect()
}

/// Those who are never there.
fn absent(plan: &Plan, saved: Option<&Saved>) -> Vec<String> {
    let never = |node: &&sanlab_plan::Node| match saved {
        Some(saved) => saved.nodes().all(|name| node.name.as_str() != name),
        None => plan.booted().all(|booted| booted.name != node.name),
    };
    let absent = plan.nodes.iter().filter(never);
    absent.map(|node| node.name.to_string()).collect()
}

/// Whether guests' instructions are counted unless somebody decides otherwise: where a step's figures are what the plan is for.
pub fn counts_instructions(plan: &Plan) -> bool {
    let mut steps = plan.steps.iter();
    steps.any(|step| step.action.figures() == Figures::Repeated)
}

/// Whether nodes go down and come back.
fn crashes(plan: &Plan) -> bool {
    let ends = |action: &Action| matches!(action, Action::Crash(_) | Action::Restart(_));
    plan.steps.iter().any(|step| ends(&step.action))
}

/// Those whose disks lose a volatile write cache in some step.
fn volatile_caches(plan: &Plan) -> Vec<String> {
    let lost = plan.steps.iter().filter_map(|step| match &step.action {
        Action::Crash(crash) if crash.cache == CacheFate::Lost => Some(crash.node.to_string()),
        _ => None,
    });
    lost.collect()
}
