//! What the stack would do in the second article's fleet: two pairs of storages, two clients, and one that joins later.

use std::path::Path;
use std::time::Duration;

use sanlab_plan::{Awaited, ClusterName, LayerKind, NodeName, Plan, ResourceName, WaitFor, parse};
use sanlab_stack::{Stack, StackError, compose};

use crate::ground::{name, show, show_all};

const NODES: &str = r#"
name = "the second article"

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

fn planned(layers: &str) -> Plan {
    match parse(Path::new("second.toml"), &format!("{NODES}{layers}{STEPS}")) {
        Ok(plan) => plan,
        Err(mistakes) => panic!("{mistakes:?}"),
    }
}

fn stack(layers: &str) -> Stack {
    compose(&planned(layers)).expect("fits")
}

fn article() -> Stack {
    stack(LAYERS)
}

fn names(text: &str) -> Vec<NodeName> {
    text.split(' ').map(name).collect()
}

const ALL: &str = "storage0a storage0b storage1a storage1b client0 client1";

#[test]
fn up() {
    let works = article().up();
    let kinds: Vec<&str> = works.iter().map(|work| work.kind).collect();
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
    for work in works {
        insta::assert_snapshot!(format!("up_{}", work.kind), show(&work));
    }
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
fn a_client_joins() {
    let works = article().join(&name("client2"), &names(ALL));
    insta::assert_snapshot!("join", show_all(&works));
}

#[test]
fn a_storage_comes_back() {
    let there = names("storage0b storage1a storage1b client0 client1");
    let works = article().rejoin(&name("storage0a"), &there);
    insta::assert_snapshot!("rejoin_storage", show_all(&works));
}

#[test]
fn a_storage_comes_back_while_its_peer_is_away() {
    let works = article().rejoin(&name("storage0b"), &names("storage1a storage1b client0"));
    let drbd = works.iter().find(|work| work.kind == "drbd");
    insta::assert_snapshot!("rejoin_alone", show(drbd.expect("it is there")));
}

#[test]
fn a_client_comes_back() {
    let there = names("storage0a storage0b storage1a storage1b client1");
    let works = article().rejoin(&name("client0"), &there);
    let kinds: Vec<&str> = works.iter().map(|work| work.kind).collect();
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
    let o2cb = works.iter().find(|work| work.kind == "o2cb");
    insta::assert_snapshot!("rejoin_o2cb", show(o2cb.expect("it is there")));
}

#[test]
fn daemons_are_started_again() {
    let stack = article();
    let start = |kind, node| show(&stack.start(kind, &name(node), &names(ALL)));
    let all = [
        start(LayerKind::Gnbd, "storage0a"),
        start(LayerKind::Gnbd, "client0"),
        start(LayerKind::Membership, "storage0a"),
        start(LayerKind::Multipath, "client1"),
    ];
    insta::assert_snapshot!("start", all.join("\n"));
    let none = stack.start(LayerKind::Drbd, &name("storage0a"), &names(ALL));
    assert!(none.stages.is_empty() && none.probes.is_empty());
    let elsewhere = stack.start(LayerKind::Gnbd, &name("client2"), &names(ALL));
    assert!(!elsewhere.stages.is_empty());
}

#[test]
fn states_that_are_waited_for() {
    let stack = article();
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
    let mut probes = Vec::new();
    for state in states {
        let wait = WaitFor {
            on: names("storage1b"),
            state,
        };
        for probe in stack.state_probe(&wait, Duration::from_secs(9)) {
            assert_eq!(probe.deadline, Duration::from_secs(9));
            let expected = probe.expect.0.join("\n-> ");
            probes.push(format!(
                "until {}\n{}-> {expected}\n",
                probe.title, probe.script
            ));
        }
    }
    insta::assert_snapshot!("states", probes.join("\n"));
}

#[test]
fn down() {
    let clients = names("client0 client1");
    insta::assert_snapshot!("down", show_all(&article().down(&names(ALL), &clients)));
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
    let state = article().state();
    let text: Vec<String> = state[5..]
        .iter()
        .map(|(file, script)| format!("> {file}\n{script}"))
        .collect();
    insta::assert_snapshot!("state", text.join("\n"));
    insta::assert_snapshot!("warm", sanlab_stack::warm());
}

#[test]
fn every_byte_of_the_volume_is_on_both_storages_of_a_pair() {
    let legs = article().legs().expect("it can be told");
    let show = |offset, length| {
        let legs = legs.locate(offset, length);
        let show = legs.iter().map(|leg| {
            format!(
                "{} {}+{} from {}",
                leg.node, leg.offset, leg.length, leg.start
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
fn udp_and_encryption() {
    let config = |more: &str| {
        let stack = stack(&format!(
            "[[layer]]\nmembership = {{ cluster = \"one\", on = [\"storage0a\", \"storage0b\", \"storage1a\"]{more} }}\n"
        ));
        show(&stack.up()[0])
    };
    insta::assert_snapshot!(
        "membership_udpu",
        config(", transport = \"udpu\", token = \"3s\"")
    );
    insta::assert_snapshot!("membership_crypto", config(", crypto = true"));
}

#[test]
fn one_primary_and_a_whole_first_synchronisation() {
    let stack = stack(
        "[[layer]]\ndrbd = { resource = \"r0\", on = [\"storage0a\", \"storage0b\"], disk = \"64MiB\", \
         primaries = \"first\", sync = \"full\", ping_interval = \"5s\", ping_timeout = \"500ms\" }\n",
    );
    insta::assert_snapshot!("drbd_first_full", show(&stack.up()[0]));
}

#[test]
fn exports_without_a_cluster_manager() {
    let gnbd = |more: &str| {
        let stack = stack(&format!(
            "[[layer]]\ngnbd = {{ on = \"storage0a\", clients = \"client0\", disk = \"64MiB\", {more} }}\n"
        ));
        assert!(stack.legs().is_none());
        show(&stack.up()[0])
    };
    insta::assert_snapshot!("gnbd_cached", gnbd("cached = true"));
    insta::assert_snapshot!(
        "gnbd_fail_fast",
        gnbd("timeout = \"5s\", fail_fast = \"7s\"")
    );
}

#[test]
fn raid_on_clients() {
    let raid = |level: &str| {
        let stack = stack(&format!(
            "[[layer]]\ngnbd = {{ on = [\"storage0a\", \"storage1a\"], clients = [\"client0\", \"client1\"], disk = \"64MiB\", \
             timeout = \"5s\", fail_fast = \"5s\" }}\n\
             [[layer]]\nmd = {{ name = \"raid\", level = {level} }}\n"
        ));
        show(&stack.up()[1])
    };
    insta::assert_snapshot!("md_striped", raid("0, chunk = \"64KiB\""));
    insta::assert_snapshot!("md_mirrored", raid("1"));
}

/// What the plan would refuse already, by a plan made by hand.
#[test]
fn layers_that_do_not_fit() {
    let mut plan = planned(LAYERS);
    // Without gnbd, multipath has nothing to tell paths by.
    let gnbd = plan.layers.remove(5);
    assert_eq!(compose(&plan).err(), Some(StackError::NoUid));
    // Directly over DRBD every pair has a device of its own.
    plan.layers.remove(5);
    plan.layers[5].on = names("storage0a storage0b storage1a");
    assert_eq!(
        compose(&plan).err(),
        Some(StackError::Unlike {
            layer: "striped",
            one: name("storage0a"),
            other: name("storage1a"),
        })
    );
    plan.layers[5] = gnbd;
    plan.layers.drain(3..5);
    assert_eq!(
        compose(&plan).err(),
        Some(StackError::NothingBelow { layer: "gnbd" })
    );
}
