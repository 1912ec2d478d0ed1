//! What a plan says of the devices that its layers make: their sizes, which nodes have them, and which other nodes they need.

use std::path::Path;

use sanlab_plan::{Device, LayerKind, NetworkName, NodeName, Outage, Plan, parse};

const NODES: &str = r#"
name = "devices"
[nodes]
storage0a = { arch = "x86" }
storage0b = { arch = "x86" }
storage1a = { arch = "x86" }
storage1b = { arch = "x86" }
client0 = { arch = "x86" }
client1 = { arch = "x86" }
"#;

/// Two pairs, exported to two clients with two paths to each.
const PATHS: [&str; 5] = [
    r#"membership = { cluster = "all" }"#,
    r#"drbd = { resource = "r0", on = ["storage0a", "storage0b"], disk = "256MiB" }"#,
    r#"drbd = { resource = "r1", on = ["storage1a", "storage1b"], disk = "64MiB" }"#,
    r#"gnbd = { clients = ["client0", "client1"] }"#,
    "multipath = {}",
];

fn plan(layers: &[&str]) -> Plan {
    let layers: Vec<String> = layers
        .iter()
        .map(|layer| format!("[[layer]]\n{layer}\n"))
        .collect();
    let text = format!("{NODES}{}", layers.concat());
    parse(Path::new("devices.toml"), &text)
        .unwrap_or_else(|mistakes| panic!("{}", mistakes.render(false)))
}

fn on<'a>(plan: &'a Plan, node: &str) -> &'a [Device] {
    let node = NodeName::parse(node).expect("valid");
    plan.devices.get(&node).map_or(&[], Vec::as_slice)
}

/// `layer` on [`PATHS`] as a client has it.
fn top(layer: &str) -> String {
    let plan = plan(&[&PATHS[..], &[layer]].concat());
    assert_eq!(on(&plan, "client0"), on(&plan, "client1"));
    assert_eq!(on(&plan, "storage0a"), [], "it was exported");
    match on(&plan, "client0") {
        [device] => format!("{device:?}"),
        several => panic!("{several:?}"),
    }
}

#[test]
fn a_pair_has_what_drbd_leaves_of_its_disks() {
    let plan = plan(&PATHS[..3]);
    assert_eq!(
        format!("{:?} {:?}", on(&plan, "storage0b"), on(&plan, "storage1a")),
        "[/dev/drbd0 of 524200 sectors on copies(storage0a, storage0b) with uid 0] \
         [/dev/drbd1 of 130992 sectors on copies(storage1a, storage1b) with uid 1]"
    );
    assert_eq!(on(&plan, "client0"), []);
}

#[test]
fn all_paths_to_a_pair_are_one_device_with_two_copies() {
    let shown = format!("{:?}", on(&plan(&PATHS), "client1"));
    assert_eq!(
        shown,
        "[/dev/mapper/0 of 524200 sectors on copies(storage0a, storage0b), \
         /dev/mapper/1 of 130992 sectors on copies(storage1a, storage1b)]"
    );
}

#[test]
fn stripes_are_whole_chunks_of_the_shortest() {
    // 130992 sectors are 63 chunks of 1 MiB and a part of one.
    assert_eq!(
        top(r#"striped = { name = "san", chunk = "1MiB" }"#),
        "/dev/mapper/san of 258048 sectors on \
         stripes of 1MiB(copies(storage0a, storage0b), copies(storage1a, storage1b))"
    );
}

#[test]
fn what_stands_in_turn_has_every_sector() {
    assert_eq!(
        top(r#"linear = { name = "san" }"#),
        "/dev/mapper/san of 655192 sectors on in turn(262100KiB of copies(storage0a, storage0b), \
         65496KiB of copies(storage1a, storage1b))"
    );
}

#[test]
fn md_leaves_the_first_mebibyte_of_each() {
    let parts = "somewhere(copies(storage0a, storage0b), copies(storage1a, storage1b))";
    assert_eq!(
        top(r#"md = { name = "raid", level = 1 }"#),
        format!("/dev/md/raid of 128944 sectors on {parts}")
    );
    // Whole chunks of 128 sectors: 4079 of the one, 1007 of the other.
    assert_eq!(
        top(r#"md = { name = "raid", level = 0 }"#),
        format!("/dev/md/raid of 651008 sectors on {parts}")
    );
}

/// Every node's disk is as large as the largest that a layer asks for, and a server exports the whole of it.
#[test]
fn a_disk_of_its_own_is_exported_whole() {
    let plan = plan(&[
        PATHS[1],
        r#"gnbd = { on = "storage1a", clients = "client0", disk = "64MiB", cached = true }"#,
    ]);
    assert_eq!(
        format!("{:?}", on(&plan, "client0")),
        "[/dev/gnbd/gnbd1a of 524288 sectors on storage1a with uid 0]"
    );
    assert_eq!(on(&plan, "client1"), []);
}

/// The nodes that a node's device needs, by the kernel's name for it, through any layer or that one.
fn needed(plan: &Plan, node: &str, device: &str, layer: Option<LayerKind>) -> String {
    let outage = layer.map_or(Outage::Whole, Outage::Layer);
    needed_of(plan, node, device, &outage)
}

/// The nodes of which that node's device needs what fails.
fn needed_of(plan: &Plan, node: &str, device: &str, outage: &Outage) -> String {
    let node = NodeName::parse(node).expect("valid");
    let names = plan.nodes.iter().map(|node| &node.name);
    let needed = names.filter(|server| plan.needs(&node, device, server, outage));
    needed.map(NodeName::as_str).collect::<Vec<_>>().join(" ")
}

fn servers(plan: &Plan) -> String {
    let names = plan.nodes.iter().map(|node| &node.name);
    let serving = names.filter(|name| plan.serves(name));
    serving.map(NodeName::as_str).collect::<Vec<_>>().join(" ")
}

#[test]
fn a_stripe_over_nbd_needs_every_exporter() {
    let plan = parse(
        Path::new("devices.toml"),
        r#"
        name = "devices"
        nodes = { "vix[0-2]" = { arch = "x86" }, vc = { arch = "x86", joins = "later" } }
        layer = [
            { nbd = { disk = "64MiB" } },
            { striped = { name = "san" } },
            { o2cb = { cluster = "san" } },
            { ocfs2 = { slots = 4, at = "/mnt/san" } },
        ]
        "#,
    )
    .unwrap_or_else(|mistakes| panic!("{}", mistakes.render(false)));
    for node in ["vix0", "vc"] {
        assert_eq!(needed(&plan, node, "nbd1", None), "vix1");
        assert_eq!(needed(&plan, node, "dm-0", None), "vix0 vix1 vix2");
    }
    assert_eq!(
        needed(&plan, "vix0", "dm-0", Some(LayerKind::Nbd)),
        "vix0 vix1 vix2"
    );
    assert_eq!(needed(&plan, "vix0", "dm-0", Some(LayerKind::O2cb)), "");
    for other in ["vda", "vdb", "nbd3", "nbd", "dm-", "dm-x", "md127", "drbd0"] {
        assert_eq!(needed(&plan, "vix0", other, None), "", "{other}");
    }
    assert_eq!(servers(&plan), "vix0 vix1 vix2", "`vc` exports nothing");
}

#[test]
fn paths_to_a_pair_need_both_of_it_through_every_layer() {
    let plan = plan(&[&PATHS[..], &[r#"striped = { name = "san" }"#]].concat());
    let all = "storage0a storage0b storage1a storage1b";
    assert_eq!(
        needed(&plan, "client0", "dm-2", None),
        format!("{all} client0")
    );
    assert_eq!(needed(&plan, "client0", "nbd3", Some(LayerKind::Drbd)), all);
    assert_eq!(
        needed(&plan, "client0", "nbd3", Some(LayerKind::Multipath)),
        ""
    );
    assert_eq!(
        needed(&plan, "client0", "dm-2", Some(LayerKind::Multipath)),
        "client0"
    );
    assert_eq!(
        needed(&plan, "client1", "dm-0", Some(LayerKind::Membership)),
        format!("{all} client1")
    );
    assert_eq!(needed(&plan, "storage0a", "drbd0", None), "storage0b");
    assert_eq!(needed(&plan, "storage1b", "drbd1", None), "storage1a");
    assert_eq!(
        needed(&plan, "storage1b", "drbd0", None),
        "",
        "of the other pair"
    );
    assert_eq!(
        needed(&plan, "storage0a", "drbd0", Some(LayerKind::Gnbd)),
        ""
    );
    assert_eq!(servers(&plan), all);
}

#[test]
fn an_export_needs_the_peer_that_does_not_export() {
    let plan = plan(&[
        PATHS[0],
        r#"drbd = { resource = "r0", on = ["storage0a", "storage0b"], disk = "64MiB", primaries = "first" }"#,
        r#"gnbd = { on = "storage0a", clients = "client0" }"#,
        r#"linear = { name = "san" }"#,
    ]);
    let gnbd = Some(LayerKind::Gnbd);
    assert_eq!(needed(&plan, "client0", "dm-0", gnbd), "storage0a client0");
    assert_eq!(
        needed(&plan, "client0", "dm-0", None),
        "storage0a storage0b client0"
    );
    assert_eq!(needed(&plan, "storage0b", "drbd0", None), "storage0a");
    assert_eq!(servers(&plan), "storage0a storage0b");
}

#[test]
fn an_array_needs_what_its_parts_need() {
    let plan = plan(&[
        r#"gnbd = { on = ["storage0a", "storage1a"], clients = "client0", disk = "64MiB", cached = true }"#,
        r#"md = { name = "raid", level = 1 }"#,
    ]);
    assert_eq!(
        needed(&plan, "client0", "md127", None),
        "storage0a storage1a client0"
    );
    assert_eq!(needed(&plan, "client1", "md127", None), "", "no client");
    assert_eq!(
        needed(&plan, "client0", "md127", Some(LayerKind::Membership)),
        "",
        "cached exports ask nobody"
    );
    assert_eq!(servers(&plan), "storage0a storage1a");
}

#[test]
fn a_lost_network_takes_what_goes_over_it_alone() {
    let plan = parse(
        Path::new("devices.toml"),
        r#"
        name = "devices"
        networks = { cluster = {}, pair = { on = ["a", "b"] } }
        nodes = { a = { arch = "x86" }, b = { arch = "x86" }, c = { arch = "x86" } }
        layer = [
            { membership = { cluster = "all", network = ["main", "cluster"] } },
            { drbd = { resource = "r0", on = ["a", "b"], disk = "64MiB", network = "pair" } },
            { gnbd = { clients = "c", export = "{node}" } },
            { multipath = {} },
            { o2cb = { cluster = "san", network = "cluster" } },
            { ocfs2 = { slots = 1, at = "/mnt/san" } },
        ]
        "#,
    )
    .unwrap_or_else(|mistakes| panic!("{}", mistakes.render(false)));
    let network = |name: &&str| NetworkName::parse(name).expect("valid");
    let lost = |names: &[&str]| Outage::Networks(names.iter().map(network).collect());
    let needed = |node, device, names: &[&str]| needed_of(&plan, node, device, &lost(names));
    assert_eq!(needed("a", "drbd0", &["pair"]), "b");
    assert_eq!(needed("a", "drbd0", &["main", "cluster"]), "");
    assert_eq!(needed("c", "dm-0", &["main"]), "a b c");
    assert_eq!(
        needed("c", "dm-0", &["cluster"]),
        "",
        "corosync has the other"
    );
    let node = |name| NodeName::parse(name).expect("valid");
    let needs = |place, on, server, names: &[&str]| {
        plan.layer_needs(place, &node(on), &node(server), &lost(names))
    };
    let (membership, drbd, o2cb, ocfs2) = (0, 1, 4, 5);
    assert!(!needs(membership, "a", "b", &["main"]));
    assert!(needs(membership, "a", "b", &["main", "cluster"]));
    assert!(needs(drbd, "a", "b", &["pair"]) && !needs(drbd, "a", "b", &["cluster"]));
    assert!(needs(o2cb, "c", "c", &["cluster"]) && !needs(o2cb, "c", "c", &["main"]));
    assert!(needs(ocfs2, "c", "c", &["cluster"]));
    assert!(needs(ocfs2, "c", "a", &["main"]), "its device");
    assert!(!needs(ocfs2, "c", "a", &["cluster"]), "no member of o2cb");
}

#[test]
fn a_disk_over_iscsi_needs_its_server_and_the_clients_own_daemon() {
    let plan = plan(&[
        r#"iscsi = { on = ["storage0a", "storage1a"], clients = "client0", disk = "64MiB" }"#,
        r#"striped = { name = "san" }"#,
    ]);
    let all = "storage0a storage1a client0";
    // Which letter is which server's is not known.
    assert_eq!(needed(&plan, "client0", "sda", None), all);
    assert_eq!(
        needed(&plan, "client0", "sdab", Some(LayerKind::Iscsi)),
        all
    );
    assert_eq!(needed(&plan, "client0", "dm-0", None), all);
    for other in ["sd", "sda1", "vdb", "nbd0"] {
        assert_eq!(needed(&plan, "client0", other, None), "", "{other}");
    }
    assert_eq!(needed(&plan, "client1", "sda", None), "");
    assert_eq!(servers(&plan), "storage0a storage1a");
}

#[test]
fn a_shared_disk_needs_nobody() {
    let plan = plan(&[
        r#"shared_disk = { size = "64MiB", count = 2, on = ["client0", "client1"] }"#,
        r#"linear = { name = "san" }"#,
    ]);
    for device in ["vdc", "dm-0"] {
        assert_eq!(needed(&plan, "client0", device, None), "", "{device}");
    }
    assert_eq!(servers(&plan), "");
    let [device] = on(&plan, "client1") else {
        panic!("{:?}", plan.devices);
    };
    assert_eq!(device.sectors, 262_144);
    assert!(device.blocks.is_held_by(&[]) && !device.blocks.is_known());
    assert!(device.blocks.locate(0, 4096).is_empty());
    assert_eq!(on(&plan, "storage0a"), []);
}
