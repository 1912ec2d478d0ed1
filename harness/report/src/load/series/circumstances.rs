//! What a run's figures depend on: what sets series apart, and what may change within one.

use std::collections::BTreeMap;

use sanlab_record::{RunRecord, Work};

use crate::render::number::{exact_size, short};

/// Settings that change what the run is made of and not what it does.
const MADE_OF: [&str; 6] = ["deb", "file", "image", "kernel", "module", "qemu"];

/// What sets the series of a step apart.
pub(super) fn dimensions(record: &RunRecord, step: &str) -> BTreeMap<String, String> {
    let mut all = BTreeMap::from([
        ("accelerator".to_owned(), accelerator(record)),
        (
            "host".to_owned(),
            format!("{}, {} CPUs", record.host.cpu, record.host.cpus),
        ),
        ("mtu".to_owned(), record.mtu.to_string()),
        ("nodes".to_owned(), nodes(record)),
    ]);
    let measured = record.measurements.iter().find(|one| one.step == step);
    all.extend(measured.map_or_else(|| sampled(record, step), |one| work(&one.work)));
    let mut placed_layers: BTreeMap<&str, usize> = BTreeMap::new();
    for layer in &record.stack {
        let placed = placed_layers
            .entry(&layer.kind)
            .and_modify(|count| *count += 1)
            .or_insert(1);
        let name = match placed {
            1 => format!("layer.{}", layer.kind),
            again => format!("layer.{}.{again}", layer.kind),
        };
        all.insert(format!("{name}.on"), layer.on.join(" "));
        for (key, value) in &layer.parameters {
            all.insert(format!("{name}.{key}"), value.clone());
        }
    }
    let shown = |key: &str| {
        key == "mtu"
            || key == "network.mtu"
            || key.starts_with("layer.")
            || key
                .strip_prefix("step.")
                .and_then(|rest| rest.strip_prefix(step))
                .is_some_and(|rest| rest.starts_with('.'))
    };
    let settings = record
        .settings
        .iter()
        .filter(|(key, _)| !is_made_of(key) && !shown(key));
    all.extend(settings.map(|(key, value)| (format!("set.{key}"), value.clone())));
    all
}

/// What a run was made of.
pub(super) fn origin(record: &RunRecord) -> BTreeMap<String, String> {
    let mut all = BTreeMap::from([
        ("qemu".to_owned(), record.qemu_version.clone()),
        ("seed".to_owned(), record.seed.to_string()),
        ("host.kernel".to_owned(), record.host.kernel.clone()),
    ]);
    for (arch, image) in &record.images {
        let digest = short(&image.digest);
        all.insert(format!("image.{arch}"), format!("{} {digest}", image.name));
        all.insert(format!("kernel.{arch}"), image.kernel_release.clone());
        let artefacts: Vec<String> = image.artefacts.iter().map(ToString::to_string).collect();
        if !artefacts.is_empty() {
            all.insert(format!("artefacts.{arch}"), artefacts.join(", "));
        }
    }
    let settings = record.settings.iter().filter(|(key, _)| is_made_of(key));
    all.extend(settings.map(|(key, value)| (format!("set.{key}"), value.clone())));
    all
}

fn is_made_of(key: &str) -> bool {
    MADE_OF.contains(&key.split('.').next().unwrap_or(key))
}

/// `tcg`; where architectures differ, `x86 kvm, x86_64 tcg`.
fn accelerator(record: &RunRecord) -> String {
    let mut names: Vec<&str> = record
        .accelerator
        .values()
        .map(|one| one.name.as_str())
        .collect();
    names.dedup();
    if let [one] = names[..] {
        return one.to_owned();
    }
    let each = record
        .accelerator
        .iter()
        .map(|(arch, one)| format!("{arch} {}", one.name));
    each.collect::<Vec<_>>().join(", ")
}

fn nodes(record: &RunRecord) -> String {
    let each = record
        .nodes
        .iter()
        .map(|(name, node)| format!("{name} {} {} MiB", node.arch, node.memory_mib));
    each.collect::<Vec<_>>().join(", ")
}

fn work(work: &Work) -> BTreeMap<String, String> {
    let mut all = BTreeMap::from([
        ("work.tool".to_owned(), work.tool.clone()),
        ("work.rw".to_owned(), work.rw.clone()),
        ("work.on".to_owned(), work.on.join(" ")),
        ("work.block".to_owned(), exact_size(work.block_bytes)),
        ("work.queue_depth".to_owned(), work.queue_depth.to_string()),
        ("work.direct".to_owned(), work.direct.to_string()),
        ("work.sync".to_owned(), work.sync.clone()),
    ]);
    if work.bytes_each > 0 {
        all.insert("work.each".to_owned(), exact_size(work.bytes_each));
    }
    if let Some(seconds) = work.runtime_seconds {
        all.insert("work.runtime".to_owned(), format!("{seconds} s"));
    }
    all
}

/// What samples alone show of the work: who did it, and how much if that was given and not what came of it.
fn sampled(record: &RunRecord, step: &str) -> BTreeMap<String, String> {
    let samples = || record.samples.iter().filter(|one| one.step == step);
    let mut nodes: Vec<&str> = samples().map(|one| one.node.as_str()).collect();
    nodes.sort_unstable();
    nodes.dedup();
    let mut all = BTreeMap::from([("work.on".to_owned(), nodes.join(" "))]);
    let mut bytes: Vec<u64> = samples().map(|one| one.bytes).collect();
    bytes.dedup();
    if let [each] = bytes[..]
        && samples().all(|one| one.acknowledged.is_none())
    {
        all.insert("work.each".to_owned(), exact_size(each));
    }
    all
}
