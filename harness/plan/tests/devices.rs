//! What a plan says of the devices that its layers make: their sizes, and which nodes have them.

use std::path::Path;

use sanlab_plan::{Device, NodeName, Plan, parse};

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
