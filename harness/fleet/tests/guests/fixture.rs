//! What all trials stand on: images, a store of templates and checkpoints that goes away, a fleet's description.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Duration;

use sanlab_fleet::{
    Accelerator, AcceleratorWish, Command, Fleet, FleetEvent, FleetSpec, Held, Image, Kind, Node,
    NodeSpec, SavedFleet, StartMode, Store,
};
use sanlab_image::{Manifest, ensure, missing_host_tools};
use sanlab_plan::{Arch, ByteSize, Hardware, NicModel};
use serde::{Deserialize, Serialize};
use tokio::sync::OnceCell;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

pub(crate) const MINUTE: Duration = Duration::from_secs(60);

/// Says on vix0 how many lines of vix1's have come over a connection that never ends.
pub(crate) const HEARD: &str = "wc -l </tmp/heard";

/// Why no guests can run here.
pub(crate) fn lacking() -> Option<String> {
    let lacking: Vec<String> = missing_host_tools()
        .iter()
        .map(|tool| format!("{tool:?}"))
        .collect();
    let qemu = sanlab_vm::qemu_binary(Arch::X86_64, Accelerator::Tcg);
    let qemu = Some(qemu).filter(|program| sanlab_vm::installed(program).is_none());
    let lacking: Vec<String> = lacking
        .into_iter()
        .chain(qemu.map(|program| program.display().to_string()))
        .collect();
    (!lacking.is_empty()).then(|| format!("this host lacks {}", lacking.join(", ")))
}

pub(crate) fn images() -> &'static BTreeMap<Arch, Image> {
    static IMAGES: OnceLock<BTreeMap<Arch, Image>> = OnceLock::new();
    IMAGES.get_or_init(|| {
        let project = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let manifest = Manifest::load(&project.join("images/debian-bookworm.toml")).unwrap();
        let store = Store::open_default().unwrap();
        let image = |arch| {
            let image = ensure(&store, &manifest, arch, false, &|_| ()).unwrap();
            (arch, image)
        };
        [Arch::X86, Arch::X86_64].map(image).into()
    })
}

/// Everything that the trials of one process leave on the disk.
pub(crate) fn den() -> &'static Path {
    static DEN: OnceLock<PathBuf> = OnceLock::new();
    DEN.get_or_init(|| {
        clear();
        let den = place();
        fs_err::create_dir_all(&den).unwrap();
        den
    })
}

/// Removes it: nothing drops a static.
pub(crate) fn clear() {
    let _ = fs_err::remove_dir_all(place());
}

/// On the disk where the crate was built: the store holds whole memories.
fn place() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("guests")
}

pub(crate) fn store() -> Store {
    Store::at(&den().join("store")).unwrap()
}

/// Two of x86 that are alike, one of `x86_64`, one with an e1000, and one that comes later.
pub(crate) fn spec(store: &Store, logs: &str) -> FleetSpec {
    let member = |number: u8, name: &str, arch, nic| NodeSpec {
        name: name.to_owned(),
        number,
        hardware: Hardware::new(arch, ByteSize::from_mib(256)),
        nic,
        nice: 0,
        disk_bytes: 64 << 20,
    };
    let members = vec![
        member(0, "vix0", Arch::X86_64, NicModel::VirtioNet),
        member(1, "vix1", Arch::X86, NicModel::VirtioNet),
        member(2, "vix2", Arch::X86, NicModel::VirtioNet),
        member(3, "vix3", Arch::X86, NicModel::E1000),
        member(4, "vc", Arch::X86, NicModel::VirtioNet),
    ];
    let image = |member: &NodeSpec| {
        let image = images()[&member.hardware.arch].clone();
        (member.name.clone(), image)
    };
    FleetSpec {
        images: members.iter().map(image).collect(),
        networks: vec![sanlab_fleet::NetworkSpec::main(sanlab_fleet::DEFAULT_MTU)],
        accelerator: AcceleratorWish::Auto,
        qemu: None,
        count_instructions: false,
        logs: store.root().join("../logs").join(logs),
        start_mode: StartMode::Clone(store.clone()),
        shares_cpus: false,
        disks_survive: false,
        saveable: false,
        volatile_caches: Vec::new(),
        shared_disks: Vec::new(),
        warm: "ls /bin >/dev/null".to_owned(),
        absent: Vec::new(),
        members,
    }
}

pub(crate) const FOUR: [&str; 4] = ["vix0", "vix1", "vix2", "vix3"];

pub(crate) fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(ToString::to_string).collect()
}

pub(crate) fn listener() -> (UnboundedSender<FleetEvent>, UnboundedReceiver<FleetEvent>) {
    unbounded_channel()
}

/// What a script prints.
pub(crate) async fn says(node: &Node, script: &str) -> String {
    let output = node.exec(Command::script(script), MINUTE).await.unwrap();
    output.success().unwrap().text().trim().to_owned()
}

pub(crate) async fn node_says(fleet: &Fleet, node: &str, script: &str) -> String {
    says(&fleet.node(node).unwrap(), script).await
}

/// Whether the connection between vix1 and vix0 lives.
pub(crate) async fn is_heard(fleet: &Fleet) -> bool {
    let more = format!(
        "n=$({HEARD}); i=0; until [ $({HEARD}) -gt $n ]; do i=$((i + 1)); [ $i -lt 100 ]; usleep 100000; done"
    );
    let vix0 = fleet.node("vix0").unwrap();
    let heard = vix0.exec(Command::script(more), MINUTE).await.unwrap();
    heard.status.is_success()
}

pub(crate) async fn end(fleet: Fleet) {
    let teardown = fleet.shutdown().await;
    assert!(teardown.errors.is_empty(), "{:?}", teardown.errors);
}

/// A label as those who use fleets write it.
#[derive(Serialize, Deserialize)]
pub(crate) struct Label {
    pub(crate) about: String,
    pub(crate) fleet: SavedFleet,
}

/// Saves a fleet that was started with this workspace's folder, and publishes what it wrote.
pub(crate) async fn publish(fleet: &Fleet, workspace: sanlab_fleet::Workspace) -> Held {
    let label = Label {
        about: "a fleet of the tests".to_owned(),
        fleet: fleet.save().await.unwrap(),
    };
    workspace.publish(&label).unwrap()
}

/// The four, saved: they have written to their disks and memory, and vix1 speaks to vix0.
pub(crate) async fn checkpoint() -> &'static Held {
    static SAVED: OnceCell<Held> = OnceCell::const_new();
    SAVED
        .get_or_init(|| async {
            let store = store();
            let workspace = store.claim(Kind::Checkpoint, "00aa", |_| ()).unwrap();
            let workspace = workspace.workspace().unwrap();
            let fleet = talking(&store, workspace.path()).await;
            let held = publish(&fleet, workspace).await;
            end(fleet).await;
            held
        })
        .await
}

/// The four at work.
pub(crate) async fn talking(store: &Store, keep: &Path) -> Fleet {
    let (events, _) = listener();
    let spec = spec(store, "saved");
    let fleet = Fleet::start(spec, &names(&FOUR), Some(keep), events)
        .await
        .unwrap();
    for node in fleet.nodes() {
        let name = node.name();
        says(&node, &format!("echo disk of {name} | dd of=/dev/vdb conv=notrunc 2>/dev/null; echo memory of {name} >/tmp/mark")).await;
    }
    // dd has the socket itself, and writes down what comes when it comes.
    let listen = ": >/tmp/heard
                  nc -l -p 7000 -e /bin/busybox dd of=/tmp/heard bs=64 </dev/null >/dev/null 2>&1 &
                  until grep -qi ':1B58 0*:0000 0A' /proc/net/tcp /proc/net/tcp6; do usleep 10000; done";
    node_says(&fleet, "vix0", listen).await;
    let talk = "(while echo tick; do usleep 100000; done | nc vix0.local 7000) </dev/null >/dev/null 2>&1 &";
    node_says(&fleet, "vix1", talk).await;
    assert!(is_heard(&fleet).await);
    fleet
}

/// A fork of a checkpoint.
pub(crate) async fn fork(held: &Held, logs: &str, keep: Option<&Path>) -> Fleet {
    let (events, _) = listener();
    let label: Label = held.label().unwrap();
    let spec = spec(&store_of(held.path()), logs);
    Fleet::fork(spec, &label.fleet, held.path(), keep, events)
        .await
        .unwrap()
}

/// The store that has this entry: ROOT/checkpoints/KEY.
pub(crate) fn store_of(entry: &Path) -> Store {
    Store::at(entry.ancestors().nth(2).unwrap()).unwrap()
}

/// Disks and memory are as they were saved, and so is the connection.
pub(crate) async fn expect_as_saved(fleet: &Fleet) {
    for node in fleet.nodes() {
        let name = node.name();
        let seen = says(&node, "head -n 1 /dev/vdb; cat /tmp/mark; hostname").await;
        assert_eq!(seen, format!("disk of {name}\nmemory of {name}\n{name}"));
    }
    assert!(is_heard(fleet).await);
}
