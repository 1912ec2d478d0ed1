//! `hooks/corosync`, with programs in the place of corosync's.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use gnbd::membership::{Membership, NodeState};
use gnbd::protocol::NodeName;
use tempfile::TempDir;

use crate::transcript::script;

const HOOK: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/hooks/corosync");

/// As corosync 3.1.7 prints them on a node of a cluster of clients.
const MEMBERS: &str = "\
cat <<'END'

Membership information
----------------------
    Nodeid      Votes Name
         1          1 client0 (local)
         2          1 client1
END
";
const NODES: &str = "\
cat <<'END'
nodelist.node.0.name (str) = client0
nodelist.node.0.nodeid (u32) = 1
nodelist.node.1.name (str) = client1
nodelist.node.1.nodeid (u32) = 2
nodelist.node.2.name (str) = client2
nodelist.node.2.nodeid (u32) = 3
END
";

struct Cluster {
    folder: TempDir,
    hook: Membership,
}

impl Cluster {
    fn new() -> Self {
        let folder = TempDir::new().unwrap();
        let path = |name: &str| folder.path().join(name);
        script(&path("corosync-quorumtool"), MEMBERS);
        script(&path("corosync-cmapctl"), NODES);
        // Fencing takes a while and is told to a file; `client9` is beyond its reach.
        let told = path("told");
        let agent = format!(
            "[ $1 != client9 ] || exit 1\nsleep 0.05\necho $1 >>{}\n",
            told.display()
        );
        script(&path("fence"), &agent);
        let wrapper = format!(
            "export PATH={folder}:$PATH GNBD_FENCED_DIR={folder}/fenced GNBD_FENCE={folder}/fence\n\
             exec {HOOK} \"$@\"\n",
            folder = folder.path().display()
        );
        script(&path("hook"), &wrapper);
        let hook = Membership::Hook(path("hook"));
        Self { folder, hook }
    }

    fn state(&self, node: &str) -> NodeState {
        self.hook.state(&name(node)).unwrap()
    }

    fn mark(&self, node: &str) -> std::path::PathBuf {
        self.folder.path().join("fenced").join(node)
    }
}

fn name(node: &str) -> NodeName {
    NodeName::new(node).unwrap()
}

fn uptime() -> Duration {
    let text = fs_err::read_to_string("/proc/uptime").unwrap();
    let seconds = text.split(' ').next().unwrap().parse().unwrap();
    Duration::from_secs_f64(seconds)
}

#[test]
fn it_knows_who_is_there() {
    let cluster = Cluster::new();
    assert_eq!(cluster.hook.node_name().unwrap(), name("client0"));
    assert_eq!(cluster.state("client0"), NodeState::Member);
    assert_eq!(cluster.state("client1"), NodeState::Member);
    assert_eq!(cluster.state("client2"), NodeState::Left);
    // Storage machines have clusters of their own; and names are not parts of names.
    for node in ["storage0a", "client", "client11", "clien.1"] {
        assert_eq!(cluster.state(node), NodeState::Unknown, "{node}");
    }
}

#[test]
fn a_fenced_node_is_fenced_since_a_moment_before() {
    let cluster = Cluster::new();
    let before = uptime();
    cluster.hook.fence(&name("storage0a")).unwrap();
    let told = fs_err::read_to_string(cluster.folder.path().join("told")).unwrap();
    assert_eq!(told, "storage0a\n");
    let NodeState::Fenced(Some(moment)) = cluster.state("storage0a") else {
        panic!("{:?}", cluster.state("storage0a"));
    };
    let after = uptime();
    assert!(before <= moment && moment + Duration::from_millis(40) <= after);
    assert_eq!(cluster.state("storage0b"), NodeState::Unknown);
}

#[test]
fn what_was_not_done_is_not_said() {
    let cluster = Cluster::new();
    cluster.hook.fence(&name("client9")).unwrap_err();
    assert_eq!(cluster.state("client9"), NodeState::Unknown);
    // A mark without its moment is none.
    fs_err::create_dir_all(cluster.mark("x").parent().unwrap()).unwrap();
    fs_err::write(cluster.mark("client9"), "").unwrap();
    assert_eq!(cluster.state("client9"), NodeState::Unknown);
    fs_err::write(cluster.mark("client9"), "\n").unwrap();
    assert_eq!(cluster.state("client9"), NodeState::Unknown);
}

#[test]
fn a_member_is_not_fenced_any_more() {
    let cluster = Cluster::new();
    cluster.hook.fence(&name("client1")).unwrap();
    assert!(cluster.mark("client1").exists());
    assert_eq!(cluster.state("client1"), NodeState::Member);
    assert!(!cluster.mark("client1").exists());
}

#[test]
fn without_corosync_there_is_no_cluster() {
    let cluster = Cluster::new();
    script(
        &cluster.folder.path().join("corosync-quorumtool"),
        "exit 1\n",
    );
    cluster.hook.node_name().unwrap_err();
    assert_eq!(cluster.state("client1"), NodeState::Left);
    for words in [&["dance"][..], &["state", "../x"], &["fence", ".x"]] {
        let status = Command::new(Path::new(HOOK)).args(words).status();
        assert!(!status.unwrap().success(), "{words:?}");
    }
}
