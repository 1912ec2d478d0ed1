//! `[[layer]]`: the kinds of layers, key by key.

use std::time::Duration;

use crate::names::{ClusterName, GuestPath, ResourceName, VolumeName};
use crate::plan::{FirstSync, Grouping, NbdServer, NoPath, Primaries, Selector, Transport};
use crate::read::At;
use crate::table::{choice, table};
use crate::units::ByteSize;
use crate::value::Nodes;

choice! {
    /// The kinds of layers.
    Layer, "layer", "layers" {
        nbd => Nbd,
        membership => Membership,
        drbd => Drbd,
        gnbd => Gnbd,
        multipath => Multipath,
        md => Md,
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
        /// nbdkit's filters, the outermost first: `delay`, `rate`, `log`, ...
        filters: Vec<At<String>>, default Vec::new();
        /// `KEY=VALUE` words for nbdkit's filters and its file plugin, such as `delay-write=2ms`.
        options: Vec<At<String>>, default Vec::new();
    }
}

table! {
    /// A cluster of corosync, cman's successor: who is a member.
    Membership, "`membership`", r#"{ cluster = "storage0" }"# {
        /// Its name, at most 16 letters and digits.
        cluster: ClusterName, required r#""storage0""#;
        /// The members, those that join later too. Default: every node.
        on: Nodes, optional;
        /// How they talk: `knet`, corosync's own, or `udpu`, plain UDP.
        transport: Transport, default Transport::Knet;
        /// Whether their messages are encrypted and signed; `knet` only.
        crypto: bool, default false;
        /// Silence after which a member is suspected, 1s to 5m; after 2.2 times that it is declared dead.
        token: Duration, default Duration::from_secs(5);
    }
}

table! {
    /// A disk of which two nodes hold a copy each.
    Drbd, "`drbd`", r#"{ resource = "r0", on = ["storage0a", "storage0b"], disk = "256MiB" }"# {
        /// Its name in DRBD's configuration; the first of the layers is `/dev/drbd0`.
        resource: ResourceName, required r#""r0""#;
        /// The two nodes.
        on: Nodes, required r#"["storage0a", "storage0b"]"#;
        /// Size of each node's disk, 1MiB to 1TiB; DRBD keeps its metadata at the end of it.
        disk: ByteSize, required r#""256MiB""#;
        /// Who may write: `both`, or the `first` alone, and then only that one offers a device.
        primaries: Primaries, default Primaries::Both;
        /// The first synchronisation: `skip` it, since new disks are alike, or a `full` one.
        sync: FirstSync, default FirstSync::Skip;
        /// Silence after which the peer is asked, 1s to 120s in whole seconds.
        ping_interval: Duration, default Duration::from_secs(3);
        /// How long it may take to answer, 100ms to 30s in steps of 100ms; then it is given up.
        ping_timeout: Duration, default Duration::from_secs(3);
    }
}

table! {
    /// GNBD: servers export a device each, clients import from all of them.
    Gnbd, "`gnbd`", r#"{ clients = ["client0", "client1"] }"# {
        /// The servers. Default: every node to which the layers below give a device.
        on: Nodes, optional;
        /// The clients, those that join later too. Default: every node that is no server.
        clients: Nodes, optional;
        /// Size of each server's own disk, 1MiB to 1TiB, where no layer below gives it a device.
        disk: ByteSize, optional;
        /// Through the server's page cache, and with clients that wait for ever for a lost server.
        cached: bool, default false;
        /// An uncached export's time-out, 1s to 1h in whole seconds. Default: 10s.
        timeout: Duration, optional;
        /// TCP port of the servers.
        port: u16, default 14567;
        /// Name of each export; `{node}` stands for the server's name, `{suffix}` for that without its leading letters.
        export: String, default "gnbd{suffix}".to_owned();
        /// Requests fail after this time, 0s to 1h in whole seconds, without fencing the server first.
        fail_fast: Duration, optional;
        /// Whether corosync says who is a member and who is fenced. Default: whether it can.
        membership: bool, optional;
    }
}

table! {
    /// One device for all paths to the same disk, by multipathd: those of `gnbd` with the same uid.
    Multipath, "`multipath`", "{}" {
        /// Which path of a group takes the next request: `round-robin`, `service-time` or `queue-length`.
        selector: Selector, default Selector::RoundRobin;
        /// `multibus`: all paths in one group; `failover`: one path a group.
        grouping: Grouping, default Grouping::Multibus;
        /// What becomes of requests while no path is left: `queue` or `fail`.
        no_path: NoPath, default NoPath::Queue;
        /// Time between looks at a path, 1s to 60s in whole seconds.
        polling: Duration, default Duration::from_secs(2);
    }
}

table! {
    /// Linux software RAID by mdadm, over the devices below, on each node for itself.
    Md, "`md`", r#"{ name = "md0", level = 1 }"# {
        /// Name under `/dev/md`.
        name: VolumeName, required r#""md0""#;
        /// 0 (striped) or 1 (mirrored).
        level: u8, required "1";
        /// Bytes on one device before the next one's turn, for level 0: a power of two from 4KiB. Default: 64KiB.
        chunk: ByteSize, optional;
    }
}

table! {
    /// A device-mapper stripe (RAID 0) over the devices below.
    Striped, "`striped`", r#"{ name = "nbdsan" }"# {
        /// Name under `/dev/mapper`.
        name: VolumeName, required r#""nbdsan""#;
        /// Bytes on one disk before the next disk's turn: a power of two, at least 4KiB.
        chunk: ByteSize, default ByteSize::from_bytes(16 << 10);
    }
}

table! {
    /// The devices below one after another, by device-mapper.
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
