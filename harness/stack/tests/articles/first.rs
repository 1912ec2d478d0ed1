//! What the stack would do in the article's fleet: vix0 to vix3, and vc that joins later.

use sanlab_plan::NodeName;
use sanlab_stack::{Stack, compose};

use crate::ground::{name, planned, show, show_all};

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
    let stack = stack(&[r#"nbd = { disk = "1GiB", server = "nbd-server" }"#]);
    insta::assert_snapshot!("up_nbd_server", show(&stack.up()[0]));
}

#[test]
fn filters_stand_before_the_plugin_and_options_after_its_file() {
    let filters =
        r#"filters = ["log", "delay"], options = ["logfile=/tmp/log", "delay-write=2ms"]"#;
    let slow = format!(r#"nbd = {{ disk = "1GiB", {filters} }}"#);
    insta::assert_snapshot!("up_nbd_filters", show(&stack(&[&slow]).up()[0]));
}

#[test]
fn linear() {
    let stack = stack(&[NBD, r#"linear = { name = "nbdsan" }"#]);
    insta::assert_snapshot!("up_linear", show(&stack.up()[1]));
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
    let kinds: Vec<&str> = stack.up().iter().map(|work| work.kind).collect();
    assert_eq!(kinds, ["nbd", "striped", "o2cb", "ocfs2"]);
}
