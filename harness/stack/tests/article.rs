//! What the stack would do in the article's fleet: vix0 to vix3, and vc that joins later.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use sanlab_plan::{
    Arch, ByteSize, ClusterName, GuestPath, ImageName, Joins, Layer, Linear, Nbd, NbdServer,
    Network, NicModel, Node, NodeName, O2cb, Ocfs2, Plan, Striped, Tier, VolumeName,
};
use sanlab_stack::{Stack, StackError, Stage, Work, compose};

fn name(text: &str) -> NodeName {
    NodeName::parse(text).expect("valid")
}

fn node(number: u8, text: &str, arch: Arch, joins: Joins) -> Node {
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

fn nbd(server: NbdServer) -> Layer {
    Layer::Nbd(Nbd {
        disk: ByteSize::from_mib(1024),
        port: 4300,
        server,
        block_size: ByteSize::from_bytes(4096),
    })
}

fn striped() -> Layer {
    let name = VolumeName::parse("nbdsan").expect("valid");
    Layer::Striped(Striped {
        name,
        chunk: ByteSize::from_bytes(16 << 10),
    })
}

fn o2cb() -> Layer {
    Layer::O2cb(O2cb {
        cluster: ClusterName::parse("nbdsan").expect("valid"),
        port: 7777,
        heartbeat_threshold: 31,
        idle_timeout: Duration::from_secs(30),
        keepalive_delay: Duration::from_secs(2),
        reconnect_delay: Duration::from_secs(2),
    })
}

fn ocfs2(mount: bool) -> Layer {
    Layer::Ocfs2(Ocfs2 {
        slots: 5,
        at: GuestPath::parse("/mnt/nbdsan").expect("valid"),
        features: Vec::new(),
        journal: ByteSize::from_mib(8),
        mount,
    })
}

fn plan(layers: Vec<Layer>) -> Plan {
    Plan {
        name: "article".to_owned(),
        id: "article".to_owned(),
        source: PathBuf::from("article.toml"),
        tier: Tier::Default,
        fresh: false,
        image: ImageName::parse("debian-bookworm").expect("valid"),
        network: Network {
            mtu: None,
            capture: Vec::new(),
        },
        nodes: vec![
            node(0, "vix0", Arch::X86_64, Joins::AtStart),
            node(1, "vix1", Arch::X86, Joins::AtStart),
            node(2, "vix2", Arch::X86, Joins::AtStart),
            node(3, "vix3", Arch::X86, Joins::AtStart),
            node(4, "vc", Arch::X86, Joins::Later),
        ],
        layers,
        steps: Vec::new(),
    }
}

fn article() -> Stack {
    compose(&plan(vec![
        nbd(NbdServer::Nbdkit),
        striped(),
        o2cb(),
        ocfs2(true),
    ]))
    .expect("fits")
}

fn old_nodes() -> [NodeName; 4] {
    ["vix0", "vix1", "vix2", "vix3"].map(name)
}

/// What `work` does; nodes with the same text share one entry.
fn show(work: &Work) -> String {
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

fn show_all(works: &[Work]) -> String {
    works.iter().map(show).collect::<Vec<_>>().join("\n")
}

#[test]
fn up() {
    for work in article().up() {
        insta::assert_snapshot!(format!("up_{}", work.kind), show(&work));
    }
}

#[test]
fn join() {
    let (stack, there) = (article(), old_nodes());
    insta::assert_snapshot!("join", show_all(&stack.join(&name("vc"), &there)));
    let volume = stack.volume().expect("there is one");
    insta::assert_snapshot!(
        "join_mount",
        show(&volume.mount(&[name("vc")], &there, stack.topology()))
    );
}

#[test]
fn down() {
    let (stack, there) = (article(), old_nodes());
    insta::assert_snapshot!("down", show_all(&stack.down(&there, &there[..2])));
}

#[test]
fn unmount_of_some_leaves_the_others() {
    let (stack, there) = (article(), old_nodes());
    let volume = stack.volume().expect("there is one");
    insta::assert_snapshot!(
        "unmount",
        show(&volume.unmount(&there[1..2], &there, stack.topology()))
    );
}

#[test]
fn state() {
    let state = article().state();
    let text: Vec<String> = state
        .iter()
        .map(|(file, script)| format!("> {file}\n{script}"))
        .collect();
    insta::assert_snapshot!("state", text.join("\n"));
    insta::assert_snapshot!("warm", article().warm());
}

#[test]
fn the_articles_own_server() {
    let stack = compose(&plan(vec![nbd(NbdServer::NbdServer)])).expect("fits");
    insta::assert_snapshot!("up_nbd_server", show(&stack.up()[0]));
}

#[test]
fn linear() {
    let layer = Layer::Linear(Linear {
        name: VolumeName::parse("nbdsan").expect("valid"),
    });
    let stack = compose(&plan(vec![nbd(NbdServer::Nbdkit), layer])).expect("fits");
    insta::assert_snapshot!("up_linear", show(&stack.up()[1]));
}

#[test]
fn a_volume_left_to_mount_steps_is_not_mounted() {
    let stack = compose(&plan(vec![
        nbd(NbdServer::Nbdkit),
        striped(),
        o2cb(),
        ocfs2(false),
    ]))
    .expect("fits");
    let kinds: Vec<&str> = stack.up().iter().map(|work| work.kind).collect();
    assert_eq!(kinds, ["nbd", "striped", "o2cb", "ocfs2"]);
}

#[test]
fn layers_that_do_not_fit() {
    let error = |layers| compose(&plan(layers)).expect_err("does not fit");
    assert_eq!(
        error(vec![striped()]),
        StackError::NothingBelow { layer: "striped" }
    );
    assert_eq!(
        error(vec![o2cb(), ocfs2(true)]),
        StackError::NothingBelow { layer: "ocfs2" }
    );
    assert_eq!(
        error(vec![nbd(NbdServer::Nbdkit), o2cb(), ocfs2(true)]),
        StackError::ManyBelow { count: 4 }
    );
    assert_eq!(
        error(vec![nbd(NbdServer::Nbdkit), striped(), ocfs2(true)]),
        StackError::NoCluster
    );
}
