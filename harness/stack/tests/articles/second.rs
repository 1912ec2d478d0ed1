//! What the stack would do in the second article's fleet: two pairs of storages, two clients, and one that joins later.

use std::time::Duration;

use sanlab_plan::{Awaited, ClusterName, LayerKind, NodeName, ResourceName, WaitFor};
use sanlab_stack::{Peers, Present, Probe, Stack, compose};

use crate::book::Book;
use crate::fixture::{name, planned};

const NODES: &str = r#"
[nodes]
storage0a = { arch = "x86_64" }
storage0b = { arch = "x86_64" }
storage1a = { arch = "x86_64" }
storage1b = { arch = "x86_64" }
client0 = { arch = "x86_64" }
client1 = { arch = "x86" }
client2 = { arch = "x86", joins = "later" }
"#;

const LAYERS: &str = r#"
[[layer]]
membership = { cluster = "storage0", on = ["storage0a", "storage0b"] }
[[layer]]
membership = { cluster = "storage1", on = ["storage1a", "storage1b"] }
[[layer]]
membership = { cluster = "client", on = ["client0", "client1", "client2"] }
[[layer]]
drbd = { resource = "r0", on = ["storage0a", "storage0b"], disk = "256MiB" }
[[layer]]
drbd = { resource = "r1", on = ["storage1a", "storage1b"], disk = "256MiB" }
[[layer]]
gnbd = { clients = ["client0", "client1", "client2"], timeout = "10s" }
[[layer]]
multipath = {}
[[layer]]
striped = { name = "san" }
[[layer]]
o2cb = { cluster = "san", heartbeat_threshold = 61, idle_timeout = "60s" }
[[layer]]
ocfs2 = { slots = 3, at = "/mnt/san", journal = "4MiB" }
"#;

/// Every node of a scenario must come some time.
const STEPS: &str = r#"
[[step]]
add_node = { node = "client2" }
"#;

fn stack(layers: &str) -> Stack {
    compose(&planned(NODES, layers, STEPS))
}

fn article() -> Stack {
    stack(LAYERS)
}

fn names(text: &str) -> Vec<NodeName> {
    text.split(' ').map(name).collect()
}

const ALL: &str = "storage0a storage0b storage1a storage1b client0 client1";

#[test]
fn layers_come_up_side_by_side() {
    let works = article().up();
    let kinds: Vec<&str> = works.iter().map(|work| work.kind.as_str()).collect();
    assert_eq!(
        kinds,
        [
            "membership",
            "drbd",
            "gnbd",
            "multipath",
            "striped",
            "o2cb",
            "ocfs2",
            "mount"
        ]
    );
}

#[test]
fn what_storages_export_is_the_clients_device() {
    let raw = LAYERS
        .split("[[layer]]\no2cb")
        .next()
        .expect("there is one");
    for layers in [LAYERS, raw] {
        let stack = stack(layers);
        for node in names("client0 client1 client2") {
            assert_eq!(stack.top_device(&node), Some("/dev/mapper/san"));
            assert!(stack.share_device(&node, &name("client0")));
        }
        assert_eq!(stack.top_device(&name("storage0a")), None);
        assert!(!stack.share_device(&name("storage0a"), &name("storage0b")));
    }
    // Two pairs: a device each.
    let pairs = raw.split("[[layer]]\ngnbd").next().expect("there is one");
    let stack = stack(pairs);
    let share = |one, other| stack.share_device(&name(one), &name(other));
    assert_eq!(stack.top_device(&name("storage1b")), Some("/dev/drbd1"));
    assert!(share("storage1a", "storage1b") && !share("storage0a", "storage1a"));
}

#[test]
fn a_client_comes_back() {
    let there = names("storage0a storage0b storage1a storage1b client1");
    let works = article().rejoin(&name("client0"), &Present::all(&there));
    let kinds: Vec<&str> = works.iter().map(|work| work.kind.as_str()).collect();
    assert_eq!(
        kinds,
        [
            "membership",
            "gnbd",
            "multipath",
            "striped",
            "o2cb",
            "ocfs2"
        ]
    );
}

#[test]
fn every_node_is_asked_for_what_it_has() {
    let files = |node: &str| {
        let looks = article().state_of(&name(node));
        let files: Vec<String> = looks.into_iter().skip(5).map(|(file, _)| file).collect();
        files.join(" ")
    };
    assert_eq!(
        files("storage1b"),
        "membership-storage1.txt drbd-r1.txt gnbd-exports.txt gnbd-imports.txt"
    );
    assert_eq!(
        files("client0"),
        "membership-client.txt gnbd-exports.txt gnbd-imports.txt multipath.txt dm-san.txt cluster.conf \
         o2cb-configfs.txt o2cb-debugfs.txt ocfs2.txt"
    );
}

#[test]
fn every_byte_of_the_volume_is_on_both_storages_of_a_pair() {
    let stack = article();
    let replicas = stack.block_map().expect("it can be told");
    let show = |offset, length| {
        let replicas = replicas.locate(offset, length);
        let show = replicas.iter().map(|replica| {
            format!(
                "{} {}+{} from {}",
                replica.node, replica.offset, replica.length, replica.start
            )
        });
        show.collect::<Vec<_>>().join(", ")
    };
    assert_eq!(
        show(0, 32 << 10),
        "storage0a 0+16384 from 0, storage0b 0+16384 from 0, storage1a 0+16384 from 16384, storage1b 0+16384 from 16384"
    );
    assert_eq!(
        show(81920, 4096),
        "storage1a 32768+4096 from 0, storage1b 32768+4096 from 0"
    );
}

#[test]
fn what_has_no_daemons_is_not_started() {
    let stack = article();
    let none = stack.start(
        LayerKind::Drbd,
        &name("storage0a"),
        &Present::all(&names(ALL)),
    );
    assert!(none.stages.is_empty() && none.probes.is_empty());
}

#[test]
fn what_has_daemons_starts_them() {
    let (stack, all) = (article(), Peers::all(&names(ALL)));
    for layer in stack.layers() {
        for node in &all.there {
            let starts = !layer.service(node, &all, stack.topology()).is_empty();
            let kind = layer.kind();
            assert_eq!(starts, !layer.daemons(node).is_empty(), "{kind} on {node}");
        }
    }
}

pub(crate) fn tell(book: &mut Book) {
    let stack = article();
    let all = Present::all(&names(ALL));
    book.add("up", &stack.up());
    book.add("client2 joins", &stack.join(&name("client2"), &all));
    let there = Present::all(&names("storage0b storage1a storage1b client0 client1"));
    let back = stack.rejoin(&name("storage0a"), &there);
    book.add("storage0a comes back", &back);
    let there = Present::all(&names("storage1a storage1b client0"));
    let alone = stack.rejoin(&name("storage0b"), &there);
    book.add("storage0b comes back, storage0a is away", &alone);
    let there = Present::all(&names("storage0a storage0b storage1a storage1b client1"));
    let back = stack.rejoin(&name("client0"), &there);
    book.add("client0 comes back", &back);
    let started = [
        (LayerKind::Gnbd, "storage0a"),
        (LayerKind::Gnbd, "client0"),
        (LayerKind::Gnbd, "client2"),
        (LayerKind::Membership, "storage0a"),
        (LayerKind::Multipath, "client1"),
    ];
    let started = started.map(|(kind, node)| stack.start(kind, &name(node), &all));
    book.add("daemons are started", &started);
    book.add_states("states are waited for", &states(&stack));
    book.add("down", &stack.down(&all.there, &names("client0 client1")));
    book.add_looks(&stack);
    tell_stopped(book, &stack);
    tell_end(book, &stack);
    tell_variants(book);
}

/// What is stopped on purpose is not waited for.
fn tell_stopped(book: &mut Book, stack: &Stack) {
    let mut present = Present::all(&names(ALL));
    for (node, kind) in [
        ("storage0a", LayerKind::Gnbd),
        ("client0", LayerKind::Membership),
    ] {
        present.stopped.push((name(node), kind));
    }
    let started = [
        (LayerKind::Membership, "client1"),
        (LayerKind::Gnbd, "client1"),
    ];
    let started = started.map(|(kind, node)| stack.start(kind, &name(node), &present));
    book.add("one of two is started", &started);
    let joined = stack.join(&name("client2"), &present);
    book.add("client2 joins while daemons are stopped", &joined[..2]);
    present.there.remove(1);
    let back = stack.rejoin(&name("storage0b"), &present);
    book.add("storage0b comes back while daemons are stopped", &back);
    let mut process = vec![
        ("storage0a", "gnbd_serv"),
        ("client0", "gnbd_recvd"),
        ("client0", "multipathd"),
        ("client0", "corosync"),
    ];
    process.retain(|(node, process)| stack.daemon_of(&name(node), process).is_none());
    assert!(process.is_empty(), "{process:?}");
    assert_eq!(stack.daemon_of(&name("client0"), "gnbd_serv"), None);
}

/// What must hold at the end, with everything there and without.
fn tell_end(book: &mut Book, stack: &Stack) {
    let mut present = Present::all(&names(ALL));
    present.mounted = names("client0 client1");
    book.add_end("the end", &stack.end_probes(&present));
    let mut without = present.clone();
    without.there.remove(0);
    without.stopped = vec![(name("client1"), LayerKind::Membership)];
    book.add_end(
        "the end without storage0a, and without corosync on client1",
        &stack.end_probes(&without),
    );
    without.stopped = vec![
        (name("storage0b"), LayerKind::Gnbd),
        (name("client0"), LayerKind::Gnbd),
    ];
    book.add_end(
        "the end without storage0a, a server and a receiver",
        &stack.end_probes(&without),
    );
}

/// The probes of every state that can be waited for.
fn states(stack: &Stack) -> Vec<Probe> {
    let resource = || ResourceName::parse("r1").expect("valid");
    let states = [
        Awaited::Paths {
            active: 3,
            failed: 1,
        },
        Awaited::Drbd {
            resource: resource(),
            connection: Some("Connected".to_owned()),
            disk: Some("UpToDate/UpToDate".to_owned()),
        },
        Awaited::Drbd {
            resource: resource(),
            connection: Some("WFConnection".to_owned()),
            disk: None,
        },
        Awaited::Members {
            cluster: ClusterName::parse("storage1").expect("valid"),
            members: names("storage1b"),
        },
    ];
    let probes = states.map(|state| {
        let on = names("storage1b");
        stack.state_probe(&WaitFor { on, state }, Duration::from_secs(9))
    });
    probes.concat()
}

fn tell_variants(book: &mut Book) {
    let mut add = |what: &str, layers: &[&str]| {
        let layers = layers.iter().map(|layer| format!("[[layer]]\n{layer}\n"));
        let stack = stack(&layers.collect::<String>());
        book.add(what, &stack.up());
        stack
    };
    let one = r#"cluster = "one", on = ["storage0a", "storage0b", "storage1a"]"#;
    for (what, more) in [
        ("UDP", r#"transport = "udpu", token = "3s""#),
        ("encryption", "crypto = true"),
    ] {
        add(what, &[&format!("membership = {{ {one}, {more} }}")]);
    }
    let first = r#"drbd = { resource = "r0", on = ["storage0a", "storage0b"], disk = "64MiB", primaries = "first", sync = "full", ping_interval = "5s", ping_timeout = "500ms" }"#;
    let lone = add("one primary and a whole first synchronisation", &[first]);
    let exporting = add(
        "one primary exports",
        &[
            first,
            r#"gnbd = { clients = "client0", fail_fast = "10s" }"#,
        ],
    );
    let own = r#"on = "storage0a", clients = "client0", disk = "64MiB""#;
    for (what, more) in [
        ("cached exports", "cached = true"),
        (
            "exports without a cluster manager",
            r#"timeout = "5s", fail_fast = "7s""#,
        ),
    ] {
        let stack = add(what, &[&format!("gnbd = {{ {own}, {more} }}")]);
        assert!(stack.block_map().is_none());
    }
    let two = r#"gnbd = { on = ["storage0a", "storage1a"], clients = ["client0", "client1"], disk = "64MiB", timeout = "5s", fail_fast = "5s" }"#;
    let arrays = [r#"level = 0, chunk = "64KiB""#, "level = 1"].map(|level| {
        let md = format!(r#"md = {{ name = "raid", {level} }}"#);
        (level, add(level, &[two, &md]))
    });
    let (there, storage0a) = (Present::all(&names("storage0b client0")), name("storage0a"));
    for (what, stack) in [("one primary", lone), ("one primary exports", exporting)] {
        let back = stack.rejoin(&storage0a, &there);
        book.add(&format!("{what}: it comes back"), &back[..1]);
    }
    for (level, stack) in arrays {
        let there = Present::all(&names("storage0a storage1a client0 client1"));
        book.add_end(
            &format!("the end of {level}"),
            &stack.end_probes(&there)[4..],
        );
    }
}
