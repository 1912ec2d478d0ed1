//! What the stack would do in the first article's fleet: vix0 to vix3, and vc that joins later.

use sanlab_plan::{LayerKind, NodeName};
use sanlab_stack::{Present, Stack, compose};

use crate::book::Book;
use crate::fixture::{name, planned};

const NODES: &str = r#"
[nodes]
vix0 = { arch = "x86_64" }
"vix[1-3]" = { arch = "x86" }
vc = { arch = "x86", joins = "later" }
"#;

const STEPS: &str = r#"
[[step]]
add_node = { node = "vc", mount = false }
"#;

const NBD: &str = r#"nbd = { disk = "1GiB" }"#;
const STRIPED: &str = r#"striped = { name = "nbdsan" }"#;
const O2CB: &str = r#"o2cb = { cluster = "nbdsan" }"#;
const OCFS2: &str = r#"ocfs2 = { slots = 5, at = "/mnt/nbdsan" }"#;

fn stack(layers: &[&str]) -> Stack {
    let layers: Vec<String> = layers
        .iter()
        .map(|layer| format!("[[layer]]\n{layer}"))
        .collect();
    compose(&planned(NODES, &layers.join("\n"), STEPS))
}

fn article() -> Stack {
    stack(&[NBD, STRIPED, O2CB, OCFS2])
}

fn old_nodes() -> [NodeName; 4] {
    ["vix0", "vix1", "vix2", "vix3"].map(name)
}

pub(crate) fn tell(book: &mut Book) {
    let (stack, there) = (article(), old_nodes());
    let volume = stack.volume().expect("there is one");
    let vc = name("vc");
    book.add("up", &stack.up());
    book.add("vc joins", &stack.join(&vc, &Present::all(&there)));
    let mount = volume.mount(&[vc], &there, stack.topology());
    book.add("vc mounts", &[mount]);
    book.add("down, mounted on two", &stack.down(&there, &there[..2]));
    let unmount = volume.unmount(&there[1..2], &there, stack.topology());
    book.add("one unmounts", &[unmount]);
    book.add_looks(&stack);
    let disks = self::stack(&[NBD]);
    let started = disks.start(LayerKind::Nbd, &there[1], &Present::all(&there));
    book.add("a server is started again", &[started]);
    let mut present = Present::all(&there);
    present.stopped = vec![(there[1].clone(), LayerKind::Nbd)];
    let joins = disks.join(&name("vc"), &present);
    book.add("vc joins while a server is stopped", &joins);
    assert_eq!(disks.daemon_of(&there[3], "nbdkit"), Some(LayerKind::Nbd));
    assert_eq!(disks.daemon_of(&name("vc"), "nbdkit"), None);
    let mut present = Present::all(&there);
    present.mounted = there[..2].to_vec();
    book.add_end("the end, mounted on two", &stack.end_probes(&present));
    present.there.remove(3);
    book.add_end("the end without vix3", &stack.end_probes(&present));
    let own = self::stack(&[r#"nbd = { disk = "1GiB", server = "nbd-server" }"#]);
    book.add("the article's own server", &own.up());
    // Filters stand before the plugin, and options after its file.
    let filters =
        r#"filters = ["log", "delay"], options = ["logfile=/tmp/log", "delay-write=2ms"]"#;
    let slow = self::stack(&[&format!(r#"nbd = {{ disk = "1GiB", {filters} }}"#)]);
    book.add("filters", &slow.up());
    let persists = r#"persist = true, timeout = "5s", dead_timeout = "2m""#;
    let persists = self::stack(&[&format!(r#"nbd = {{ disk = "1GiB", {persists} }}"#)]);
    book.add("clients that persist", &persists.up());
    let others = Present::all(&[&there[..1], &there[2..]].concat());
    book.add(
        "vix1 comes back to them",
        &persists.rejoin(&there[1], &others),
    );
    let linear = self::stack(&[NBD, r#"linear = { name = "nbdsan" }"#]);
    book.add("linear", &linear.up()[1..]);
}

#[test]
fn the_topmost_device_is_the_one_below_the_file_system() {
    let (stack, there) = (article(), old_nodes());
    assert_eq!(stack.top_device(&there[0]), Some("/dev/mapper/nbdsan"));
    assert_eq!(stack.top_device(&name("vc")), Some("/dev/mapper/nbdsan"));
    assert!(stack.share_device(&there[0], &name("vc")));
    let several = self::stack(&[NBD]);
    assert_eq!(several.top_device(&there[0]), None);
    assert!(!several.share_device(&there[0], &there[1]));
    let none = self::stack(&[]);
    assert_eq!(none.top_device(&there[0]), None);
}

#[test]
fn a_volume_left_to_mount_steps_is_not_mounted() {
    let ocfs2 = OCFS2.replace(" }", ", mount = false }");
    let stack = stack(&[NBD, STRIPED, O2CB, &ocfs2]);
    let kinds: Vec<&str> = stack.up().iter().map(|work| work.kind.as_str()).collect();
    assert_eq!(kinds, ["nbd", "striped", "o2cb", "ocfs2"]);
}
