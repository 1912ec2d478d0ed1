//! What the stack would do where a disk is carried by iSCSI or shared by QEMU, or by NBD from servers to clients.

use sanlab_plan::LayerKind;
use sanlab_stack::{Present, Stack, compose};

use crate::book::Book;
use crate::fixture::{name, planned};

const NODES: &str = r#"
[nodes]
"storage[0-1]" = { arch = "x86" }
client = { arch = "x86_64" }
later = { arch = "x86_64", joins = "later" }
"#;

const STEPS: &str = r#"
[[step]]
add_node = { node = "later" }
"#;

fn stack(layer: &str) -> Stack {
    compose(&planned(NODES, &format!("[[layer]]\n{layer}"), STEPS))
}

pub(crate) fn tell(book: &mut Book) {
    let there = ["storage0", "storage1", "client"].map(name);
    let later = name("later");
    let all = Present::all(&there);

    let iscsi = stack(r#"iscsi = { on = "storage[0-1]", disk = "64MiB" }"#);
    book.add("iscsi", &iscsi.up());
    book.add("a client joins", &iscsi.join(&later, &all));
    let storage0 = Present::all(&there[1..]);
    book.add("a server comes back", &iscsi.rejoin(&there[0], &storage0));
    let started = |at: usize| iscsi.start(LayerKind::Iscsi, &there[at], &all);
    book.add("tgtd is started again", &[started(0)]);
    book.add("iscsid is started again", &[started(2)]);
    book.add("iscsi goes", &iscsi.down(&there, &[]));
    book.add_looks(&iscsi);
    assert_eq!(iscsi.daemon_of(&there[0], "tgtd"), Some(LayerKind::Iscsi));
    assert_eq!(iscsi.daemon_of(&there[0], "iscsid"), None);
    let cached = stack(r#"iscsi = { on = "storage0", disk = "64MiB", write_cache = true }"#);
    book.add("iscsi with a write cache", &cached.up());

    let shared = stack(r#"shared_disk = { size = "64MiB", count = 2 }"#);
    book.add("shared disks", &shared.up());
    book.add("a node joins", &shared.join(&later, &all));
    book.add("shared disks go", &shared.down(&there, &[]));

    let paths = stack(
        r#"shared_disk = { size = "64MiB", bus = "virtio-scsi", paths = 2 }
[[layer]]
multipath = {}"#,
    );
    book.add("a shared disk over two SCSI paths", &paths.up());
    book.add_looks(&paths);

    let nbd = stack(r#"nbd = { on = "storage0", clients = ["client", "later"], disk = "64MiB" }"#);
    book.add("nbd", &nbd.up());
    book.add("a client of nbd joins", &nbd.join(&later, &all));
    book.add("nbd goes", &nbd.down(&there, &[]));
}
