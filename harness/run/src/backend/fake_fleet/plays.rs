//! Plans for the fake fleet.

use std::path::Path;
use std::time::Duration;

use sanlab_plan::{
    AccessPattern, Action, ByteSize, CacheFate, Check, Crash, CrashKind, Dd, DiskFault,
    DiskFaultKind, GuestPath, Heal, Mount, NodeName, Partition, Plan, Requests, Restart, Run,
    Source, Step, StepLabel, Target, Throughput, Tool, Verify, Wait, Write,
};

pub(crate) fn node(name: &str) -> NodeName {
    NodeName::parse(name).unwrap()
}

pub(crate) fn step(label: &str, action: Action) -> Step {
    Step {
        after: Duration::ZERO,
        label: StepLabel::parse(label).unwrap(),
        deadline: Duration::from_secs(30),
        checkpoint: None,
        expect: Vec::new(),
        action,
    }
}

pub(crate) fn run(on: &str, command: &str) -> Action {
    Action::Run(Run {
        on: vec![node(on)],
        command: command.to_owned(),
        exit: 0,
        output: None,
        same: false,
    })
}

pub(crate) fn dd(on: &[&str], background: bool) -> Action {
    Action::Dd(Dd {
        on: on.iter().map(|name| node(name)).collect(),
        source: Source::Zero,
        of: "{node}.img".to_owned(),
        bs: ByteSize::from_mib(1),
        count: 4,
        oflag: Vec::new(),
        conv: Vec::new(),
        background,
    })
}

pub(crate) fn write(on: &[&str], background: bool) -> Action {
    Action::Write(Write {
        on: on.iter().map(|name| node(name)).collect(),
        of: "{node}.journal".to_owned(),
        bs: ByteSize::from_bytes(4096),
        count: 4,
        interval: None,
        background,
    })
}

/// dd with one warm-up and two repetitions of 4 MiB on each node.
pub(crate) fn throughput(on: &[&str], pattern: AccessPattern) -> Throughput {
    Throughput {
        tool: Tool::Dd,
        on: on.iter().map(|name| node(name)).collect(),
        pattern,
        target: Target::File("{node}.throughput".to_owned()),
        bs: ByteSize::from_mib(1),
        size: ByteSize::from_mib(4),
        runtime: None,
        queue_depth: 1,
        direct: true,
        sync: sanlab_plan::Sync::Never,
        warm_up: 1,
        repetitions: 2,
    }
}

pub(crate) fn crash(name: &str, how: CrashKind, within: u64) -> Action {
    Action::Crash(Crash {
        node: node(name),
        how,
        within: Duration::from_secs(within),
        cache: match how {
            CrashKind::Power => CacheFate::Lost,
            CrashKind::Panic => CacheFate::Kept,
        },
        torn: false,
    })
}

/// Two groups of one each.
pub(crate) fn partition(one: &str, other: &str, lasts: Option<u64>) -> Action {
    Action::Partition(Partition {
        groups: vec![vec![node(one)], vec![node(other)]],
        one_way: false,
        network: None,
        lasts: lasts.map(Duration::from_secs),
    })
}

/// Writes to its disk fail, of which one is there.
pub(crate) fn disk_fault(on: &str, lasts: Option<u64>) -> Action {
    Action::DiskFault(DiskFault {
        on: vec![node(on)],
        kind: DiskFaultKind::Error,
        of: Requests::Writes,
        delay: Duration::ZERO,
        from: ByteSize::from_mib(64),
        to: ByteSize::from_mib(1024),
        lasts: lasts.map(Duration::from_secs),
    })
}

pub(crate) fn heal(step: &str) -> Action {
    Action::Heal(Heal {
        steps: vec![StepLabel::parse(step).unwrap()],
    })
}

pub(crate) fn restart(name: &str) -> Action {
    Action::Restart(Restart { node: node(name) })
}

pub(crate) fn mount(on: &[&str]) -> Action {
    Action::Mount(Mount {
        on: on.iter().map(|name| node(name)).collect(),
        fails: None,
    })
}

pub(crate) fn wait(label: &str) -> Action {
    Action::Wait(Wait {
        step: StepLabel::parse(label).unwrap(),
    })
}

pub(crate) fn verify(on: &[&str], replicas: bool) -> Action {
    Action::Verify(Verify {
        on: on.iter().map(|name| node(name)).collect(),
        replicas,
    })
}

pub(crate) fn same_tree(on: &[&str]) -> Action {
    Action::Check(Check {
        on: on.iter().map(|name| node(name)).collect(),
        same_tree: Some(GuestPath::parse("/mnt/nbdsan").unwrap()),
        kernel_log: true,
    })
}

/// The layers of [`plan`].
pub(crate) const LAYERS: &str = r#"
[[layer]]
nbd = { disk = "1GiB" }
[[layer]]
linear = { name = "nbdsan" }
[[layer]]
o2cb = { cluster = "nbdsan" }
[[layer]]
ocfs2 = { slots = 2, at = "/mnt/nbdsan" }
"#;

/// Two nodes with the volume mounted.
pub(crate) fn plan(steps: Vec<Step>) -> Plan {
    planned(LAYERS, steps)
}

/// Two nodes with these layers.
pub(crate) fn planned(layers: &str, steps: Vec<Step>) -> Plan {
    let text = format!(
        "name = \"a play\"\ntake_down = true\nnodes = {{ \"vix[0-1]\" = {{ arch = \"x86\" }} }}\n{layers}"
    );
    let plan = sanlab_plan::parse(Path::new("a_play.toml"), &text);
    let plan = plan.unwrap_or_else(|mistakes| panic!("{}", mistakes.render(false)));
    Plan { steps, ..plan }
}
