//! What the stack would do in the article's fleet: vix0 to vix3, and vc that joins later.

use std::time::Duration;

use sanlab_plan::{
    ByteSize, ClusterName, GuestPath, Layer, Linear, Nbd, NbdServer, NodeName, O2cb, Ocfs2,
    Striped, VolumeName,
};
use sanlab_stack::{Stack, StackError, compose};

use crate::ground::{name, plan, show, show_all};

fn nbd(server: NbdServer) -> Layer {
    Layer::Nbd(Nbd {
        disk: ByteSize::from_mib(1024),
        port: 4300,
        server,
        block_size: ByteSize::from_bytes(4096),
        filters: Vec::new(),
        options: Vec::new(),
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
}

#[test]
fn the_articles_own_server() {
    let stack = compose(&plan(vec![nbd(NbdServer::NbdServer)])).expect("fits");
    insta::assert_snapshot!("up_nbd_server", show(&stack.up()[0]));
}

#[test]
fn filters_stand_before_the_plugin_and_options_after_its_file() {
    let Layer::Nbd(plain) = nbd(NbdServer::Nbdkit) else {
        unreachable!()
    };
    let slow = Layer::Nbd(Nbd {
        filters: vec!["log".to_owned(), "delay".to_owned()],
        options: vec!["logfile=/tmp/log".to_owned(), "delay-write=2ms".to_owned()],
        ..plain
    });
    let stack = compose(&plan(vec![slow])).expect("fits");
    insta::assert_snapshot!("up_nbd_filters", show(&stack.up()[0]));
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
fn the_topmost_device_is_the_one_below_the_file_system() {
    let (stack, there) = (article(), old_nodes());
    assert_eq!(stack.top_device(&there[0]), Some("/dev/mapper/nbdsan"));
    assert_eq!(stack.top_device(&name("vc")), Some("/dev/mapper/nbdsan"));
    assert!(stack.share_device(&there[0], &name("vc")));
    let several = compose(&plan(vec![nbd(NbdServer::Nbdkit)])).expect("fits");
    assert_eq!(several.top_device(&there[0]), None);
    assert!(!several.share_device(&there[0], &there[1]));
    let none = compose(&plan(Vec::new())).expect("fits");
    assert_eq!(none.top_device(&there[0]), None);
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
        StackError::ManyBelow {
            layer: "ocfs2",
            count: 4
        }
    );
    assert_eq!(
        error(vec![nbd(NbdServer::Nbdkit), striped(), ocfs2(true)]),
        StackError::NoCluster
    );
}
