//! What the stack would do in a fleet with shared LVM and GFS2: a storage, two clients, and one that joins later.

use sanlab_plan::{LayerKind, NodeName};
use sanlab_stack::{Present, Stack, compose};

use crate::book::Book;
use crate::fixture::{name, planned};

const NODES: &str = r#"
[nodes]
storage0 = { arch = "x86_64" }
storage1 = { arch = "x86_64" }
client0 = { arch = "x86_64" }
client1 = { arch = "x86" }
client2 = { arch = "x86", joins = "later" }
"#;

const BELOW: &str = r#"
[[layer]]
membership = { cluster = "san" }
[[layer]]
gnbd = { on = "storage[0-1]", clients = "client[0-2]", disk = "101MiB" }
[[layer]]
dlm = {}
"#;

const ABOVE: &str = r#"
[[layer]]
lvm = { group = "shared", volumes = ["spare", "san-1"], layout = "striped", size = "80MiB" }
[[layer]]
gfs2 = { journals = 3, at = "/mnt/san", volume = "san-1" }
"#;

/// Every node of a scenario must come some time.
const STEPS: &str = r#"
[[step]]
add_node = { node = "client2" }
"#;

fn stack(layers: &[&str]) -> Stack {
    compose(&planned(NODES, &layers.concat(), STEPS))
}

fn names(text: &str) -> Vec<NodeName> {
    text.split(' ').map(name).collect()
}

pub(crate) fn tell(book: &mut Book) {
    let stack = stack(&[BELOW, ABOVE]);
    let volume = stack.volume().expect("there is one");
    let there = names("storage0 storage1 client0 client1");
    let clients = names("client0 client1");
    let new = names("client2");
    // What lies below is told elsewhere.
    book.add("up", &stack.up()[2..]);
    book.add(
        "client2 joins",
        &stack.join(&new[0], &Present::all(&there))[2..],
    );
    let mount = volume.mount(&new, &clients, stack.topology());
    book.add("client2 mounts", &[mount]);
    let back = stack.rejoin(&clients[1], &Present::all(&there[..3]));
    book.add("client1 comes back", &back[2..]);
    let down = stack.down(&there, &clients);
    book.add("down, mounted on both", &down[..3]);
    book.add_looks(&stack);
    let mut present = Present::all(&there);
    present.mounted = clients[..1].to_vec();
    book.add_end("the end, mounted on one", &stack.end_probes(&present));
    // Of what is on its disk nothing is asked.
    present.there.remove(1);
    book.add_end("the end without a storage", &stack.end_probes(&present));

    let linear = r#"
        [[layer]]
        lvm = { group = "shared", volumes = ["one", "other"], size = "84MiB" }
    "#;
    let linear = self::stack(&[BELOW, linear]);
    book.add("linear, the second volume across both", &linear.up()[3..]);
    let alone = r#"
        [[layer]]
        linear = { name = "joined" }
        [[layer]]
        gfs2 = { journals = 2, at = "/mnt/san", journal = "16MiB", mount_options = [], mount = false }
    "#;
    let below = BELOW.replace("dlm = {}", "dlm = { fencing = false }");
    let alone = self::stack(&[&below, alone]);
    let works = alone.up();
    book.add("no fencing", &works[2..3]);
    book.add("without LVM", &works[4..]);
    let volume = alone.volume().expect("there is one");
    let mount = volume.mount(&clients, &[], alone.topology());
    book.add("mounted without options", &[mount]);
}

#[test]
fn daemons_are_known_by_their_layers() {
    let stack = stack(&[BELOW, ABOVE]);
    let of = |node: &str, process| stack.daemon_of(&name(node), process);
    assert_eq!(of("client0", "dlm_controld"), Some(LayerKind::Dlm));
    assert_eq!(of("client2", "lvmlockd"), Some(LayerKind::Lvm));
    assert_eq!(of("storage0", "dlm_controld"), None);
}

#[test]
fn what_lies_on_logical_volumes_is_found_on_disks() {
    let stack = stack(&[BELOW, ABOVE]);
    let map = stack.block_map().expect("every byte has a place");
    // Behind the other volume's ten extents of each disk and LVM's first MiB.
    let found = map.locate(0, 32 << 10);
    let places: Vec<(&str, u64)> = found
        .iter()
        .map(|replica| (replica.node.as_str(), replica.offset))
        .collect();
    assert_eq!(places, [("storage0", 41 << 20), ("storage1", 41 << 20)]);
}
