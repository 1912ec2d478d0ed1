//! What guests cost the host, and what their files take.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use sanlab_fleet::{FleetSpec, PortCounters};
use sanlab_record::{NodeUse, PortUse};

use crate::Failure;

/// What a node cost the host.
pub(crate) fn use_of(
    spec: &FleetSpec,
    name: &str,
    usage: &sanlab_fleet::Usage,
    left: &sanlab_fleet::Teardown,
) -> Option<NodeUse> {
    let member = spec.members.iter().find(|member| member.name == name)?;
    Some(NodeUse {
        arch: member.hardware.arch.to_string(),
        memory_mib: u32::try_from(member.hardware.memory.mib()).unwrap_or(u32::MAX),
        host_cpu_seconds: usage.host_cpu_seconds,
        peak_rss_bytes: usage.peak_rss_bytes,
        pss_bytes: usage.pss_bytes,
        port: left.ports.get(name).map(port_use).unwrap_or_default(),
        networks: match left.networks.len() {
            // All that it carried.
            0 | 1 => BTreeMap::new(),
            _ => by_network(name, left),
        },
    })
}

/// What a node's ports carried, by network.
fn by_network(name: &str, left: &sanlab_fleet::Teardown) -> BTreeMap<String, PortUse> {
    let ports = left.networks.iter();
    ports
        .filter_map(|(network, ports)| Some((network.clone(), port_use(ports.get(name)?))))
        .collect()
}

fn port_use(port: &PortCounters) -> PortUse {
    PortUse {
        sent_frames: port.sent_frames,
        sent_bytes: port.sent_bytes,
        received_frames: port.received_frames,
        received_bytes: port.received_bytes,
        dropped_frames: port.dropped_frames,
        lost_frames: port.lost_frames,
    }
}

/// What a folder's files take.
pub(crate) async fn bytes_on_disk(folder: &Path) -> Result<u64, Failure> {
    let failed = || Failure::host("measure what was kept");
    let mut bytes = 0;
    let mut entries = fs_err::tokio::read_dir(folder).await.map_err(failed())?;
    while let Some(entry) = entries.next_entry().await.map_err(failed())? {
        let found = entry.metadata().await.map_err(failed())?;
        bytes += found.blocks() * 512;
    }
    Ok(bytes)
}
