//! What is written: the scenario file, key by key. The guide for authors is `scenarios/README.md`.
//!
//! Every struct mirrors a table of the file, every field a key: its type, and whether it is required, optional or has
//! a default; an example follows `required`. See [`crate::table`] for the notation.

use std::time::Duration;

use serde_json::{Value as Json, json};
use toml::Spanned;
use toml::de::DeValue;

use crate::diagnostic::Mistakes;
use crate::names::{
    CheckpointName, ClusterName, GuestPath, ImageName, NodeName, StepLabel, VolumeName,
};
use crate::pattern::Pattern;
use crate::plan::{Arch, Joins, NbdServer, NicModel, Source};
use crate::read::{At, Field, Table, Value, read};
use crate::table::{choice, table};
use crate::units::ByteSize;
use crate::value::{Nodes, TierWord};

table! {
    /// A scenario: nodes, the storage layers on them, and the steps to take.
    Document, "a scenario", "" {
        /// The scenario in a few words.
        name: String, required r#""hot node addition""#;
        /// `long` keeps it out of `cargo test` unless `--include-ignored` is given.
        tier: TierWord, default TierWord::Default;
        /// Why the tier is `long`.
        reason: String, optional;
        /// Built from nothing in every run: never forked from a checkpoint, and keeps none.
        fresh: bool, default false;
        /// The manifest under `images/`, without `.toml`, that the guests boot.
        image: ImageName, default default_image();
        /// The network of the nodes.
        network: Network, optional;
        /// Every node that will ever take part, in the order of their numbers.
        nodes: NodeTable, required r#"{ vix0 = { arch = "x86_64" } }"#;
        /// The storage stack, lowest layer first.
        layer: Vec<At<LayerEntry>>, default Vec::new();
        /// What is done once the layers are up, in order.
        step: Vec<At<StepEntry>>, default Vec::new();
    }
}

fn default_image() -> ImageName {
    ImageName::parse("debian-bookworm").expect("a valid name")
}

table! {
    /// The one layer-2 network that joins all nodes.
    Network, "`network`", "{ mtu = 1500 }" {
        /// Largest IP packet in bytes, 576 to 65535; a node whose card carries less gets less. Default: the lab's fastest.
        mtu: u32, optional;
        /// Nodes whose traffic is written to pcap files.
        capture: Nodes, optional;
    }
}

/// `[nodes]`: names or ranges of names, each with its table, in the order of the file.
#[derive(Debug, Clone)]
pub(crate) struct NodeTable(pub(crate) Vec<(Field<Pattern>, Field<Node>)>);

table! {
    /// One node, or several alike.
    Node, "a node", r#"{ arch = "x86_64" }"# {
        /// Instruction set of kernel and programs.
        arch: Arch, required r#""x86""#;
        /// Model of the network card.
        nic: NicModel, default NicModel::VirtioNet;
        /// RAM, 192MiB to 16GiB.
        memory: ByteSize, default ByteSize::from_mib(256);
        /// Virtual CPUs, 1 to 8.
        cpus: u8, default 1;
        /// `start`: before the first layer; `later`: in an `add_node` step.
        joins: Joins, default Joins::AtStart;
    }
}

table! {
    /// One storey of the storage stack.
    LayerEntry, "a `[[layer]]`", r#"{ nbd = { disk = "1GiB" } }"# {
        /// Which.
        kind: Layer, one_of;
    }
}

choice! {
    /// The kinds of layers.
    Layer, "layer", "layers" {
        nbd => Nbd,
        striped => Striped,
        linear => Linear,
        o2cb => O2cb,
        ocfs2 => Ocfs2,
    }
}

table! {
    /// Network block devices: each node that is there from the start exports a disk, every node imports them all.
    Nbd, "`nbd`", r#"{ disk = "1GiB" }"# {
        /// Size of each node's disk, 1MiB to 1TiB.
        disk: ByteSize, required r#""1GiB""#;
        /// TCP port of the servers.
        port: u16, default 4300;
        /// Server program: `nbdkit`, or the article's `nbd-server`, which starts slowly.
        server: NbdServer, default NbdServer::Nbdkit;
        /// Block size that the client tells its kernel: 512B, 1KiB, 2KiB or 4KiB.
        block_size: ByteSize, default ByteSize::from_bytes(4096);
    }
}

table! {
    /// A device-mapper stripe (RAID 0) over the NBD disks.
    Striped, "`striped`", r#"{ name = "nbdsan" }"# {
        /// Name under `/dev/mapper`.
        name: VolumeName, required r#""nbdsan""#;
        /// Bytes on one disk before the next disk's turn: a power of two, at least 4KiB.
        chunk: ByteSize, default ByteSize::from_bytes(16 << 10);
    }
}

table! {
    /// The NBD disks one after another, by device-mapper.
    Linear, "`linear`", r#"{ name = "nbdsan" }"# {
        /// Name under `/dev/mapper`.
        name: VolumeName, required r#""nbdsan""#;
    }
}

table! {
    /// OCFS2's own cluster stack: who is a member, and who is still alive.
    O2cb, "`o2cb`", r#"{ cluster = "nbdsan" }"# {
        /// Name of the cluster, at most 16 letters and digits.
        cluster: ClusterName, required r#""nbdsan""#;
        /// TCP port of the nodes' connections with each other.
        port: u16, default 7777;
        /// A node is dead after (this - 1) * 2 s without a heartbeat; at least 2.
        heartbeat_threshold: u32, default 31;
        /// A connection is dead after this long without a word.
        idle_timeout: Duration, default Duration::from_secs(30);
        /// Silence before a node asks whether the other is there; less than `idle_timeout`.
        keepalive_delay: Duration, default Duration::from_secs(2);
        /// Wait before connecting again.
        reconnect_delay: Duration, default Duration::from_secs(2);
    }
}

table! {
    /// The cluster file system on the topmost device.
    Ocfs2, "`ocfs2`", r#"{ slots = 4, at = "/mnt/nbdsan" }"# {
        /// Nodes that can mount at the same time, 1 to 255.
        slots: u8, required "4";
        /// Where it is mounted.
        at: GuestPath, required r#""/mnt/nbdsan""#;
        /// `--fs-features` of mkfs.ocfs2.
        features: Vec<At<String>>, default Vec::new();
        /// Size of each slot's journal, at least 4MiB.
        journal: ByteSize, default ByteSize::from_mib(8);
        /// Whether all nodes mount it before the first step, or leave that to `mount` steps.
        mount: bool, default true;
    }
}

table! {
    /// One thing done to the running stack.
    StepEntry, "a `[[step]]`", "{ mount = {} }" {
        /// How the record calls it; unique. Default: the action's word, then with `-2`, `-3`.
        label: StepLabel, optional;
        /// The longest that it may take, 1s to 24 hours. Default: see each action.
        deadline: Duration, optional;
        /// After the step the whole fleet is kept under this name, so that a later run can begin from there.
        checkpoint: CheckpointName, optional;
        /// What is done.
        action: Action, one_of;
    }
}

choice! {
    /// What a step can do.
    Action, "action", "actions" {
        mount => Mount,
        unmount => Unmount,
        dd => Dd,
        wait => Wait,
        add_node => AddNode,
        check => Check,
        run => Run,
    }
}

table! {
    /// Mounts the volume on nodes, side by side.
    Mount, "`mount`", "{}" {
        /// Default: every node that is there and has not mounted it.
        on: Nodes, optional;
        /// The mount must fail, and mount or the kernel say this (a regular expression).
        fails: String, optional;
    }
}

table! {
    /// Unmounts the volume on nodes, side by side.
    Unmount, "`unmount`", "{}" {
        /// Default: every node that has it mounted.
        on: Nodes, optional;
    }
}

table! {
    /// Writes with dd, from a common start when on several nodes.
    Dd, "`dd`", r#"{ of = "{node}.img", bs = "1MiB", count = 64 }"# {
        /// The writers. Default: every node that has the volume mounted.
        on: Nodes, optional;
        /// `zero`, or `random` bytes made in the guest's memory beforehand.
        source: Source, default Source::Zero;
        /// File, relative to the mount point; `{node}` stands for the writer's name.
        of: String, required r#""{node}.img""#;
        /// Block size.
        bs: ByteSize, required r#""1MiB""#;
        /// Blocks.
        count: u64, required "400";
        /// dd's `oflag=`.
        oflag: Vec<At<String>>, default Vec::new();
        /// dd's `conv=`.
        conv: Vec<At<String>>, default Vec::new();
        /// Goes on during the next steps, until a `wait` for its label or the scenario's end.
        background: bool, default false;
    }
}

table! {
    /// Waits for a step that runs in the background.
    Wait, "`wait`", r#"{ step = "load" }"# {
        /// Its label.
        step: StepLabel, required r#""load""#;
    }
}

table! {
    /// Boots a node that joins later, brings up all layers there and makes it known to the others.
    AddNode, "`add_node`", r#"{ node = "vc" }"# {
        /// Which.
        node: NodeName, required r#""vc""#;
        /// Whether it mounts the volume as well. Default: whether there is one.
        mount: bool, optional;
    }
}

table! {
    /// Looks at the fleet and compares.
    Check, "`check`", r#"{ same_tree = "/mnt/nbdsan" }"# {
        /// The nodes asked. Default: every node that has the volume mounted; without `same_tree`, every node.
        on: Nodes, optional;
        /// Below this path all nodes see the same files with the same contents.
        same_tree: GuestPath, optional;
        /// No oops, BUG, hung task or lockup in any kernel log.
        kernel_log: bool, default true;
    }
}

table! {
    /// Runs a command on nodes, side by side.
    Run, "`run`", r#"{ command = "uptime" }"# {
        /// Default: every node that is there.
        on: Nodes, optional;
        /// Given to the guest's shell; `{node}` stands for the node's name.
        command: String, required r#""uname -m""#;
        /// The exit code that it must end with.
        exit: i32, default 0;
        /// What it must print, on standard output or error (a regular expression).
        output: String, optional;
    }
}

impl Value for NodeTable {
    const WANTED: &'static str = "a table of nodes";
    const EXAMPLE: &'static str = r#"{ vix0 = { arch = "x86_64" } }"#;

    fn read(value: &Spanned<DeValue<'_>>, mistakes: &mut Mistakes) -> Option<Self> {
        let table = Table::open::<Self>("`nodes`", value, mistakes)?;
        let nodes = table.entries().map(|(key, entry)| {
            let name = Spanned::new(key.span(), DeValue::String(key.get_ref().clone()));
            (read(&name, mistakes), read(entry, mistakes))
        });
        Some(Self(nodes.collect()))
    }

    fn schema() -> Json {
        json!({ "type": "object", "additionalProperties": Node::schema() })
    }
}
