//! Plans made by hand, and stacks shown as text.

use std::fmt::Write as _;
use std::path::PathBuf;

use sanlab_plan::{
    Arch, ByteSize, ImageName, Joins, Layer, Network, NicModel, Node, NodeName, Plan, Storey, Tier,
};
use sanlab_stack::{Stage, Work};

pub(crate) fn name(text: &str) -> NodeName {
    NodeName::parse(text).expect("valid")
}

pub(crate) fn node(number: u8, text: &str, arch: Arch, joins: Joins) -> Node {
    Node {
        name: name(text),
        number,
        arch,
        nic: NicModel::VirtioNet,
        memory: ByteSize::from_mib(384),
        cpus: 1,
        joins,
    }
}

/// The first article's fleet, with these layers on all nodes.
pub(crate) fn plan(layers: Vec<Layer>) -> Plan {
    let nodes = vec![
        node(0, "vix0", Arch::X86_64, Joins::AtStart),
        node(1, "vix1", Arch::X86, Joins::AtStart),
        node(2, "vix2", Arch::X86, Joins::AtStart),
        node(3, "vix3", Arch::X86, Joins::AtStart),
        node(4, "vc", Arch::X86, Joins::Later),
    ];
    let on: Vec<NodeName> = nodes.iter().map(|node| node.name.clone()).collect();
    let storey = |layer| Storey {
        on: on.clone(),
        layer,
    };
    Plan {
        name: "article".to_owned(),
        id: "article".to_owned(),
        source: PathBuf::from("article.toml"),
        tier: Tier::Default,
        fresh: false,
        take_down: false,
        image: ImageName::parse("debian-bookworm").expect("valid"),
        network: Network {
            mtu: None,
            capture: Vec::new(),
        },
        nodes,
        layers: layers.into_iter().map(storey).collect(),
        steps: Vec::new(),
        warnings: Vec::new(),
    }
}

/// What `work` does; nodes with the same text share one entry.
pub(crate) fn show(work: &Work) -> String {
    let mut text = format!("# {}: {}\n", work.kind, work.title);
    for stage in &work.stages {
        show_stage(&mut text, stage);
    }
    let mut probes: Vec<(String, Vec<&str>)> = Vec::new();
    for probe in &work.probes {
        let body = format!(
            "until {} (deadline {:?})\n{}-> {}\n",
            probe.title,
            probe.deadline,
            probe.script,
            probe.expect.0.join("\n-> ")
        );
        group(&mut probes, body, probe.node.as_str());
    }
    for (body, nodes) in probes {
        let _ = write!(text, "\n--- probe on {}: {body}", nodes.join(" "));
    }
    text
}

fn show_stage(text: &mut String, stage: &Stage) {
    let _ = write!(text, "\n=== stage: {}\n", stage.title);
    let mut tasks: Vec<(String, Vec<&str>)> = Vec::new();
    for task in &stage.tasks {
        let mut body = format!("{} (deadline {:?})\n", task.title, task.deadline);
        for file in &task.files {
            let _ = write!(body, "> {} {:o}\n{}<\n", file.path, file.mode, file.text);
        }
        body += &task.script;
        group(&mut tasks, body, task.node.as_str());
    }
    for (body, nodes) in tasks {
        let _ = write!(text, "--- {}: {body}", nodes.join(" "));
    }
}

fn group<'a>(groups: &mut Vec<(String, Vec<&'a str>)>, body: String, node: &'a str) {
    match groups.iter_mut().find(|(other, _)| *other == body) {
        Some((_, nodes)) => nodes.push(node),
        None => groups.push((body, vec![node])),
    }
}

pub(crate) fn show_all(works: &[Work]) -> String {
    works.iter().map(show).collect::<Vec<_>>().join("\n")
}
