//! What counts and what is excused, case by case, without any guest.

use std::path::Path;

use sanlab_plan::NetworkName;

use super::*;

const STORAGES: &str = r#"
name = "a case"
nodes = { "n[0-2]" = { arch = "x86" } }
[[layer]]
nbd = { disk = "64MiB" }
[[layer]]
linear = { name = "san" }
[[layer]]
o2cb = { cluster = "san" }
[[layer]]
ocfs2 = { slots = 3, at = "/mnt/san" }
"#;

const PAIR: &str = r#"
name = "a case"
nodes = { "n[0-2]" = { arch = "x86" } }
[[layer]]
membership = { cluster = "all" }
[[layer]]
drbd = { resource = "r", on = "n[0-1]", disk = "64MiB" }
[[layer]]
gnbd = { clients = ["n2"] }
[[layer]]
multipath = {}
"#;

struct Case {
    plan: Plan,
    faults: Faults,
    judge: Judge,
}

fn node(name: &str) -> NodeName {
    NodeName::parse(name).unwrap()
}

fn case(text: &str) -> Case {
    let plan = sanlab_plan::parse(Path::new("a_case.toml"), text);
    Case {
        plan: plan.unwrap_or_else(|mistakes| panic!("{}", mistakes.render(false))),
        faults: Faults::default(),
        judge: Judge::default(),
    }
}

impl Case {
    /// Whether a line counts that the kernel of a node writes then.
    fn says(&mut self, name: &str, at: f64, text: &str) -> bool {
        let seen = Seen {
            node: &node(name),
            at,
            phase: None,
            text,
        };
        self.judge.hear(&self.plan, &self.faults, seen)
    }

    fn breaks(&mut self, name: &str, what: Broken, at: f64) {
        let excuse = Excuse::Fault {
            step: "break".to_owned(),
            node: name.to_owned(),
        };
        self.faults.begins(Fault::new(node(name), what, excuse, at));
    }

    fn crashes(&mut self, name: &str, at: f64) {
        self.breaks(name, Broken::Down { powered: None }, at);
    }

    fn stops(&mut self, name: &str, process: &str, layer: Option<LayerKind>, at: f64) {
        let what = Broken::Process {
            name: process.to_owned(),
            layer,
            paused: false,
        };
        self.breaks(name, what, at);
    }

    fn expects(&mut self, expectation: &Expectation, at: f64) {
        let number = self.judge.declare("expect", expectation, at).unwrap();
        if let Expectation::ErrorsOf { nodes } = expectation {
            for node in nodes {
                let served = Broken::Served {
                    expectation: Some(number),
                };
                let step = "expect".to_owned();
                let excuse = Excuse::Expected { step };
                self.faults
                    .begins(Fault::new(node.clone(), served, excuse, at));
            }
        }
    }

    fn told(&self) -> Vec<String> {
        let findings = self.judge.findings().iter();
        findings.map(ToString::to_string).collect()
    }
}

const LOST: &str = "I/O error, dev nbd1, sector 8 op 0x1:(WRITE)";

#[test]
fn a_device_error_follows_from_a_fault_of_its_server_while_that_lasts() {
    let mut case = case(STORAGES);
    case.crashes("n1", 10.0);
    assert!(case.says("n0", 9.9, LOST), "before the fault");
    assert!(!case.says("n0", 10.0, LOST));
    assert!(!case.says("n2", 12.0, "Buffer I/O error on dev dm-0, logical block 7"));
    assert!(
        case.says("n0", 12.0, "I/O error, dev nbd2, sector 8"),
        "another server's"
    );
    assert!(
        case.says("n0", 12.0, "I/O error, dev vdb, sector 8"),
        "its own disk"
    );
    case.faults.powered(&node("n1"), 20.0);
    case.faults.booted(&node("n1"), 25.0);
    assert!(!case.says("n0", 29.0, LOST), "it is not whole yet");
    case.faults.mended(&node("n1"), 30.0);
    assert!(!case.says("n0", 32.0, LOST), "on its way");
    assert!(case.says("n0", 32.1, LOST), "after the mend");
    insta::assert_snapshot!(case.told().join("\n"), @r"
    2 device errors about nbd1 on n0, 9.9-32.1 s; the first: I/O error, dev nbd1, sector 8 op 0x1:(WRITE)
    3 device errors about nbd1 on n0, 10.0-32.0 s: follows from step break on n1
    1 device error about dm-0 on n2, at 12.0 s: follows from step break on n1
    1 device error about nbd2 on n0, at 12.0 s: I/O error, dev nbd2, sector 8
    1 device error about vdb on n0, at 12.0 s: I/O error, dev vdb, sector 8
    ");
}

#[test]
fn a_cut_between_nodes_excuses_what_crosses_it_and_for_as_long_again() {
    let mut case = case(STORAGES);
    let from = |names: &[&str]| Broken::CutOff {
        from: names.iter().map(|name| node(name)).collect(),
        networks: vec![NetworkName::main()],
    };
    case.breaks("n0", from(&["n1"]), 10.0);
    case.breaks("n1", from(&["n0"]), 10.0);
    let evicts = |number: u8| format!("o2cb: o2dlm has evicted node {number} from domain ADA600");
    assert!(!case.says("n0", 11.0, LOST));
    assert!(!case.says("n0", 11.0, &evicts(1)));
    assert!(!case.says("n1", 11.0, &evicts(0)));
    assert!(case.says("n2", 11.0, LOST), "n2 reaches n1");
    assert!(case.says("n2", 11.0, &evicts(1)), "n2 reaches n1");
    assert!(case.says("n0", 11.0, &evicts(2)), "n0 reaches n2");
    assert!(
        case.says("n0", 11.0, "I/O error, dev vdb, sector 8"),
        "its own disk"
    );
    let lacks = |case: &Case, name: &str, at| {
        let excuse = Judge::layer_excuse(
            &case.plan,
            &case.faults,
            (LayerKind::Linear, 1),
            (&node(name), at),
        );
        excuse.is_none()
    };
    assert!(!lacks(&case, "n0", 12.0) && lacks(&case, "n2", 12.0));
    case.faults.whole_again("another", 15.0);
    assert!(!case.says("n0", 39.0, LOST));
    case.faults.whole_again("break", 40.0);
    assert!(!case.says("n0", 72.0, LOST), "30 s and 2 s later");
    assert!(case.says("n0", 72.1, LOST));
    assert!(lacks(&case, "n0", 41.0), "it must be whole again");
}

#[test]
fn a_cut_of_one_network_excuses_what_is_on_it_alone() {
    let two = STORAGES
        .replace("nodes =", "networks = { cluster = {} }\nnodes =")
        .replace(
            r#"o2cb = { cluster = "san" }"#,
            r#"o2cb = { cluster = "san", network = "cluster" }"#,
        );
    let cut = |network: &str| Broken::CutOff {
        from: vec![node("n0"), node("n2")],
        networks: vec![NetworkName::parse(network).unwrap()],
    };
    let failed = "OCFS2: ERROR (device dm-0): ocfs2_validate_gd_parent";
    let evicted = "o2cb: o2dlm has evicted node 1 from domain ADA600";
    let lacks = |case: &Case, layer| {
        let at = (&node("n0"), 11.0);
        Judge::layer_excuse(&case.plan, &case.faults, layer, at).is_none()
    };
    let mut case = self::case(&two);
    case.breaks("n1", cut("cluster"), 10.0);
    assert!(case.says("n0", 11.0, LOST) && case.says("n0", 11.0, failed));
    assert!(!case.says("n0", 11.0, evicted));
    assert!(lacks(&case, (LayerKind::Nbd, 0)) && lacks(&case, (LayerKind::Linear, 1)));
    assert!(!lacks(&case, (LayerKind::O2cb, 2)) && !lacks(&case, (LayerKind::Ocfs2, 3)));
    let mut case = self::case(&two);
    case.breaks("n1", cut("main"), 10.0);
    assert!(!case.says("n0", 11.0, LOST) && !case.says("n0", 11.0, failed));
    assert!(
        !case.says("n0", 11.0, evicted),
        "its heartbeat is on n0's disk, too"
    );
    assert!(!lacks(&case, (LayerKind::Nbd, 0)) && lacks(&case, (LayerKind::O2cb, 2)));
    // The second cut takes the other link.
    let links = r#"
name = "a case"
networks = { cluster = {} }
nodes = { "n[0-2]" = { arch = "x86" } }
[[layer]]
membership = { cluster = "all", network = ["main", "cluster"] }
"#;
    let mut case = self::case(links);
    case.breaks("n1", cut("main"), 10.0);
    assert!(lacks(&case, (LayerKind::Membership, 0)));
    case.breaks("n1", cut("cluster"), 10.5);
    assert!(!lacks(&case, (LayerKind::Membership, 0)));
}

#[test]
fn a_disk_that_fails_excuses_what_lies_on_it() {
    let mut case = case(PAIR);
    let fails = |on: &str| format!("I/O error, dev {on}, sector 8");
    let detaches = "block drbd0: disk( UpToDate -> Failed )";
    case.breaks("n0", Broken::Disk, 10.0);
    assert!(!case.says("n0", 11.0, &fails("vdb")));
    assert!(!case.says("n0", 11.0, &fails("dm-0")));
    assert!(!case.says("n0", 11.0, detaches));
    assert!(!case.says("n1", 11.0, &fails("drbd0")));
    assert!(!case.says("n2", 11.0, &fails("nbd0")), "what n0 exports");
    assert!(
        !case.says("n2", 11.0, &fails("dm-0")),
        "the map of both paths"
    );
    assert!(case.says("n1", 11.0, &fails("vdb")), "another disk");
    assert!(case.says("n1", 11.0, detaches), "another half");
    let lost = "o2cb: o2dlm has evicted node 0 from domain ADA600";
    assert!(case.says("n2", 11.0, lost), "the node is there");
    let lacks = |case: &Case, layer, name: &str| {
        let at = (&node(name), 11.0);
        Judge::layer_excuse(&case.plan, &case.faults, layer, at).is_none()
    };
    assert!(!lacks(&case, (LayerKind::Drbd, 1), "n1"));
    assert!(lacks(&case, (LayerKind::Membership, 0), "n0"));
    case.faults.whole_again("break", 20.0);
    assert!(!case.says("n0", 21.0, &fails("vdb")), "it was under way");
    assert!(case.says("n0", 22.1, &fails("vdb")));
    assert!(case.says("n0", 22.1, detaches));
}

#[test]
fn a_stopped_daemon_excuses_what_its_layer_serves() {
    let mut case = case(STORAGES);
    assert!(case.says("n0", 0.5, LOST));
    case.stops("n1", "corosync", Some(LayerKind::Membership), 1.0);
    assert!(case.says("n0", 1.5, LOST), "another layer's");
    case.stops("n1", "nbdkit", Some(LayerKind::Nbd), 2.0);
    assert!(!case.says("n0", 2.5, LOST));
    case.faults.goes_on(&node("n1"), "nbdkit", 3.0);
    assert!(case.says("n0", 5.5, LOST));
    case.stops("n1", "my-proxy", None, 6.0);
    assert!(case.says("n0", 6.5, LOST), "of no layer: it serves nothing");
}

#[test]
fn a_complaint_without_a_device_follows_from_a_fault_that_any_device_needs() {
    let mut case = case(PAIR);
    case.crashes("n0", 1.0);
    assert!(!case.says("n2", 2.0, "Write-error on swap-device (43:0:8)"));
    case.faults = Faults::default();
    case.crashes("n2", 1.0);
    assert!(case.says("n0", 2.0, "Write-error on swap-device (43:0:8)"));
}

#[test]
fn what_a_node_says_at_its_own_end_is_excused_and_nothing_before() {
    let mut case = case(STORAGES);
    assert!(case.says("n1", 1.0, "kernel BUG at fs/x.c:1!"));
    case.crashes("n1", 2.0);
    assert!(!case.says(
        "n1",
        2.0,
        "Kernel panic - not syncing: sysrq triggered crash"
    ));
    assert!(case.says(
        "n0",
        2.0,
        "Kernel panic - not syncing: sysrq triggered crash"
    ));
    case.faults.powered(&node("n1"), 5.0);
    assert!(case.says("n1", 5.5, "kernel BUG at fs/x.c:1!"), "it boots");
}

#[test]
fn kernels_that_stumble_are_excused_by_no_fault() {
    let mut case = case(STORAGES);
    case.crashes("n1", 1.0);
    for line in [
        "Kernel panic - not syncing: x",
        "Oops: 0002 [#1]",
        "kernel BUG at fs/x.c:1!",
        "INFO: task dd:812 blocked for more than 120 seconds.",
        "watchdog: BUG: soft lockup - CPU#0 stuck for 22s! [dd:901]",
        "Out of memory: Killed process 901 (dd)",
        "WARNING: CPU: 0 PID: 88 at fs/x.c:1 x",
        "WARNING: suspicious RCU usage",
        "block drbd0: Split-Brain detected but unresolved, dropping connection!",
        "*** ocfs2 is very sorry to be fencing this system by restarting ***",
    ] {
        assert!(case.says("n0", 2.0, line), "{line}");
    }
}

#[test]
fn a_file_system_error_follows_only_from_a_loss_of_its_bytes() {
    let line = "EXT4-fs error (device dm-0): ext4_find_entry:1455: inode #2";
    let mut single = case(STORAGES);
    single.crashes("n1", 1.0);
    assert!(!single.says("n0", 2.0, line));
    let mut pair = case(PAIR);
    pair.crashes("n0", 1.0);
    assert!(pair.says("n2", 2.0, line), "the other storage has it still");
    assert!(
        !pair.says("n2", 2.0, "I/O error, dev nbd3, sector 8"),
        "a path"
    );
    pair.crashes("n1", 3.0);
    assert!(!pair.says("n2", 4.0, line));
}

#[test]
fn a_half_of_a_pair_fails_by_itself() {
    let mut case = case(PAIR);
    case.crashes("n1", 1.0);
    assert!(!case.says("n0", 2.0, "I/O error, dev drbd0, sector 8"));
    assert!(case.says("n0", 2.0, "block drbd0: disk( UpToDate -> Failed ) "));
}

#[test]
fn an_eviction_follows_from_a_fault_of_the_evicted() {
    let mut case = case(STORAGES);
    let line = "o2cb: o2dlm has evicted node 1 from domain ADA600";
    assert!(case.says("n0", 0.5, line));
    case.crashes("n2", 1.0);
    assert!(case.says("n0", 1.5, line), "another node's");
    case.stops("n1", "nbdkit", Some(LayerKind::Nbd), 2.0);
    assert!(case.says("n0", 2.5, line), "its cluster goes on");
    case.crashes("n1", 3.0);
    assert!(!case.says("n0", 3.5, line));
    let about: Vec<_> = case
        .judge
        .findings()
        .iter()
        .map(|it| it.about.as_deref())
        .collect();
    assert_eq!(about, [Some("n1"); 2]);
}

#[test]
fn a_pattern_excuses_lines_of_its_nodes_from_its_step_on() {
    let mut case = case(STORAGES);
    let pattern = "blocked for more than".to_owned();
    let expectation = Expectation::KernelLog {
        pattern,
        on: vec![node("n0")],
    };
    case.expects(&expectation, 5.0);
    let line = "INFO: task dd:812 blocked for more than 120 seconds.";
    assert!(case.says("n0", 4.0, line));
    assert!(case.says("n1", 6.0, line));
    insta::assert_snapshot!(case.judge.unmet().join("\n"), @"step expect expects that a kernel of n0 writes a line that matches `blocked for more than`: none did");
    assert!(!case.says("n0", 6.0, line));
    assert!(!case.says("n0", 6.5, "Call Trace:"), "it belongs to it");
    assert!(case.judge.unmet().is_empty());
    assert!(case.says("n0", 9.0, "Call Trace:"), "it belongs to nothing");
    let Some(Excuse::Expected { step }) = &case.judge.findings()[2].excuse else {
        panic!("{:?}", case.judge.findings());
    };
    assert_eq!(step, "expect");
}

#[test]
fn a_known_line_excuses_itself_alone() {
    let mut case = case(STORAGES);
    let known = "WARNING: CPU: 0 PID: 297 at fs/dlm/requestqueue.c:47 dlm_add_requestqueue+0x177/0x180 [dlm]";
    let another =
        "WARNING: CPU: 0 PID: 297 at fs/dlm/midcomms.c:1123 dlm_midcomms_shutdown+0x3f/0x90 [dlm]";
    assert!(!case.says("n0", 5.0, known));
    assert!(!case.says("n0", 5.1, "Call Trace:"), "it belongs to it");
    assert!(case.says("n0", 5.2, another));
    assert!(case.says("n0", 6.0, "kernel BUG at fs/gfs2/glock.c:867!"));
    let moved = known.replace(":47", ":48");
    assert!(case.says("n0", 7.0, &moved), "another version's line");
    let excused = case.told().into_iter().filter(|it| it.contains("known of"));
    insta::assert_snapshot!(excused.collect::<Vec<_>>().join("\n"), @"1 warning on n0, at 5.0 s: known of Linux 6.1: a lock message that waits for a recovery is copied into memory of its own size, which the checker of copies does not see (https://lore.kernel.org/all/20221117221157.2396743-1-aahringo@redhat.com/)");
}

#[test]
fn a_line_may_be_known_by_its_call_trace() {
    let mut case = case(STORAGES);
    let lines = [
        "Voluntary context switch within RCU read-side critical section!",
        "WARNING: CPU: 0 PID: 274 at kernel/rcu/tree_plugin.h:320 rcu_note_context_switch+0x4dd/0x680",
        "Call Trace:",
        " schedule_timeout+0x11a/0x150",
    ];
    for (node, caller) in [
        ("n0", " w_after_conn_state_ch+0x1fd/0x280 [drbd]"),
        ("n1", " gfs2_glock_dq+0x1fd/0x280 [gfs2]"),
    ] {
        for line in lines.iter().chain([&caller]) {
            case.says(node, 5.0, line);
        }
    }
    let counting = case.judge.counting();
    let on: Vec<&str> = counting.iter().map(|it| it.node.as_str()).collect();
    assert_eq!(on, ["n1", "n1"]);
    assert!(
        case.judge
            .findings()
            .iter()
            .any(|it| it.node == "n0" && it.excuse.is_some())
    );
}

#[test]
fn a_pattern_may_be_of_a_line_that_is_no_complaint() {
    let mut case = case(STORAGES);
    let pattern = "^o2net: No longer connected".to_owned();
    let expectation = Expectation::KernelLog {
        pattern,
        on: vec![node("n0")],
    };
    case.expects(&expectation, 5.0);
    assert!(!case.says(
        "n0",
        6.0,
        "o2net: No longer connected to node n1 (num 1) at 10.77.0.11:7777"
    ));
    assert!(case.judge.unmet().is_empty());
}

#[test]
fn expected_errors_of_a_node_come_true_with_the_first_of_them() {
    let mut case = case(STORAGES);
    let nodes = vec![node("n1")];
    case.expects(&Expectation::ErrorsOf { nodes }, 5.0);
    assert!(case.says("n0", 4.0, LOST));
    assert!(case.says("n0", 6.0, "I/O error, dev nbd2, sector 8"));
    insta::assert_snapshot!(case.judge.unmet().join("\n"), @"step expect expects errors of devices that need n1: there was none");
    assert!(!case.says("n0", 6.0, LOST));
    assert!(case.judge.unmet().is_empty());
    case.faults.started(&node("n1"), LayerKind::Nbd, 10.0);
    assert!(case.says("n0", 12.5, LOST));
}

#[test]
fn a_node_that_fences_itself_as_expected_may_say_so() {
    let mut case = case(STORAGES);
    let sorry = "*** ocfs2 is very sorry to be fencing this system by restarting ***";
    let expectation = Expectation::FencesItself { node: node("n1") };
    case.expects(&expectation, 5.0);
    assert!(!case.says("n1", 6.0, sorry));
    assert!(case.says("n0", 6.0, sorry));
    assert!(case.says("n1", 6.0, "kernel BUG at fs/x.c:1!"));
    assert_eq!(case.judge.expects_fencing(&node("n1")), Some("expect"));
    case.judge.meet("expect", |_| true);
    assert_eq!(case.judge.expects_fencing(&node("n1")), None);
}

#[test]
fn traces_that_somebody_asked_for_are_no_complaint() {
    let mut case = case(STORAGES);
    assert!(!case.says("n0", 1.0, "sysrq: Show State"));
    for at in [1.5, 3.0, 4.5] {
        assert!(!case.says("n0", at, "Call Trace:"), "{at}");
    }
    assert!(case.says("n1", 4.6, "Call Trace:"));
    assert_eq!(case.told().len(), 1);
}

#[test]
fn a_layer_that_is_not_as_it_must_be_is_excused_by_what_it_needs() {
    let mut case = case(PAIR);
    let lacks = |case: &mut Case, name: &str, (kind, place)| {
        let node = node(name);
        let at = (&node, 9.0);
        let excuse = Judge::layer_excuse(&case.plan, &case.faults, (kind, place), at);
        let seen = Seen {
            node: &node,
            at: 9.0,
            phase: None,
            text: "it is not so",
        };
        let counts = excuse.is_none();
        case.judge.sees(kind, seen, excuse);
        counts
    };
    let (drbd, gnbd) = ((LayerKind::Drbd, 1), (LayerKind::Gnbd, 2));
    assert!(lacks(&mut case, "n0", drbd));
    case.stops("n1", "my-proxy", None, 0.5);
    assert!(lacks(&mut case, "n1", drbd), "of no layer");
    case.stops("n1", "gnbd_serv", Some(LayerKind::Gnbd), 1.0);
    assert!(lacks(&mut case, "n0", drbd), "it needs no server of GNBD");
    assert!(!lacks(&mut case, "n2", gnbd));
    assert!(!lacks(&mut case, "n1", gnbd), "the faulty node itself");
    assert!(lacks(&mut case, "n1", drbd), "another layer there");
    case.crashes("n1", 2.0);
    assert!(!lacks(&mut case, "n0", drbd));
    let kinds = case.judge.findings().iter().map(|it| it.kind);
    assert!(kinds.clone().all(|kind| kind == FindingKind::LayerState));
    assert_eq!(kinds.count(), 7);
}

#[test]
fn what_comes_after_the_outcome_has_no_part_in_it() {
    let mut case = case(STORAGES);
    case.judge.close();
    assert!(!case.says("n0", 1.0, "kernel BUG at fs/x.c:1!"));
    assert!(case.judge.findings().is_empty());
}

#[test]
fn drbd_lets_its_disk_go_when_the_layers_are_taken_down() {
    let mut case = case(STORAGES);
    let detached = "block drbd0: disk( UpToDate -> Failed ) ";
    assert!(case.says("n0", 1.0, detached));
    case.judge.takes_down();
    assert!(!case.says("n0", 2.0, detached));
    assert!(case.says(
        "n0",
        3.0,
        "block drbd0: Local IO failed in __req_mod. Detaching..."
    ));
}

#[test]
fn among_a_dump_counts_what_nobody_asked_for() {
    let mut case = case(STORAGES);
    let mut hears = |text| {
        let seen = Seen {
            node: &node("n0"),
            at: 60.0,
            phase: None,
            text,
        };
        case.judge.hear_in_dump(&case.plan, &case.faults, seen)
    };
    assert!(!hears("Call Trace:"));
    assert!(!hears("Kernel panic - not syncing: NMI: Not continuing"));
    assert!(!hears("task:dd              state:D stack:0     pid:412"));
    assert!(hears("I/O error, dev nbd1, sector 8 op 0x1:(WRITE)"));
    assert!(hears(
        "INFO: task dd:412 blocked for more than 120 seconds."
    ));
    let kinds = case.judge.findings().iter().map(|it| it.kind);
    let wanted = [FindingKind::DeviceError, FindingKind::HungTask];
    assert_eq!(kinds.collect::<Vec<_>>(), wanted);
}
