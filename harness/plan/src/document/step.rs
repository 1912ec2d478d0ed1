//! `[[step]]`: what steps can do, key by key.

use std::time::Duration;

use crate::names::{ClusterName, GuestPath, NodeName, ResourceName, StepLabel};
use crate::plan::{AccessPattern, CrashKind, LayerKind, Signal, Source, Sync, Tool};
use crate::read::At;
use crate::table::{choice, table};
use crate::units::{ByteSize, Percent};
use crate::value::Nodes;

choice! {
    /// What a step can do.
    Action, "action", "actions" {
        mount => Mount(Mount),
        unmount => Unmount(Unmount),
        dd => Dd(Dd),
        wait => Wait(Wait),
        add_node => AddNode(AddNode),
        check => Check(Check),
        run => Run(Run),
        write => Write(Write),
        crash => Crash(Crash),
        restart => Restart(Restart),
        stop_process => StopProcess(StopProcess),
        start => Start(Start),
        wait_for => WaitFor(WaitFor),
        verify => Verify(Verify),
        throughput => Throughput(Throughput),
        dip => Dip(Dip),
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

table! {
    /// Writes numbered, checksummed blocks past the page cache; when each was acknowledged is kept for `verify`.
    Write, "`write`", r#"{ of = "{node}.journal", bs = "64KiB", count = 500 }"# {
        /// The writers. Default: every node that has the volume mounted.
        on: Nodes, optional;
        /// File, relative to the mount point; `{node}` stands for the writer's name.
        of: String, required r#""{node}.journal""#;
        /// Size of a block, a multiple of 4KiB.
        bs: ByteSize, required r#""64KiB""#;
        /// Blocks.
        count: u64, required "500";
        /// Goes on during the next steps, until a `wait` for its label or the scenario's end.
        background: bool, default false;
    }
}

table! {
    /// Ends a node without warning.
    Crash, "`crash`", r#"{ node = "storage0a" }"# {
        /// Which.
        node: NodeName, required r#""storage0a""#;
        /// `power`: QEMU is killed; `panic`: the node's kernel panics.
        how: CrashKind, default CrashKind::Power;
        /// At a random moment within this time, drawn from the run's seed.
        within: Duration, default Duration::ZERO;
    }
}

table! {
    /// Brings a crashed node back, with its disk; every layer comes up on it again.
    Restart, "`restart`", r#"{ node = "storage0a" }"# {
        /// Which.
        node: NodeName, required r#""storage0a""#;
    }
}

table! {
    /// Sends a signal to all processes of a name.
    StopProcess, "`stop_process`", r#"{ on = "storage0a", process = "gnbd_serv" }"# {
        /// Where.
        on: Nodes, required r#""storage0a""#;
        /// The program's name.
        process: String, required r#""gnbd_serv""#;
        /// `KILL`, `TERM`, `STOP` or `CONT`.
        signal: Signal, default Signal::Kill;
    }
}

table! {
    /// Starts a layer's daemons again where they were stopped.
    Start, "`start`", r#"{ on = "storage0a", layer = "gnbd" }"# {
        /// Where.
        on: Nodes, required r#""storage0a""#;
        /// Which layer's: `membership`, `gnbd` or `multipath`.
        layer: LayerKind, required r#""gnbd""#;
    }
}

table! {
    /// Waits until nodes see a state: of multipath's `paths`, of a `drbd` resource, or of a `cluster`.
    WaitFor, "`wait_for`", "{ paths = { active = 4 } }" {
        /// Who must see it. Default: every node that is there and can.
        on: Nodes, optional;
        /// So many paths, those of all maps together.
        paths: Paths, optional;
        /// A DRBD resource, whose `connection` or `disk` or both are given.
        drbd: ResourceName, optional;
        /// Its connection, in DRBD's words: `Connected`, `WFConnection`, `SyncTarget`, ...
        connection: String, optional;
        /// Its disks, the node's own and its peer's: `UpToDate/UpToDate`, ...
        disk: String, optional;
        /// A cluster of `membership`, whose `members` are given.
        cluster: ClusterName, optional;
        /// Exactly these.
        members: Nodes, optional;
    }
}

table! {
    /// Paths of multipath.
    Paths, "`paths`", "{ active = 4 }" {
        /// Those that carry requests.
        active: u32, required "4";
        /// Those that do not.
        failed: u32, default 0;
    }
}

table! {
    /// Reads every acknowledged block of every `write` back, past the page caches.
    Verify, "`verify`", "{}" {
        /// The readers. Default: every node that has the volume mounted.
        on: Nodes, optional;
        /// Whether the blocks are looked for on every copy of the disks below as well. Default: whether the lab knows
        /// where they are, that is, without `md`.
        legs: bool, optional;
    }
}

table! {
    /// Measures throughput: the same work several times over, each time from a common start, with what it costs.
    Throughput, "`throughput`", r#"{ rw = "write", bs = "1MiB", size = "64MiB" }"# {
        /// `dd`, as in the articles, or `fio`, which tells latencies.
        tool: Tool, default Tool::Dd;
        /// Who does it. Default: every node that has the volume mounted; without a file system, that has the topmost device.
        on: Nodes, optional;
        /// `write`, `read`; with fio also `randwrite`, `randread`, `rw` and `randrw`.
        rw: AccessPattern, required r#""write""#;
        /// File, relative to the mount point; `{node}` stands for the node's name. Default: `{node}.throughput`. Without a file
        /// system the topmost device is used.
        of: String, optional;
        /// Bytes of a request, a multiple of 4KiB, or of 512B where it is not `direct`.
        bs: ByteSize, required r#""1MiB""#;
        /// Bytes that each node moves in a repetition, a multiple of `bs`; with `runtime`, those that it moves among.
        size: ByteSize, required r#""64MiB""#;
        /// fio only: each repetition takes so long, 1s to 1h, however often it comes round.
        runtime: Duration, optional;
        /// fio only: requests under way at a time, 1 to 256.
        queue_depth: u32, default 1;
        /// Past the page cache.
        direct: bool, default true;
        /// When what was written is forced out: `never`, at the `end` of each repetition, or with `each` request. Default: `never`
        /// where it is `direct`, otherwise `end`.
        sync: Sync, optional;
        /// Repetitions that are done first and do not count, at most 100.
        warm_up: u32, default 1;
        /// Repetitions that count, 1 to 1000.
        repetitions: u32, default 5;
    }
}

table! {
    /// Looks at what happened to the writers of a background step around another step, and sets limits to it.
    Dip, "`dip`", r#"{ of = "load", around = "add_node" }"# {
        /// The `write` step in the background, which has been waited for.
        of: StepLabel, required r#""load""#;
        /// The step that happened meanwhile, such as an `add_node`.
        around: StepLabel, required r#""add_node""#;
        /// A `write` step of others, begun after that and before the end of `of`: what they add.
        newcomers: StepLabel, optional;
        /// The most that may be missing in a half second: `100%` allows a stand-still.
        depth: Percent, optional;
        /// The longest that the rate may stay below half of what it was before.
        length: Duration, optional;
        /// The least by which all together must exceed what was written before; may be negative.
        adds: Percent, optional;
    }
}
